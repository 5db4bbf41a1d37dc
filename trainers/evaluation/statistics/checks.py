"""What may be tested with what; wrong use is answered with what to change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistic import Statistic, Sums

LEAST_ROWS = 2


class UnpairedRows(DataError):
    """A paired comparison of results that do not belong to the same rows."""


def enough(n: int, least: int = LEAST_ROWS, what: str = "rows") -> None:
    """Refuse to draw conclusions from almost nothing.

    Raises:
        DataError: for fewer than `least`.
    """
    if n == 0:
        raise DataError(f"found no {what}; expected at least {least}: take a slice that has {what}, or all of them")
    if n < least:
        raise DataError(
            f"found {n} {what}; expected at least {least}: one row says nothing about how much others differ"
        )


def same_rows(first: Statistic, second: Statistic) -> None:
    """Refuse a paired comparison of different rows.

    Raises:
        UnpairedRows: for different numbers of rows.
        DataError: for fewer than two.
    """
    if first.n != second.n:
        raise UnpairedRows(
            f"a paired comparison needs both results on the same rows; found {first.n} and {second.n}: pair them by key "
            "(pair_rows), or compare them as unpaired"
        )
    enough(first.n)


def pair_rows(first: Sequence[str], second: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of two evaluations are the same row, by `Prediction.key`.

    Rows with equal keys (a row that is in a file twice) are paired in the order in which they occur.

    Returns:
        Indices into the first and into the second, of equal length, in the order of the first.

    Raises:
        UnpairedRows: if they have no row in common, or a row has no key.
    """
    if not all(first) or not all(second):
        raise UnpairedRows("found rows without a key; expected a key for every row: evaluate again with this version")
    places: dict[str, list[int]] = {}
    for index in range(len(second) - 1, -1, -1):
        places.setdefault(second[index], []).append(index)
    pairs = [(index, places[key].pop()) for index, key in enumerate(first) if places.get(key)]
    if not pairs:
        raise UnpairedRows(
            f"found no row that is in both ({len(first)} and {len(second)} rows); expected evaluations of the same "
            "data: evaluate both on the same files, or compare them as unpaired"
        )
    found = np.array(pairs, np.int64)
    return found[:, 0], found[:, 1]


def both_values(first: Statistic, second: Statistic, test: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of the rows that count in both, each of shape (m,).

    Raises:
        UnpairedRows, DataError: as `same_rows`, and if fewer than two rows count in both.
        ConfigError: if a metric is no mean of row values.
    """
    same_rows(first, second)
    one, other = row_values(first, test), row_values(second, test)
    counted = ~(np.isnan(one) | np.isnan(other))
    enough(int(counted.sum()), what="rows that count in both")
    return one[counted], other[counted]


def counted_values(statistic: Statistic, test: str) -> np.ndarray:
    """Values of the rows that count, shape (m,).

    Raises:
        DataError: if fewer than two do.
        ConfigError: if the metric is no mean of row values.
    """
    values = row_values(statistic, test)
    values = values[~np.isnan(values)]
    enough(len(values), what="rows that count")
    return values


def row_values(statistic: Statistic, test: str) -> np.ndarray:
    """One value a row, nan for rows that do not count.

    Raises:
        ConfigError: if the metric is no (unweighted) mean of these.
    """
    values = statistic.values if isinstance(statistic, Sums) else None
    if values is None:
        raise ConfigError(
            f"{test} needs one value a row; found a metric that is a function of many rows: use the permutation test or "
            "the paired bootstrap"
        )
    return values


def is_share(statistic: Statistic) -> bool:
    """Whether it is a mean of zeros and ones."""
    return isinstance(statistic, Sums) and statistic.is_binary


def is_plain_mean(statistic: Statistic) -> bool:
    """Whether it is a mean of row values that all weigh the same."""
    if not isinstance(statistic, Sums) or statistic.values is None:
        return False
    weights = statistic.rows[:, 1]
    return bool(np.isin(weights, (0.0, 1.0)).all())


def by_group(n: int, groups: np.ndarray | Sequence[object] | None) -> np.ndarray | None:
    """Groups as numbers from 0 on, shape (n,); None where there are none.

    Raises:
        DataError: for another number of them than rows, or fewer than two groups.
    """
    if groups is None:
        return None
    if len(groups) != n:
        raise DataError(f"found {len(groups)} groups for {n} rows; expected one for each row")
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    enough(int(codes.max(initial=-1)) + 1, what="groups")
    return codes.astype(np.int64)


def known_alternative(alternative: str) -> str:
    """The alternative, if it is one.

    Raises:
        ConfigError: if it is none.
    """
    if alternative not in ("two-sided", "greater", "less"):
        raise ConfigError(
            f"found alternative {alternative!r}; expected 'two-sided', 'greater' (the second is higher) or 'less'"
        )
    return alternative


def both_shares(first: Statistic, second: Statistic, test: str) -> tuple[np.ndarray, np.ndarray]:
    """As `both_values`, for shares only.

    Raises:
        UnpairedRows, DataError, ConfigError: as `both_values`, and for metrics that are no shares.
    """
    same_rows(first, second)
    _only_shares(first, test)
    _only_shares(second, test)
    return both_values(first, second, test)


def share_values(statistic: Statistic, test: str) -> np.ndarray:
    """As `counted_values`, for shares only.

    Raises:
        DataError, ConfigError: as `counted_values`, and for a metric that is no share.
    """
    _only_shares(statistic, test)
    return counted_values(statistic, test)


def _only_shares(statistic: Statistic, test: str) -> None:
    if not is_share(statistic):
        raise ConfigError(
            f"{test} is for shares (each row right or wrong); found other values: use choose_test to get the test that "
            "suits the metric"
        )


def can_swap(first: Statistic, second: Statistic) -> bool:
    """Whether rows of one may stand in the other: the same function of the same sums."""
    if not (isinstance(first, Sums) and isinstance(second, Sums)) or first.kinds.shape[1] != second.kinds.shape[1]:
        return False
    return _same_function(first.of, second.of)


def swappable(first: Statistic, second: Statistic) -> list[Sums]:
    """Both, if rows of one may stand in the other.

    Raises:
        ConfigError: if not.
    """
    if not can_swap(first, second):
        raise ConfigError(
            "the permutation test needs two metrics that are the same function of the same sums over rows; found others: "
            "use the paired bootstrap"
        )
    return [one for one in (first, second) if isinstance(one, Sums)]


def _same_function(first: Any, second: Any) -> bool:
    """The same one, or two made by the same line with the same values (a lambda in a function that ran twice)."""
    if first is second:
        return True
    if isinstance(first, partial) and isinstance(second, partial):
        parts = [(one.func, one.args, sorted(one.keywords.items())) for one in (first, second)]
        return _same_function(parts[0][0], parts[1][0]) and _same(parts[0][1:], parts[1][1:])
    code = getattr(first, "__code__", None)
    if code is None or code != getattr(second, "__code__", None):
        return False
    held = [(one.__defaults__, [cell.cell_contents for cell in one.__closure__ or ()]) for one in (first, second)]
    return _same(held[0], held[1])


def _same(first: Any, second: Any) -> bool:
    """Equal values; functions as `_same_function` has them, arrays element by element."""
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        return len(first) == len(second) and all(_same(*pair) for pair in zip(first, second, strict=True))
    if callable(first) and callable(second):
        return _same_function(first, second)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    return bool(first == second)
