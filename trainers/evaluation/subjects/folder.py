"""A model folder as what is scored: its model is loaded by actors, or its answers are written by vLLM."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.config import DataConfig, EvaluateConfig
from cluster.config.data import AnySource
from cluster.exceptions import ConfigError, ResourceError, mobula_cause
from trainers.data.ray_data import quiet_context
from trainers.ensembles.folder import EnsembleFolder, weight_bytes
from trainers.ensembles.predict import ensemble_parts, works_by_tokens
from trainers.evaluation.store import Part
from trainers.evaluation.subjects.base import Job, Subject
from trainers.evaluation.subjects.scorers import SCORERS, Answer, Task
from trainers.evaluation.subjects.vllm_answers import VLLM_CPUS, vllm_answers, vllm_lacks
from trainers.evaluation.subjects.wire import unpacked
from trainers.folder import ModelFolder

BATCHES_PER_WINDOW = 4
MOST_ACTORS = 8
CPU_SHARE = 0.5
"""Logical CPUs that one actor reserves: half of one, so that as many actors as cores leave room for the reading tasks."""
VLLM_PAYS_TOKENS = {"cpu": 40_000, "gpu": 100_000}
"""Tokens that may be written from which on vLLM's start (about 40 s on CPU) is won back."""
HASHED_BYTES = 1 << 30
"""Larger weight files are told apart by size and time."""
_DECIDING = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
_TOLD_LATER = {"metrics.json", "lineage.json", "evaluation.json", "calibration.json", "seen_rows.json"}
"""Files of a model folder that say something of the model and decide nothing of what it answers."""


class FolderSubject(Subject):
    """Scores a model folder.

    Args:
        folder: the model.
        name: as people name it. Default: the folder's path.
    """

    def __init__(self, folder: ModelFolder, name: str | None = None) -> None:
        self.folder = folder
        self.name = name or str(folder.path)
        self.kind = folder.kind
        self.labels = folder.labels

    def data_config(self, data: Sequence[str | AnySource]) -> DataConfig:
        return reading_config(self.folder, data)

    def stamp(self, evaluate: EvaluateConfig) -> Any:
        packages = ["torch", "transformers"]
        if evaluate.engine == "vllm":
            packages.append("vllm")
        base, dropout_seed = self.folder.base, getattr(self.folder, "dropout_seed", None)
        drawn = {} if dropout_seed is None else {"dropout_seed": dropout_seed}
        return drawn | {
            "files": folder_content(self.folder.path),
            "base": folder_content(Path(base)) if base and Path(base).is_dir() else base,
            "versions": {name: _version(name) for name in packages},
        }

    def check(self, job: Job) -> None:
        if job.evaluate.engine == "vllm" and self.kind == "causal_lm":
            _check_vllm(self.folder)

    def predict(self, job: Job) -> Iterator[Part]:
        if isinstance(self.folder, EnsembleFolder) and not works_by_tokens(self.folder):
            yield from ensemble_parts(self.folder, job)
            return
        task = Task(self.folder, job.sources, job.data, job.evaluate)
        if not (self.kind == "causal_lm" and self.uses_vllm(job)):
            yield from scored(task, job)
            return
        answers, facts = vllm_answers(self.folder, job)
        yield Part([], [], facts)
        task = Task(self.folder, job.sources, job.data, job.evaluate, writes_answers=False)
        for part in scored(task, job):
            yield with_answers(part, answers)

    def uses_vllm(self, job: Job) -> bool:
        """Whether vLLM writes the answers."""
        from cluster.session import resources

        engine = job.evaluate.engine
        if isinstance(self.folder, EnsembleFolder):  # an engine holds one model
            return False
        if engine != "auto":
            return engine == "vllm"
        cpus, gpus = resources()
        if cpus < VLLM_CPUS or _version("vllm") is None:
            return False
        tokens = job.num_rows * job.evaluate.num_samples * job.evaluate.max_new_tokens
        return tokens >= VLLM_PAYS_TOKENS["gpu" if gpus >= 1 else "cpu"] and vllm_lacks(self.folder, gpus >= 1) is None

    def cost(self) -> dict[str, float]:
        metrics = self.folder.metrics
        known = {"train_s": metrics.get("train_s"), "train_tokens": metrics.get("tokens")}
        return {"model_bytes": float(weight_bytes(self.folder))} | {
            name: float(value) for name, value in known.items() if value is not None
        }


