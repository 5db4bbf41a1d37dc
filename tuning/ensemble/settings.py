"""What `mobula ensemble` was asked for: a run.yaml with an `ensemble:` section, or members on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.config import RunConfig
from cluster.config.load import Source, load_config
from cluster.exceptions import ConfigError
from cluster.registry import Registry, is_reference
from cluster.storage import Storage
from tuning.ensemble.members import TRIALS, opened


def settings_of(
    targets: Sequence[str], overrides: Sequence[str], storage_path: str | None, name: str | None = None
) -> RunConfig:
    """The config of an ensemble.

    Args:
        targets: one run.yaml, or members.
        overrides: `ensemble.combine.kind=greedy` and the like.
        storage_path: where runs lie; None for what the file says.

    Raises:
        ConfigError: if there is neither.
    """
    if len(targets) == 1 and targets[0].endswith((".yaml", ".yml")):
        added = [f"cluster.storage_path={storage_path}"] if storage_path else []
        return load_config(targets[0], [*added, *overrides, *([f"ensemble.name={name}"] if name else [])])
    if not targets:
        raise ConfigError(
            "found no members; expected a run.yaml, or run directories, model folders, models:/NAME@ALIAS"
        )
    known = _config_near(targets[0], storage_path or "runs")
    values: dict[str, Any] = known.model_dump(mode="json", exclude={"tune", "gate"}) if known else _bare(targets[0])
    values["ensemble"] = {"members": list(targets), "name": name or f"{values['name']}-ensemble"}
    values["cluster"] = {**values.get("cluster", {}), "storage_path": storage_path or "runs"}
    source = Source(Path("members"), values, {})
    for override in overrides:
        source.override(override)
    return source.validated()


def _config_near(place: str, storage_path: str) -> RunConfig | None:
    """The config of the run that a member came from; of a study, that of one of its trials."""
    import yaml

    if is_reference(place):
        return opened(Registry(storage_path).version(place).folder).config
    storage = Storage.open(place)
    trials = storage.child(TRIALS)
    found = [storage, *(trials.child(name) for name in trials.list())] if storage.exists(TRIALS) else [storage]
    for one in found:
        if one.exists("run.yaml"):
            return RunConfig.model_validate(yaml.safe_load(one.read_text("run.yaml")))
    return None


def _bare(place: str) -> dict[str, Any]:
    """What is said of a folder that no run of ours made."""
    folder = opened(place)
    kind = {"classification": "classification", "causal_lm": "sft"}[folder.kind]
    return {
        "name": folder.path.name,
        "model": {"kind": "pretrained", "name_or_path": str(folder.path)},
        "data": {"train": str(folder.path)},
        "train": {"objective": {"kind": kind}},
    }
