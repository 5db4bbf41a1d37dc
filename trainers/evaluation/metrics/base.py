"""What a metric is: a function of rows. A team's own is such a function, named by import path."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Statistic, Sums, Whole

Notes = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What a metric returns, or puts in its mapping, where it is not defined over the rows.

    Attributes:
        reason: what was found and what it would need, as one sentence.
    """

    reason: str


class NotDefined(Exception):
    """The same, raised from further inside: the message is the reason."""


Found = float | Sequence[float] | np.ndarray | Sums | Whole | LeftOut | Mapping[str, Any] | None
"""What a metric's function may return: one value a row (their mean is the metric), a number over all rows, a statistic,
several of these by name, None where the rows have nothing for it, or why it is left out."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric that can be named in `evaluate.metrics`.

    Attributes:
        function: rows (and the arguments of the file) to what was found. Names in a mapping are put behind the
            metric's own with a dot, unless the mapping is keyed by whole names (`is_family`).
        higher_is_better: False for losses and errors; None where neither is better (length).
        annotate: what is expensive or must not be done twice (running code, asking a judge): predictions to one
            mapping of notes each. It runs once, while predictions are made, with the arguments of the file as the
            function gets them; the function reads `Rows.note`.
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


def settle(
    name: str, metric: Metric, rows: Rows, args: Mapping[str, Any], left_out: dict[str, str] | None = None
) -> list[Measured]:
    """Compute a metric and give its values one form. A metric that is not defined over the rows has none.

    Args:
        left_out: filled with the reason of each that is left out, by name.

    Raises:
        ConfigError: for arguments that the metric does not have.
        TypeError: if the function returned what is no metric.
    """
    try:
        inspect.signature(metric.function).bind(rows, **args)
    except TypeError as error:
        raise ConfigError(f"evaluate.metrics: {name}: {error}; change its args") from None
    found = _found(metric, rows, args) if len(rows) else LeftOut("there are no rows")
    settled = []
    for shown, part in _named(name, metric, found):
        if isinstance(part, LeftOut):
            if left_out is not None:
                left_out[shown] = part.reason
        elif part is not None:
            settled.append(Measured(shown, _statistic(shown, metric, rows, args, part), metric.higher_is_better))
    return settled


def _found(metric: Metric, rows: Rows, args: Mapping[str, Any]) -> Any:
    try:
        return metric.function(rows, **args)
    except NotDefined as error:
        return LeftOut(str(error))


def _named(name: str, metric: Metric, found: Any) -> Iterator[tuple[str, Any]]:
    """What a metric found, each part with the name it is shown under."""
    if not isinstance(found, Mapping):
        yield name, found
        return
    for key, part in found.items():
        yield from _named(key if metric.is_family else f"{name}.{key}", metric, part)


def _statistic(name: str, metric: Metric, rows: Rows, args: Mapping[str, Any], found: Any) -> Statistic:
    if isinstance(found, Sums | Whole):
        return found
    if isinstance(found, int | float | np.floating | np.integer):
        return Whole(len(rows), lambda drawn: _number(_found(metric, rows.take(drawn), args)))
    values = np.asarray(found, np.float64)
    if values.shape != (len(rows),):
        raise TypeError(
            f"metric {name}: found values of shape {values.shape} for {len(rows)} rows; expected a number, one value a "
            "row, or a mapping of names to these"
        )
    return Sums.mean(values)


def _number(found: Any) -> float:
    return float("nan") if found is None or isinstance(found, LeftOut) else float(found)
