"""One pass over staged rows through Ray Data; every block gives counts, and the driver adds them up."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config import Classification, RunConfig
from cluster.config.stages import StageConfig, parse_stages
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.data.encode import Encoder, as_staged
from trainers.data.formats import staged_row
from trainers.data.profile.counts import LENGTH_STEP, SplitCounts
from trainers.data.ray_data import quiet_context, rows_of
from trainers.data.record import Record, from_table, to_json
from trainers.data.sources import Sources
from trainers.data.stages import DatasetStage, RowStage, StageContext, build_stage
from trainers.data.staging import StagedRows, run_stage

if TYPE_CHECKING:
    import pyarrow as pa
    import ray
    from transformers import PreTrainedTokenizerBase

LOOKS = [
    {"kind": "language"},
    {"kind": "quality", "preset": "chat", "action": "note"},
    {"kind": "pii", "action": "note"},
    {"kind": "blocklist", "action": "note"},
]
"""Stages that a profile runs over every row for what they note; none changes or rejects anything."""


def collect(
    rows: StagedRows,
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase | None = None,
    slices: Sequence[str] = (),
) -> dict[str, SplitCounts]:
    """Counts of every split of staged rows. Ray must be initialised.

    Holds 16 bytes of each row in the driver, and `SAMPLE` whole rows of each split.

    Args:
        tokenizer: tells lengths in tokens; without it they are not counted.
        slices: columns whose values are counted.
    """
    import ray
    import ray.data

    encoder = None
    if tokenizer is not None:
        classification = isinstance(config.train.objective, Classification)
        encoder = ray.put(Encoder(Sources((), ()), _untruncated(config), tokenizer, classification=classification))
    found: dict[str, SplitCounts] = {}
    for split, files in rows.files.items():
        with quiet_context():
            counted = ray.data.read_parquet(files).map_batches(
                _Count(encoder, tuple(slices)), batch_size=1024, batch_format="pyarrow", zero_copy_batch=True
            )
        total = SplitCounts()
        for row in rows_of(counted):
            total.merge(SplitCounts.from_json(row["counts"]))
        found[split] = total
    return found


def near_duplicates(rows: StagedRows, scratch: Storage) -> dict[str, int]:
    """Rows of each split that nearly repeat another, of the same split or another; rows made by stages do not count.

    Ray must be initialised.
    """
    import ray.data

    [config] = parse_stages([{"kind": "near_duplicates"}])
    stage = build_stage(config, StageContext(scratch=scratch))
    assert isinstance(stage, DatasetStage)
    try:
        with quiet_context():
            found = stage.apply(ray.data.read_parquet([url for files in rows.files.values() for url in files]))
            near = found.select_columns(["split", "rejected", "origin"])
        counted: collections.Counter[str] = collections.Counter()
        for row in rows_of(near):
            counted.update([row["split"]] if row["rejected"] and row["origin"] is None else [])
    finally:
        scratch.delete()
    return {split: counted[split] for split in rows.files}


def _untruncated(config: RunConfig) -> Any:
    return as_staged(config.data).model_copy(update={"max_length": 1 << 30})


@dataclasses.dataclass(frozen=True)
class _Count:
    """Counts of a block as one row. Runs inside the tasks of Ray Data."""

    encoder: ray.ObjectRef | None
    slices: tuple[str, ...]

    def __call__(self, block: pa.Table) -> dict[str, list[str]]:
        counts = SplitCounts()
        records = from_table(block)
        for record in records:
            counts.add(record, self.slices)
        for found in look(records):
            counts.note(found)
        counts.tokens.update(self._lengths(records))
        return {"counts": [counts.to_json()]}

    def _lengths(self, records: list[Record]) -> list[int]:
        """Lengths in tokens, rounded down; none where no objective learns from such rows."""
        import pyarrow as pa

        if self.encoder is None:
            return []
        from trainers.data.prepare import fetch_encoder

        rows = [staged_row(to_json(one.row), one.place, "{}") for one in records]
        zeros = np.zeros(len(rows), np.int64)
        table = pa.table({"file": zeros, "position": zeros, "row": pa.array(rows, pa.string())})
        try:
            return [len(row.ids) // LENGTH_STEP * LENGTH_STEP for row in fetch_encoder(self.encoder)(table)]
        except DataError:
            return []


def look(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the stages of `LOOKS` note of rows, which stay as they are."""
    copies = copy.deepcopy(list(records))
    for one in copies:
        one.rejected, one.notes = None, {}
    for stage in _looking_stages():
        copies = run_stage(stage, copies)
    return [_flat(one.notes) for one in copies]


def _flat(notes: dict[str, Any]) -> dict[str, Any]:
    failed = notes.get("quality", {}).get("failed", [])
    return {**notes, "failed_rules": failed}


@functools.cache
def _looking_stages() -> list[RowStage[Any]]:
    """Built once in a process: some load a model."""
    configs: list[StageConfig] = parse_stages(LOOKS)
    built = [build_stage(config, StageContext(number=number)) for number, config in enumerate(configs)]
    return [stage for stage in built if isinstance(stage, RowStage)]
