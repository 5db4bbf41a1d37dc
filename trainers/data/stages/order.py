"""The order of training rows: a curriculum, which reaches training only if `data.shuffle` is false."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config.stages.select import ByColumn, OrderStage
from trainers.data.content import content_hashes, draws
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, value_of

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

PLACE = "_place_in_order"


class Order(TwoPassStage[OrderStage]):
    """Numbers rows in their new order, then lets Ray Data sort them by that. Holds 24 bytes a row, and 40 while it decides."""

    def lacks(self, record: Record) -> str | None:
        by = self.config.by
        if not isinstance(by, ByColumn):
            return None
        value = value_of(record, by.column)
        if value is None:
            return f"no column or note {by.column}"
        return None if _number(value) is not None else f"{by.column} is {str(value)[:60]!r}, which is no number"

    def look(self, records: list[Record]) -> Facts:
        by = self.config.by
        if isinstance(by, ByColumn):
            keys = [_number(value_of(record, by.column)) for record in records]
        else:
            keys = [float(sum(map(len, record.texts()))) for record in records]
        return {"content": content_hashes(records), "key": np.array(keys, np.float64)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        """Rows with equal keys stay in the order they were in."""
        key = -facts["key"] if self.config.descending else facts["key"]
        place = places_by(key)
        if self.config.buckets is not None:
            bucket = place * self.config.buckets // len(place)
            drawn = draws(facts["content"], self.context.seed, self.context.number)
            place = places_by(drawn, bucket)
        return {PLACE: place}

    def second_pass(self, spool: Spool, decisions: Mapping[str, Any]) -> ray.data.Dataset:
        numbered = spool.take_up(decisions, _leave, column=PLACE)
        return numbered.sort(PLACE).map_batches(_DropPlace(), batch_format="pyarrow", zero_copy_batch=True)

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        return [record]


def _leave(record: Record, decision: dict[str, Any]) -> list[Record]:
    del decision
    return [record]


@dataclasses.dataclass(frozen=True)
class _DropPlace:
    def __call__(self, block: pa.Table) -> pa.Table:
        return block.drop_columns([PLACE]) if PLACE in block.column_names else block


def places_by(key: np.ndarray, *before: np.ndarray) -> np.ndarray:
    """The place of each row if rows are put in order by what counts before, then by the key."""
    order = np.lexsort((key, *before))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