def reading_config(folder: ModelFolder, data: Sequence[str | AnySource]) -> DataConfig:
    """How rows are read: as the folder's own run read them, else by the defaults."""
    known = folder.config.data.model_dump() if folder.config else {}
    unused = dict.fromkeys(("validation", "test", "max_rows", "mix"))
    return DataConfig(**{**known, **unused, "train": list(data), "val_size": 0.0, "stages": []})


def _check_vllm(folder: ModelFolder) -> None:
    """Refuse vLLM where it cannot work.

    Raises:
        ConfigError: if it is not installed, or lacks what the model needs.
        ResourceError: if the cluster is too small: the pipeline would wait for ever.
    """
    from cluster.session import resources

    if _version("vllm") is None:
        raise ConfigError("evaluate.engine=vllm, and vLLM is not installed; install it, or set engine: transformers")
    cpus, gpus = resources()
    if cpus < VLLM_CPUS:
        raise ResourceError(
            f"evaluate.engine=vllm keeps {VLLM_CPUS} logical CPUs busy, and the cluster has {cpus:g}; start Ray with more, "
            "or set engine: transformers"
        )
    if lacking := vllm_lacks(folder, gpus >= 1):
        raise ConfigError(f"evaluate.engine=vllm, and vLLM has {lacking}; set engine: transformers")


def _version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    for name in (package, f"{package}-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def folder_content(folder: Path) -> dict[str, str]:
    """Hash of each file of a model folder that decides what it answers, by name."""
    found = sorted({path for pattern in _DECIDING for path in folder.glob(pattern)})
    return {path.name: _file_content(path) for path in found if path.name not in _TOLD_LATER}


def _file_content(path: Path) -> str:
    stat = path.stat()
    if stat.st_size > HASHED_BYTES:
        return f"{stat.st_size}:{stat.st_mtime_ns}"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def with_answers(part: Part, answers: dict[int, Answer]) -> Part:
    """Predictions with the answers that were written before."""
    import dataclasses

    predictions = [
        dataclasses.replace(one, **answers[order].fields()) if order in answers else one
        for order, one in zip(part.orders, part.predictions, strict=True)
    ]
    return dataclasses.replace(part, predictions=predictions)


def scored(task: Task, job: Job) -> Iterator[Part]:
    """Stream the rows through actors that hold the model; parts come back in the order of the files."""
    import pyarrow as pa

    window = job.evaluate.batch_size * BATCHES_PER_WINDOW
    try:
        with quiet_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray Data warns of its own deprecations and of small inputs
            dataset = (
                job.rows()
                .repartition(target_num_rows_per_block=window)
                .map_batches(
                    SCORERS[task.folder.kind],
                    fn_constructor_args=(task,),
                    batch_size=window,
                    batch_format="pyarrow",
                    **placement(-(-job.num_rows // window)),
                )
            )
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield unpacked(pa.table(batch))[0]
    except Exception as error:  # Ray Data wraps what a task raised; the user is told of his own mistake only
        mistake = mobula_cause(error)
        if mistake is None:
            raise
        raise mistake from None


def placement(num_windows: int) -> dict[str, Any]:
    """Actors that fit the work and the cluster: one for each GPU, else one for each core."""
    import ray
    from ray.data import ActorPoolStrategy

    from cluster.session import resources

    cpus, gpus = resources()
    number = max(min(int(gpus) or int(cpus), num_windows, MOST_ACTORS), 1)
    placement: dict[str, Any] = {"compute": ActorPoolStrategy(size=number), "num_cpus": CPU_SHARE}
    if len(ray.nodes()) == 1:  # where one machine is all there is, a lost actor would be lost again
        placement["max_restarts"] = 0
    return placement | ({"num_gpus": 1} if gpus >= 1 else {})
