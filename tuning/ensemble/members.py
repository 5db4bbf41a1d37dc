"""Finds the members of an ensemble: model folders, run directories and their checkpoints, versions, the best of a study."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from cluster.config import RunConfig
from cluster.exceptions import ConfigError, ModelFolderError
from cluster.registry import Registry, is_reference
from cluster.runs import Record, RunDirectory
from cluster.storage import Storage
from trainers.folder import ModelFolder

TRIALS, MEMBERS = "trials", "members"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model that may become a member.

    Attributes:
        name: as reports call it.
        folder: the model.
        place: where the user named it, or where it was found.
        weight: of its vote, where its making decides that (boosting).
        group: which model it is a fold of, where members were trained once for each fold.
        held: the rows of that fold, which it did not learn from.
    """

    name: str
    folder: ModelFolder
    place: str
    weight: float | None = None
    group: int | None = None
    held: tuple[Any, ...] = ()


def found_members(places: list[str], storage_path: str, top: int, metric: str | None) -> list[Candidate]:
    """The members that the user named, in that order. Ray must be initialised.

    Args:
        top: of a study so many of its best trials.
        metric: what its trials are ranked by; None for accuracy where they have it, else loss.

    Raises:
        UserError: for a place that holds no model.
    """
    found: list[Candidate] = []
    for place in places:
        found += _found(place, storage_path, top, metric)
    return renamed(found)


def renamed(candidates: list[Candidate]) -> list[Candidate]:
    """The same with names that differ."""
    used: dict[str, int] = {}
    made = []
    for one in candidates:
        used[one.name] = number = used.get(one.name, 0) + 1
        made.append(one if number == 1 else dataclasses.replace(one, name=f"{one.name}-{number}"))
    return made


def _found(place: str, storage_path: str, top: int, metric: str | None) -> list[Candidate]:
    if is_reference(place):
        version = Registry(storage_path).version(place)
        return [Candidate(f"{version.name}-{version.version}", opened(version.folder), place)]
    storage = Storage.open(place)
    if storage.exists("run.yaml") and storage.exists("record.json"):
        return [of_run(storage)]
    if storage.exists(TRIALS):
        return best_trials(storage, top, metric)
    if not storage.exists():
        raise ModelFolderError(
            f"{place}: nothing is there; expected a run directory, a model folder, a study folder, or models:/NAME@ALIAS"
        )
    folder = opened(place)
    name = folder.path.parent.name if folder.path.name == "model" else folder.path.name
    return [Candidate(name, folder, str(folder.path))]


def opened(place: str) -> ModelFolder:
    """The model folder at a path or URL."""
    storage = Storage.open(place)
    return ModelFolder.open(Path(place).absolute() if storage.is_local else storage.local_folder())


def of_run(storage: Storage) -> Candidate:
    """The model of a run that ended.

    Raises:
        ModelFolderError: if it did not.
    """
    record = Record(**storage.read_json("record.json"))
    if record.state != "finished":
        raise ModelFolderError(
            f"{storage.url}: the run is {record.state}, so there is no model to combine; finish it with `mobula train`"
        )
    name = storage.url.rstrip("/").rpartition("/")[2]
    place = record.model_path or _model_of(storage)
    return Candidate(name, opened(place), place)


def run_at(storage: Storage) -> RunDirectory:
    """The run in a folder."""
    parent, _, name = storage.url.rstrip("/").rpartition("/")
    return RunDirectory.find(parent, name)


def best_trials(storage: Storage, top: int, metric: str | None) -> list[Candidate]:
    """The best trials of a study whose checkpoints are there.

    Raises:
        ConfigError: if there are fewer than two.
    """
    folder, scored = storage.child(TRIALS), []
    for name in folder.list():
        if not folder.exists(f"{name}/record.json"):
            continue
        record = Record(**folder.read_json(f"{name}/record.json"))
        result = record.details.get("result") or {}
        used = metric or ("eval_accuracy" if "eval_accuracy" in result else "eval_loss")
        value = result.get(used, math.nan)
        has_weights = has_model(folder.child(name)) or folder.exists(f"{name}/checkpoints")
        if record.state == "finished" and has_weights and math.isfinite(value):
            scored.append((-value if "loss" in used else value, name))
    if len(scored) < 2:
        raise ConfigError(
            f"{storage.url}: found {len(scored)} ended trials whose checkpoints are there; expected at least 2: a study keeps "
            "those of its best tune.keep trials, so raise that and run `mobula tune` again"
        )
    best = sorted(scored, reverse=True)[:top]
    return [of_trial(folder.child(name), name) for _, name in best]


def of_trial(storage: Storage, name: str) -> Candidate:
    place = _model_of(storage)
    return Candidate(name, opened(place), place)


def _model_of(storage: Storage) -> str:
    """The model folder in a run directory, written out of the best checkpoint where it is not there yet."""
    return storage.place("model") if has_model(storage) else exported(run_at(storage))


def has_model(storage: Storage, name: str = "model") -> bool:
    """Whether a run directory has a model folder of that name."""
    return any(storage.exists(f"{name}/{file}") for file in ("config.json", "adapter_config.json"))


def exported(run: RunDirectory, step: int | None = None, name: str = "model") -> str:
    """The model folder of a run that was trained and not written out; Ray must be initialised.

    Args:
        step: of the checkpoint. Default: the best one.
        name: of the folder in the run directory.
    """
    import ray

    from trainers.evaluation.protocol.seen import write_seen_rows
    from trainers.export import export
    from trainers.fit import prepare_data

    record = run.record()
    result: dict[str, Any] = (record.details.get("result") or {}) if record else {}
    step = step if step is not None else int(result.get("best_step") or result["step"])
    prepared = prepare_data(run, data_of(run.config))
    metrics = {key: value for key, value in result.items() if key.startswith("eval_") or key in ("train_s", "tokens")}
    task: Any = ray.remote(num_cpus=1)(export)
    place: str = ray.get(task.remote(run.config, run.storage.url, prepared.url, step, metrics, name=name))
    write_seen_rows(run.config, prepared, Storage.open(place))
    return place


def data_of(config: RunConfig) -> Storage:
    """Where the prepared data of a run lie: trials and members share that of the folder their study or ensemble is in."""
    outer, _, last = config.cluster.storage_path.rstrip("/").rpartition("/")
    shared = outer.rpartition("/")[0] or "." if last in (TRIALS, MEMBERS) else config.cluster.storage_path
    return Storage.open(shared).child("data")


def snapshots(run: RunDirectory, count: int) -> list[Candidate]:
    """The last checkpoints of a run as models.

    Raises:
        ConfigError: if there are fewer than two.
    """
    from trainers.checkpoint import Checkpoints
    from trainers.fit import prepare_data

    prepared = prepare_data(run, data_of(run.config))
    steps = Checkpoints(run.storage.child("checkpoints"), prepared.fingerprint).steps()[-count:]
    if len(steps) < 2:
        raise ConfigError(
            f"{run.storage.url}: found {len(steps)} checkpoints; expected at least 2 for snapshots: set train.save_steps lower, "
            "and train.save_total_limit to as many as are wanted"
        )
    places = []
    for step in steps:
        name = f"model-{step:08d}"
        places.append(run.storage.place(name) if has_model(run.storage, name) else exported(run, step, name))
    return [Candidate(f"step-{step}", opened(place), place) for step, place in zip(steps, places, strict=True)]
