"""What is asked of lm-evaluation-harness, and what of a model it needs to know."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from cluster.exceptions import ConfigError, ResourceError
from trainers.evaluation.subjects import FolderSubject, Subject
from trainers.evaluation.subjects.endpoint import EndpointSubject

PACKAGE = "lm_eval"
API_NEEDS = ("aiohttp", "requests", "tenacity", "tqdm")
"""Packages behind its `api` extra."""
HOW_TO_INSTALL = "pip install 'mobula[harness]'"


@dataclasses.dataclass(frozen=True)
class HarnessSettings:
    """One call of the harness.

    Attributes:
        tasks: names of tasks, groups or tags; `*` stands for anything.
        tasks_folder: folder with tasks of one's own in the harness's YAML, in which relative paths of data start.
        num_fewshot: solved examples before each question; None leaves it to the task.
        limit: rows of each task; None for all.
        batch_size: rows of one forward pass.
        chat_template: put questions into the model's chat template.
        max_new_tokens: longest generated answer; None leaves it to the task.
        tokenizer: of an endpoint: folder or Hub id of its model's tokenizer.
    """

    tasks: tuple[str, ...]
    tasks_folder: str | None = None
    num_fewshot: int | None = None
    limit: int | None = None
    batch_size: int = 8
    chat_template: bool = False
    max_new_tokens: int | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError(
                "--harness names no task; expected such as hellaswag,arc_easy or a task of --tasks-folder"
            )
        if self.tasks_folder is not None and not Path(self.tasks_folder).is_dir():
            raise ConfigError(
                f"--tasks-folder {self.tasks_folder}: no such folder; expected one with tasks as YAML files"
            )

    def anchored(self) -> HarnessSettings:
        """With absolute paths: the harness runs in a process with another working folder."""
        return dataclasses.replace(self, tasks_folder=_absolute(self.tasks_folder), tokenizer=_absolute(self.tokenizer))


def _absolute(name: str | None) -> str | None:
    return str(Path(name).absolute()) if name is not None and Path(name).is_dir() else name


@dataclasses.dataclass(frozen=True)
class HarnessModel:
    """A model as the harness is told of it.

    Attributes:
        name: as people name it.
        kind: the harness's model class: `hf`, `local-completions` or `local-chat-completions`.
        args: its arguments, which are shown beside the results.
        system: message put before chats.
        api_key: of an endpoint; None for models that are loaded.
        stamp: what tells the model from others; ready for JSON.
    """

    name: str
    kind: str
    args: dict[str, Any]
    system: str | None = None
    api_key: str | None = dataclasses.field(default=None, repr=False)
    stamp: Any = None


def harness_model(subject: Subject, settings: HarnessSettings) -> HarnessModel:
    """How the harness is told of what is scored.

    Raises:
        ResourceError: if the harness, or what it needs for endpoints, is not installed.
        ConfigError: for models that it cannot score.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise ResourceError(f"--harness needs lm-evaluation-harness, which is not installed; {HOW_TO_INSTALL}")
    if subject.kind != "causal_lm":
        raise ConfigError(
            f"{subject.name} is a classifier, and the harness scores models that write text; "
            "score it with --data, without --harness"
        )
    if isinstance(subject, FolderSubject):
        return _of_folder(subject, settings)
    assert isinstance(subject, EndpointSubject)
    return _of_endpoint(subject, settings)


def _of_folder(subject: FolderSubject, settings: HarnessSettings) -> HarnessModel:
    from cluster.config import EvaluateConfig

    folder = subject.folder
    path = str(folder.path.absolute())
    args = {"pretrained": folder.base or path, "tokenizer": path, "dtype": "auto"}
    if folder.is_adapter:
        args["peft"] = path
    system = folder.config.data.system if folder.config and settings.chat_template else None
    return HarnessModel(subject.name, "hf", args, system, stamp=subject.stamp(EvaluateConfig()))


def _of_endpoint(subject: EndpointSubject, settings: HarnessSettings) -> HarnessModel:
    from cluster.config import EvaluateConfig

    missing = [name for name in API_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ResourceError(
            f"--harness asks endpoints with the help of {', '.join(missing)}, which is not installed; pip install {' '.join(missing)}"
        )
    chat, asked = settings.chat_template, subject.settings
    args = {
        "model": subject.model,
        "base_url": f"{subject.url}/{'chat/completions' if chat else 'completions'}",
        "num_concurrent": asked.concurrency,
        "max_retries": asked.retries + 1,
        "timeout": max(int(asked.timeout_s), 1),
    }
    longest = subject.card.get("max_model_len") or (subject.card.get("metadata") or {}).get("max_model_len")
    if longest:
        args["max_length"] = longest
    if settings.tokenizer is not None and not chat:
        args |= {"tokenizer_backend": "huggingface", "tokenizer": settings.tokenizer}
    kind = "local-chat-completions" if chat else "local-completions"
    key = os.environ.get(asked.api_key_env) or "none"
    return HarnessModel(subject.name, kind, args, api_key=key, stamp=subject.stamp(EvaluateConfig()))


def fingerprint(model: HarnessModel, settings: HarnessSettings) -> str:
    """Hash of what decides the results: model, tasks, settings and the harness's version."""
    version = importlib.metadata.version(PACKAGE)
    chosen = {name: value for name, value in dataclasses.asdict(settings).items() if name != "tasks_folder"}
    known = [version, model.kind, model.stamp, chosen, _tasks_stamp(settings.tasks_folder)]
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _tasks_stamp(folder: str | None) -> list[list[Any]]:
    """What changes when a task of one's own, or its data, does."""
    if folder is None:
        return []
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [[str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
