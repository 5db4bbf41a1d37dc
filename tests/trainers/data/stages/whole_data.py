"""Whole-data stages over a few records, as they run between the stages before and after."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cluster.config.stages import Stage
from cluster.storage import Storage
from trainers.data.ray_data import quiet_context
from trainers.data.record import Record, from_table, to_table
from trainers.data.stages import DatasetStage, StageContext, build_stage
from trainers.data.stages.two_pass import TwoPassStage, carry_out

BLOCK = 5
"""Rows in a block, so that a few records are several blocks already."""


def run(settings: dict[str, Any], records: list[Record], folder: Path, seed: int = 0) -> list[Record]:
    """The records after one stage."""
    import pyarrow as pa
    import ray.data

    config = TypeAdapter(Stage).validate_python(settings)
    stage = build_stage(config, StageContext(seed=seed, scratch=Storage.open(folder / "scratch")))
    assert isinstance(stage, DatasetStage)
    blocks = [to_table(records[first : first + BLOCK]) for first in range(0, len(records), BLOCK)]
    with quiet_context():
        after = stage.apply(ray.data.from_arrow(blocks))
        tables = list(after.iter_batches(batch_size=None, batch_format="pyarrow"))
    return from_table(pa.concat_tables(tables)) if tables else []


class Held:
    """Stands for the files between the two passes where a few records are held instead."""

    def __init__(self, records: list[Record]) -> None:
        self.held = records
        self.rows = len(records)

    def places(self, numbers: Iterable[int]) -> dict[int, str]:
        return {number: self.held[number].place for number in numbers}

    def records(self, numbers: Iterable[int]) -> dict[int, Record]:
        return {number: self.held[number] for number in numbers}


def run_here(settings: dict[str, Any], records: list[Record], seed: int = 0) -> list[Record]:
    """The records after a stage of two passes, run in this process."""
    import pyarrow as pa

    stage = build_stage(TypeAdapter(Stage).validate_python(settings), StageContext(seed=seed))
    assert isinstance(stage, TwoPassStage)
    records = copy.deepcopy(records)
    mine, facts = stage.lay(records)
    wanted = list(itertools.compress(records, mine))
    decided = pa.table(dict(stage.decide(facts, Held(wanted))))  # type: ignore[arg-type]
    decisions = iter(decided.to_pylist())
    found: list[Record] = []
    for record, is_mine in zip(records, mine, strict=True):
        found += carry_out(stage, record, next(decisions)) if is_mine else [record]
    return found


def texts(*rows: str | tuple[str, str], split: str = "train", first: int = 1) -> list[Record]:
    """Records of texts, or of texts with labels, each with its place."""
    made = []
    for line, row in enumerate(rows, first):
        text, label = row if isinstance(row, tuple) else (row, None)
        content = {"text": text} | ({"label": label} if label is not None else {})
        made.append(Record(content, split, f"{split}:{line}", (0, line)))
    return made


def rejected(records: list[Record]) -> dict[str, str]:
    """Places of the rows that were left out, each with the reason."""
    return {record.place: record.rejected for record in records if record.rejected is not None}
