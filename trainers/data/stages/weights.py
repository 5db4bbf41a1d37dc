"""How much each training row counts in the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.split import EffectiveNumber, GivenWeights, WeightColumn, WeightsStage
from cluster.exceptions import DataError
from trainers.data.content import hash_text
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, hash_values, value_of
from trainers.data.units import number_of


class Weights(TwoPassStage[WeightsStage]):
    """Counts the rows of each class. Holds 8 bytes a row, and 32 more while it decides."""

    def lacks(self, record: Record) -> str | None:
        by = self.config.by
        value = value_of(record, by.column)
        if value is None:
            return f"no column {by.column}"
        if isinstance(by, WeightColumn) and _number(value) is None:
            return f"{by.column} is {str(value)[:60]!r}, which is no number of at least 0"
        return None

    def look(self, records: list[Record]) -> Facts:
        column = self.config.by.column
        if isinstance(self.config.by, WeightColumn):
            return {"weight": np.array([_number(value_of(record, column)) for record in records], np.float64)}
        return {"class": hash_values(records, column)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        by = self.config.by
        if isinstance(by, WeightColumn):
            return {"weight": facts["weight"]}
        if isinstance(by, GivenWeights):
            return {"weight": given(by, facts["class"])}
        group = number_of(facts["class"])
        sizes = np.bincount(group)
        beta = by.beta if isinstance(by, EffectiveNumber) else None
        return {"weight": class_weights(sizes, beta)[group]}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        record.row["weight"] = float(record.row.get("weight", 1.0)) * decision["weight"]
        return [record]


def class_weights(sizes: np.ndarray, beta: float | None) -> np.ndarray:
    """Weights of classes with so many rows, with a mean of 1 over the rows: by effective numbers, or by sizes."""
    effective = sizes if beta is None else (1 - beta**sizes) / (1 - beta)
    return sizes.sum() / (sizes / effective).sum() / effective


def given(by: GivenWeights, classes: np.ndarray) -> np.ndarray:
    """The weight of each row.

    Raises:
        DataError: if a class is named that no row has.
    """
    weights = np.ones(len(classes))
    for name, weight in by.weights.items():
        mine = classes == np.frombuffer(hash_text(name)[:8], np.uint64)[0]
        if not mine.any():
            raise DataError(f"weights names {by.column} {name!r}, which no training row has; correct or remove it")
        weights[mine] = weight
    return weights


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
