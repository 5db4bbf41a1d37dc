"""Checkpoints that are complete or absent.

    checkpoints/step-00000200/
        rank-00000-00000.safetensors ...   weights and moments, whole tensors, spread over the workers that write them
        manifest.json                      written last: sizes and hashes of the files, and where training stood

A folder without a manifest is not a checkpoint. A manifest whose files are missing, cut short or altered is none
either, and the one before it is taken. Nothing is pickled, so any worker count and ZeRO stage can load it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.exceptions import CheckpointError
from cluster.progress import Row
from cluster.storage import Storage

if TYPE_CHECKING:
    import torch

    from trainers.engine import Engine

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SHARD_BYTES = 1 << 30
FORMAT_VERSION = 2


@dataclass(frozen=True)
class Position:
    """Where training stands: all that a resumed run needs beside tensors."""

    step: int = 0
    """Optimizer steps taken."""
    tokens: int = 0
    """Useful tokens seen, over all workers."""
    train_s: float = 0.0
    """Seconds spent training, over all starts."""
    best_metric: float | None = None
    best_step: int | None = None
    worse_evaluations: int = 0
    """Evaluations since the best one."""
    stalls: int = 0
    """How often `augmentation_schedule.patience` evaluations in a row were not better."""
    stopped_early: bool = False

    def at(self, **known: Any) -> Position:
        return replace(self, **known)


class Tensors(Mapping[str, "torch.Tensor"]):
    """The tensors of a checkpoint by name, each read when asked for."""

    def __init__(self, paths: list[Path]) -> None:
        from safetensors import safe_open

        self._files = [safe_open(path, framework="pt") for path in paths]
        self._file_of = {key: file for file in self._files for key in file.keys()}  # noqa: SIM118 - not a dict

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._file_of[key].get_tensor(key)

    def __contains__(self, key: object) -> bool:
        return key in self._file_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint."""

    storage: Storage
    manifest: dict[str, Any]

    @property
    def position(self) -> Position:
        return Position(**self.manifest["position"])

    @property
    def num_workers(self) -> int:
        """Workers of the run that wrote it."""
        return self.manifest["num_workers"]

    @property
    def log(self) -> list[Row]:
        """The rows of metrics up to its step."""
        return self.manifest["log"]

    def verify(self) -> None:
        """Read every file and compare it with the manifest; CheckpointError if one is missing, cut short or altered."""
        folder = self.storage.local_folder()
        for file in self.manifest["files"]:
            path = folder / file["name"]
            if not path.exists() or path.stat().st_size != file["bytes"] or _sha256(path) != file["sha256"]:
                raise CheckpointError(
                    f"{self.storage.url}: {file['name']} is missing, cut short or was altered since it was written; "
                    "delete this checkpoint's folder to continue from the one before it"
                )

    @cached_property
    def tensors(self) -> Tensors:
        """Weights and moments, as the files hold them; `verify` tells whether they are as they were written."""
        folder = self.storage.local_folder()
        return Tensors([folder / file["name"] for file in self.manifest["files"]])


class Checkpoints:
    """The checkpoints of one run.

    Args:
        storage: the run's `checkpoints` folder, seen by every worker.
        fingerprint: of the prepared data; a checkpoint of other data is refused.
    """

    def __init__(self, storage: Storage, fingerprint: str) -> None:
        self.storage, self.fingerprint = storage, fingerprint

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, oldest first."""
        found = [name for name in self.storage.list() if name.startswith("step-")]
        return sorted(int(name.removeprefix("step-")) for name in found if self.storage.exists(f"{name}/{MANIFEST}"))

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step; CheckpointError if it belongs to other data or another format."""
        folder = self.storage.child(_name(step))
        manifest = folder.read_json(MANIFEST)
        if manifest["format_version"] != FORMAT_VERSION or manifest["fingerprint"] != self.fingerprint:
            raise CheckpointError(
                f"{folder.url} was written for other data (fingerprint {manifest['fingerprint']}, now "
                f"{self.fingerprint}); the input files changed since. Give the run another name, or start it anew "
                "with `mobula train --overwrite`"
            )
        return Checkpoint(folder, manifest)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint whose files are all there and as they were written; None if there is none."""
        for step in reversed(self.steps()):
            checkpoint = self.load(step)
            try:
                checkpoint.verify()
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
                continue
            return checkpoint
        return None

    def save(
        self, engine: Engine, rank: int, position: Position, random_state: Mapping[str, torch.Tensor], log: list[Row]
    ) -> None:
        """Write a checkpoint of the engine. Collective: every worker writes its share, rank 0 the manifest at the end.

        Args:
            log: all rows of metrics up to this step; a run that continues from here shows them.
        """
        import torch.distributed as dist

        folder = self.storage.child(_name(position.step))
        if rank == 0:
            folder.delete()  # what a killed run may have left
        dist.barrier()
        files = _write_share(folder, engine, rank, random_state)
        shares: list[Any] = [None] * engine.num_workers
        dist.all_gather_object(shares, files)
        if rank == 0:
            folder.write_json(
                MANIFEST,
                {
                    "format_version": FORMAT_VERSION,
                    "fingerprint": self.fingerprint,
                    "num_workers": engine.num_workers,
                    "position": asdict(position),
                    "log": log,
                    "files": [file for share in shares for file in share],
                },
            )
        dist.barrier()

    def inherit(self, source: Checkpoint) -> None:
        """Begin with another run's checkpoint: its weights, its optimizer and where it stood, but not its best step,
        whose checkpoint is not here."""
        name = _name(source.position.step)
        self.storage.upload_folder(source.storage.local_folder(), name)
        position = source.position.at(best_metric=None, best_step=None, worse_evaluations=0, stopped_early=False)
        self.storage.write_json(f"{name}/{MANIFEST}", source.manifest | {"position": asdict(position)})

    def prune(self, keep: int, best_step: int | None) -> None:
        """Delete all but the newest `keep` checkpoints and the best one."""
        steps = self.steps()
        for step in set(steps[:-keep]) - {best_step}:
            folder = self.storage.child(_name(step))
            folder.delete(MANIFEST)  # first, so that what is half deleted counts as absent
            folder.delete()


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_share(
    folder: Storage, engine: Engine, rank: int, random_state: Mapping[str, torch.Tensor]
) -> list[dict[str, Any]]:
    """Write this worker's tensors in files of about a gibibyte; returns what the manifest says of each."""
    from trainers.state import full_state

    files: list[dict[str, Any]] = []
    shard = {f"{name}/{rank}": tensor for name, tensor in random_state.items()}
    for owner, key, tensor in full_state(engine):
        if owner != rank:
            continue
        shard[key] = tensor.clone()
        if sum(part.nbytes for part in shard.values()) >= SHARD_BYTES:
            files.append(_write_shard(folder, rank, len(files), shard))
            shard = {}
    if shard:
        files.append(_write_shard(folder, rank, len(files), shard))
    return files


def _write_shard(folder: Storage, rank: int, number: int, shard: dict[str, torch.Tensor]) -> dict[str, Any]:
    from safetensors.torch import save

    name, content = f"rank-{rank:05d}-{number:05d}.safetensors", save(shard)
    folder.write_bytes(name, content)
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
