"""Texts that belong together, and texts that do not."""

from __future__ import annotations

import dataclasses

from cluster.config.data import DataConfig
from trainers.data.shapes.base import Row, column, filled, find

ANCHOR_COLUMNS = ("anchor", "query", "question")


@dataclasses.dataclass(frozen=True)
class TextPair:
    """Two texts that belong together, and one that belongs to neither where there is one."""

    anchor: str
    positive: str
    negative: str | None = None


def from_embedding(row: Row, config: DataConfig) -> TextPair:
    columns = config.columns
    anchor = filled(column(row, columns.anchor, ANCHOR_COLUMNS, "anchor"), "anchor")
    positive = filled(column(row, columns.positive, ("positive",), "positive"), "positive")
    name = find(row, columns.negative, ("negative",))
    return TextPair(anchor, positive, None if name is None or row[name] is None else filled(row[name], "negative"))
