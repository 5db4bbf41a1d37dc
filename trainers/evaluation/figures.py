"""From predictions to figures: metrics with intervals, over all rows and over each slice, and the floor they stand on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster.config import EvaluateConfig, MetricSpec
from cluster.exceptions import DataError
from trainers.evaluation.baseline import baseline
from trainers.evaluation.metrics import Measured, measure, specs_for
from trainers.evaluation.metrics.classification import class_report
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.slices import NO_VALUE, sliced

Intervals = dict[str, tuple[float, float]]
LEAST_ROWS = 2
"""Fewer have no spread."""
SLICE_RESAMPLES = 1000
"""Most resamples of a slice: there are many of them."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Metrics over some rows."""

    metrics: dict[str, float]
    intervals: Intervals


def summarise(kind: str, rows: Rows, evaluate: EvaluateConfig, slices: Sequence[str] = ()) -> EvaluationResult:
    """Scores of all rows, of each slice, and of always giving the most common reference.

    Raises:
        DataError: for a slice column, or a column of groups, that no row has.
    """
    rows = Rows(sliced(rows.predictions, slices), rows.labels)
    specs = specs_for(kind, evaluate.metrics)
    left_out: dict[str, str] = {}
    found = _figures(rows, specs, evaluate, evaluate.num_resamples, left_out)
    floor, answer = baseline(rows, specs)
    by_slice = {name: _by_value(rows, name, specs, evaluate) for name in slices}
    counts = {"cut_rows": sum(one.was_cut for one in rows.predictions)}
    failed = sum(one.error is not None for one in rows.predictions)
    return EvaluationResult(
        kind=kind,
        n=len(rows),
        metrics=found.metrics | counts | ({"failed_rows": failed} if failed else {}),
        baseline=floor,
        baseline_answer=answer,
        slices={name: {value: part.metrics for value, part in parts.items()} for name, parts in by_slice.items()},
        classes=class_report(rows) if kind == "classification" and rows.predictions else {},
        predictions=list(rows.predictions),
        duration_s=0.0,
        labels=list(rows.labels),
        intervals=found.intervals,
        slice_intervals={
            name: {value: part.intervals for value, part in parts.items()} for name, parts in by_slice.items()
        },
        sections={"left_out": left_out} if left_out else {},
    )


def _figures(
    rows: Rows,
    specs: Sequence[MetricSpec],
    evaluate: EvaluateConfig,
    num_resamples: int,
    left_out: dict[str, str] | None = None,
) -> Figures:
    measured = measure(rows, specs, left_out)
    groups = groups_of(rows, evaluate.groups)
    spans = {name: interval(one, evaluate, num_resamples, groups) for name, one in measured.items()}
    return Figures(
        {name: one.value for name, one in measured.items()},
        {name: span for name, span in spans.items() if span is not None},
    )


def interval(
    measured: Measured, evaluate: EvaluateConfig, num_resamples: int, groups: np.ndarray | None = None
) -> tuple[float, float] | None:
    """Where the metric lies with the confidence of the settings; None where the rows cannot tell."""
    from trainers.evaluation.statistics import interval_for

    if measured.statistic.n < LEAST_ROWS or (groups is not None and len(np.unique(groups)) < LEAST_ROWS):
        return None
    try:
        found = interval_for(
            measured.statistic,
            confidence=evaluate.confidence,
            num_resamples=num_resamples,
            groups=groups,
            seed=evaluate.seed,
        )
    except DataError:  # not defined on most samples of these rows: there is a value, and no telling how sure it is
        return None
    return found.low, found.high


def groups_of(rows: Rows, column: str | None) -> np.ndarray | None:
    """Group of each row as text, shape (n,); rows without one are each their own.

    Raises:
        DataError: if no row has the column.
    """
    if column is None:
        return None
    if not any(column in one.columns for one in rows.predictions):
        raise DataError(f"evaluate.groups={column!r}: no row has this column; name one that the rows have")
    values = [one.columns.get(column) for one in rows.predictions]
    return np.array([f"row {index}" if value is None else f"group {value}" for index, value in enumerate(values)])


def _by_value(rows: Rows, name: str, specs: Sequence[MetricSpec], evaluate: EvaluateConfig) -> dict[str, Figures]:
    groups: dict[str, list[Prediction]] = {}
    for prediction in rows.predictions:
        groups.setdefault(prediction.slices[name], []).append(prediction)
    resamples = min(evaluate.num_resamples, SLICE_RESAMPLES)
    found = {}
    for value, members in sorted(groups.items(), key=lambda group: _rank(group[0])):
        part = _figures(Rows(members, rows.labels), specs, evaluate, resamples)
        found[value] = Figures({"n": len(members), **part.metrics}, part.intervals)
    return found


def _rank(value: str) -> tuple[Any, ...]:
    """Numbers by size, then texts, then what has no value."""
    try:
        return 0, float(value), value
    except ValueError:
        return (2 if value == NO_VALUE else 1), 0.0, value


def plain(value: Any) -> Any:
    """A value as strict JSON has it: what is no number becomes null."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
