"""A metric over rows that can be taken again over other rows: what intervals and tests work on.

Most metrics are a function of sums over rows: a mean is a sum of values over a sum of ones, macro-F1 a function of counts
per class, BLEU one of n-gram counts. Those resample as matrix products, whatever the function. Metrics that are not (AUC,
distinct-n) are computed anew from the rows drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """A function of sums over rows.

    Attributes:
        kinds: what each row adds, shape (n, d), float64; where `codes` is given, what each kind of row adds, shape
            (k, d): rows of 77 classes are of few kinds. Rows that the metric does not concern add zeros.
        of: sums, shape (..., d), to values, shape (...); nan where it is not defined.
        codes: the kind of each row, shape (n,), an index into `kinds`; None where every row is of its own kind.
    """

    kinds: np.ndarray
    of: Callable[[np.ndarray], np.ndarray]
    codes: np.ndarray | None = None

    @classmethod
    def mean(cls, values: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray | None = None) -> Sums:
        """The (weighted) mean of one value a row; rows whose value is nan, or whose weight is 0, do not count."""
        given = np.asarray(values, np.float64)
        weight = np.ones_like(given) if weights is None else np.asarray(weights, np.float64)
        weight = np.where(np.isnan(given), 0.0, weight)
        return cls(np.stack([np.where(weight > 0, given, 0.0) * weight, weight], axis=1), ratio)

    @property
    def rows(self) -> np.ndarray:
        """What each row adds, shape (n, d), float64; written out where rows are kept by kind, so large for many classes."""
        return self.kinds if self.codes is None else self.kinds[self.codes]

    @property
    def n(self) -> int:
        """Rows, those that it does not concern included."""
        return len(self.kinds if self.codes is None else self.codes)

    @property
    def value(self) -> float:
        """Over all rows."""
        return float(self.of(self.total))

    @property
    def total(self) -> np.ndarray:
        """What all rows add, shape (d,)."""
        if self.codes is None:
            return np.asarray(self.kinds.sum(axis=0))
        return np.asarray(np.bincount(self.codes, minlength=len(self.kinds)) @ self.kinds)

    @property
    def values(self) -> np.ndarray | None:
        """The value of each row where the metric is a mean, shape (n,), nan for rows that do not count; else None."""
        if self.of is not ratio:
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.rows[:, 1] > 0, self.rows[:, 0] / self.rows[:, 1], np.nan)

    @property
    def is_binary(self) -> bool:
        """Whether it is a share: a mean of zeros and ones, all of one weight."""
        values = self.values
        if values is None:
            return False
        counted = self.rows[:, 1] > 0
        return bool(np.isin(values[counted], (0.0, 1.0)).all() and (self.rows[counted, 1] == 1.0).all())

    def take(self, indices: np.ndarray) -> Sums:
        """The same over some of the rows, in that order."""
        if self.codes is None:
            return Sums(self.kinds[indices], self.of)
        return Sums(self.kinds, self.of, self.codes[indices])


@dataclasses.dataclass(frozen=True, eq=False)
class Whole:
    """A metric that needs the rows themselves.

    Attributes:
        n: rows.
        of: indices of rows, shape (m,), with repetition, to the value over them; nan where it is not defined.
    """

    n: int
    of: Callable[[np.ndarray], float]

    @property
    def value(self) -> float:
        """Over all rows."""
        return float(self.of(np.arange(self.n)))

    def take(self, indices: np.ndarray) -> Whole:
        """The same over some of the rows, in that order."""
        return Whole(len(indices), lambda drawn: self.of(indices[drawn]))


Statistic = Sums | Whole


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first sum over the second, nan where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)
