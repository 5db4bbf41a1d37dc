"""What a metric is: a function of rows. A team's own is such a function, named by import path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Statistic, Sums, Whole

Found = float | Sequence[float] | np.ndarray | Sums | Whole | Mapping[str, Any] | None
"""What a metric's function may return: one value a row (their mean is the metric), a number over all rows, a statistic,
several of these by name, or None where the rows have nothing for it."""

Notes = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric that can be named in `evaluate.metrics`.

    Attributes:
        function: rows (and the arguments of the file) to what was found. Names in a mapping are put behind the
            metric's own with a dot, unless the mapping is keyed by whole names (`is_family`).
        higher_is_better: False for losses and errors; None where neither is better (length).
        annotate: what is expensive or must not be done twice (running code, asking a judge): predictions to one
            mapping of notes each. It runs once, while predictions are made; the function reads `Rows.note`.
        is_family: the function returns whole names (`precision_macro`, `recall_macro`, ...).
        default_for: kinds of models whose evaluation has it without being asked.
    """

    function: Callable[..., Found]
    higher_is_better: bool | None = True
    annotate: Callable[..., Notes] | None = None
    is_family: bool = False
    default_for: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A metric over some rows.

    Attributes:
        name: as it is shown and named in gates.
        statistic: what it was computed from; intervals and tests take it again over other rows.
        higher_is_better: None where neither is.
    """

    name: str
    statistic: Statistic
    higher_is_better: bool | None = True

    @property
    def value(self) -> float:
        """Over all rows."""
        return self.statistic.value


def settle(name: str, metric: Metric, rows: Rows, args: Mapping[str, Any]) -> list[Measured]:
    """Compute a metric and give its values one form.

    Raises:
        TypeError: if the function returned what is no metric.
    """
    return _settled(name, metric, rows, args, metric.function(rows, **args))


def _settled(name: str, metric: Metric, rows: Rows, args: Mapping[str, Any], found: Found) -> list[Measured]:
    if found is None:
        return []
    if isinstance(found, Mapping):
        names = {key: key if metric.is_family else f"{name}.{key}" for key in found}
        return [one for key, part in found.items() for one in _settled(names[key], metric, rows, args, part)]
    return [Measured(name, _statistic(name, metric, rows, args, found), metric.higher_is_better)]


def _statistic(name: str, metric: Metric, rows: Rows, args: Mapping[str, Any], found: Any) -> Statistic:
    if isinstance(found, Sums | Whole):
        return found
    if isinstance(found, int | float | np.floating | np.integer):
        return Whole(len(rows), lambda drawn: float(metric.function(rows.take(drawn), **args)))  # type: ignore[arg-type]
    values = np.asarray(found, np.float64)
    if values.shape != (len(rows),):
        raise TypeError(
            f"metric {name}: found values of shape {values.shape} for {len(rows)} rows; expected a number, one value a "
            "row, or a mapping of names to these"
        )
    return Sums.mean(values)
