"""Run directories: `<storage_path>/<name>/` with all that one training leaves behind.

    run.yaml          the config as resolved
    record.json       how it ended; written last and atomically, so it is the truth about the run
    metrics.jsonl     one row per logging step and evaluation
    checkpoints/ model/ report.html logs/

Beside them `<storage_path>/data/<fingerprint>/` holds prepared data and `<storage_path>/mlflow.db` the registry.
"""

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from cluster.config import RunConfig
from cluster.config.load import dump_config
from cluster.exceptions import RunConflict
from cluster.storage import Storage

logger = logging.getLogger(__name__)

State = Literal["running", "finished", "failed"]

_FREE_KEYS = {"train.save_total_limit", "train.logging_steps"}
"""Keys that may change between two starts of one run, beside whole sections that are not compared."""
_COMPARED_SECTIONS = ("model", "data", "train")

_LEASE = "lease.json"
_HEARTBEAT_S = 10.0
_LEASE_EXPIRES_S = 60.0


def now() -> str:
    """The time as records carry it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Record:
    """What is known of a run. `running` in a record whose lease has expired means: interrupted."""

    state: State
    started_at: str = field(default_factory=now)
    finished_at: str | None = None
    error: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    model_path: str | None = None
    version: int | None = None
    steps: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def finished(self, **known: Any) -> "Record":
        """The record of a run that reached its end."""
        return replace(self, state="finished", finished_at=now(), error=None, **known)

    def failed(self, error: str) -> "Record":
        """The record of a run that stopped on an error."""
        return replace(self, state="failed", finished_at=now(), error=error)


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder in storage, belonging to one config."""

    storage: Storage
    config: RunConfig

    @classmethod
    def open(cls, config: RunConfig, create: bool = True, overwrite: bool = False) -> "RunDirectory":
        """The folder of the config's run; RunConflict if it belongs to another config, unless it is overwritten."""
        storage = Storage.open(config.cluster.storage_path).child(config.name)
        if overwrite:
            _refuse_if_busy(storage)
            storage.delete()
        exists = storage.exists("run.yaml")
        config = _with_batch_size(config, _read_config(storage) if exists else config)
        if exists:
            _refuse_other_config(storage, config)
        elif not create:
            raise FileNotFoundError(storage.place("run.yaml"))
        if create:
            storage.write_text("run.yaml", dump_config(config))
        return cls(storage, config)

    @classmethod
    def find(cls, storage_path: str, name: str) -> "RunDirectory":
        """A run that exists, by name, with the config it was started with."""
        storage = Storage.open(storage_path).child(name)
        if not storage.exists("run.yaml"):
            raise RunConflict(_no_such_run(storage_path, name))
        return cls(storage, _read_config(storage))

    def record(self) -> Record | None:
        """The record, or None before the first one is written."""
        return Record(**self.storage.read_json("record.json")) if self.storage.exists("record.json") else None

    def write_record(self, record: Record) -> None:
        """Replace the record; a reader sees the old or the new one."""
        self.storage.write_json("record.json", asdict(record))

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of the metrics file; a last line that is still being written is left out."""
        if not self.storage.exists("metrics.jsonl"):
            return []
        rows = []
        for line in self.storage.read_text("metrics.jsonl").splitlines():
            with suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
        return rows

    def is_active(self) -> bool:
        """Whether some process holds the run right now."""
        return _holder(self.storage) is not None

    @contextmanager
    def lease(self) -> Iterator[str]:
        """Hold the run inside the block, so that two trainings of one run never write at once; yields the token."""
        token = uuid4().hex
        _claim(self.storage, token)
        stop = threading.Event()
        beat = threading.Thread(target=_keep_alive, args=(self.storage, token, stop), daemon=True, name="run-lease")
        beat.start()
        try:
            yield token
        finally:
            stop.set()
            beat.join()
            self.storage.delete(_LEASE)


def check_lease(storage: Storage, token: str) -> None:
    """Refuse to write for a start of a run that is over: workers may outlive the process that started them.

    Raises:
        RunConflict: if the run in `storage` is held under another token, or by nobody.
    """
    holder = _read_lease(storage).get("token")
    if holder != token:
        raise RunConflict(
            f"{storage.url} was taken over by a later start of the run, or its driver ended; this worker stops here"
        )


# -- which config a folder belongs to -------------------------------------------------------------


def _read_config(storage: Storage) -> RunConfig:
    import yaml

    return RunConfig.model_validate(yaml.safe_load(storage.read_text("run.yaml")))


def _with_batch_size(config: RunConfig, first: RunConfig) -> RunConfig:
    """The config with its global batch size spelt out, as the run's first start had it.

    Its default follows the worker count; a run that continues with another count must keep the batches it began with.
    """
    from pydantic import ValidationError

    if config.train.global_batch_size is not None:
        return config
    train = {"global_batch_size": first.global_batch_size, "gradient_accumulation_steps": None}
    try:
        return RunConfig.model_validate(
            config.model_dump() | {"train": config.train.model_dump() | train}  # validated: it must divide evenly
        )
    except ValidationError as error:
        raise RunConflict(
            f"the run began with {first.global_batch_size} sequences per step, which {config.cluster.num_workers} workers "
            f"of train.per_device_train_batch_size={config.train.per_device_train_batch_size} cannot share evenly; change "
            "cluster.num_workers, or give this run another name"
        ) from error


def _refuse_other_config(storage: Storage, config: RunConfig) -> None:
    import yaml

    there = _flat(yaml.safe_load(storage.read_text("run.yaml")) or {})
    asked = _flat(config.model_dump(mode="json"))
    changes = [
        f"{key}: {_shown(there.get(key))} -> {_shown(asked.get(key))}"
        for key in dict.fromkeys([*there, *asked])
        if key.split(".")[0] in _COMPARED_SECTIONS and key not in _FREE_KEYS and there.get(key) != asked.get(key)
    ]
    if changes:
        more = f" and {len(changes) - 4} more" if len(changes) > 4 else ""
        raise RunConflict(
            f"{storage.url} belongs to a run of another config ({'; '.join(changes[:4])}{more}); give this one another "
            "name, or delete that folder, or start it anew with `mobula train --overwrite`"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones; lists count as one value, and None as not given."""
    if isinstance(value, dict):
        return {
            name: one
            for key, inner in value.items()
            for name, one in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {} if value is None else {prefix: value}


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"...{text[-57:]}"


def _no_such_run(storage_path: str, name: str) -> str:
    from cluster.config.load import nearest

    root = Storage.open(storage_path)
    runs = [one for one in root.list() if root.exists(f"{one}/run.yaml")]
    guess = nearest(name, runs)
    known = f"it holds {', '.join(runs[:8])}" if runs else "it holds no runs"
    return (
        f"{root.url} has no run {name!r} ({known})"
        f"{f'; did you mean {guess}?' if guess else '; name another run or --storage-path'}"
    )


# -- leases ---------------------------------------------------------------------------------------


def _read_lease(storage: Storage) -> dict[str, Any]:
    try:
        found: dict[str, Any] = storage.read_json(_LEASE)
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _lease(token: str) -> dict[str, Any]:
    import psutil

    return {
        "token": token,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start_unix_s": psutil.Process().create_time(),
        "beat_unix_s": time.time(),
    }


def _claim(storage: Storage, token: str) -> None:
    """Become the holder. Locally a file lock lets one process look and write at a time; on object stores the last
    writer wins, and the others see it."""
    if storage.is_local:
        with open(storage.place(".tmp-lease-lock"), "w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            _refuse_if_busy(storage)
            storage.write_json(_LEASE, _lease(token))
        return
    _refuse_if_busy(storage)
    storage.write_json(_LEASE, _lease(token))
    if _read_lease(storage).get("token") != token:
        _refuse_if_busy(storage)


def _holder(storage: Storage) -> str | None:
    """Who holds a run: a process here that lives, or one elsewhere that gave a sign within the last minute."""
    lease = _read_lease(storage)
    if not lease:
        return None
    elsewhere = lease["host"] != socket.gethostname()
    alive = time.time() - lease["beat_unix_s"] < _LEASE_EXPIRES_S if elsewhere else _is_alive(lease)
    return f"process {lease['pid']} on {lease['host']}" if alive else None


def _is_alive(lease: dict[str, Any]) -> bool:
    """Whether the very process lives: numbers are given out again, so its start must match as well."""
    import psutil

    try:
        return abs(psutil.Process(lease["pid"]).create_time() - lease["process_start_unix_s"]) < 2.0
    except psutil.Error:
        return False


def _refuse_if_busy(storage: Storage) -> None:
    holder = _holder(storage)
    if holder:
        raise RunConflict(
            f"{storage.url} is being written by {holder}; wait until it ends or stop it, or give this run another name"
        )


def _keep_alive(storage: Storage, token: str, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT_S):
        try:
            storage.write_json(_LEASE, _lease(token))
        except Exception as error:  # a missed beat is no reason to end the training; the lease lasts several beats
            logger.warning("could not renew the lease of %s: %s", storage.url, error)
