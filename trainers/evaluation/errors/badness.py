"""How bad each row came out: the one number a row that slices, neighbours and tests are about."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np

from trainers.evaluation.rows import Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Bad:
    """Rows and how bad they came out.

    Attributes:
        values: 1 for wrong and 0 for right, or the loss of a token in nats; shape (n,), the greater the worse.
        index: which of the rows these are, shape (n,).
        is_share: whether values are zeros and ones.
    """

    values: np.ndarray
    index: np.ndarray
    is_share: bool

    def __len__(self) -> int:
        return len(self.values)

    @property
    def measure(self) -> str:
        """What the mean of the values is called."""
        return "share wrong" if self.is_share else "loss"

    @cached_property
    def is_wrong(self) -> np.ndarray:
        """Rows that went wrong, or whose loss is in the highest tenth; shape (n,), bool."""
        return self.values > 0 if self.is_share else self.values > np.quantile(self.values, 0.9)

    def mean(self, members: np.ndarray | None = None) -> float:
        """Over all rows, or over some of them."""
        values = self.values if members is None else self.values[members]
        return float(values.mean()) if len(values) else float("nan")

    def interval(self, members: np.ndarray, level: float) -> tuple[float, float]:
        """Where the mean of rows like these lies: Wilson for shares, Student's t for losses."""
        from trainers.evaluation.statistics.intervals import student_t, wilson

        values = self.values[members]
        if not self.is_share and len(values) < 2:
            return float(values[0]), float(values[0])
        found = wilson(int(values.sum()), len(values), level) if self.is_share else student_t(values, level)
        return found.low, found.high

    def worse_than_rest(self, members: np.ndarray) -> float:
        """p-value of these rows being no worse than the others: Fisher's exact test for shares, Mann-Whitney for losses.

        Args:
            members: shape (n,), bool.
        """
        from scipy.stats import hypergeom, mannwhitneyu

        inside = int(members.sum())
        if not 0 < inside < len(self):
            return 1.0
        if self.is_share:
            return float(hypergeom.sf(self.values[members].sum() - 1, len(self), self.values.sum(), inside))
        return float(mannwhitneyu(self.values[members], self.values[~members], alternative="greater").pvalue)

    def take(self, rows: np.ndarray) -> Bad:
        """Some of the rows, in that order."""
        return Bad(self.values[rows], self.index[rows], self.is_share)


def badness_of(rows: Rows) -> Bad | None:
    """Wrong answers where some are right and some wrong, else the loss; None where neither says anything."""
    compared = np.flatnonzero(rows.is_compared)
    if len(compared):
        pairs = ((rows.references[at], rows.outputs[at]) for at in compared)
        wrong = np.array([float((want or "").strip() != (got or "").strip()) for want, got in pairs])
        if 0 < wrong.sum() < len(wrong):
            return Bad(wrong, compared, True)
    with_loss = np.array([at for at, one in enumerate(rows.predictions) if one.loss_units > 0], np.int64)
    if len(with_loss) < 2 or rows.labels:  # a classifier without a mistake has none to explain
        return None
    losses = np.array([rows.predictions[at].loss_sum / rows.predictions[at].loss_units for at in with_loss])
    return Bad(losses, with_loss, False)
