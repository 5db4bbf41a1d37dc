"""Sets of labels that hold the right one with a guarantee (split conformal prediction; Vovk et al. 2005).

For rows drawn like those that the threshold was fitted on, a label's score is within the threshold for the right label
with a probability of at least 1 - alpha, and at most 1 - alpha + 1 / (n + 1) where no two scores are equal, whatever the
model. It is a promise on average over rows, not for each class or slice, which is why coverage by class is reported too.
The likeliest label is always put into the set, so that none is empty; that can only make it hold the right one more often.

The sets are made of the model's own probabilities, not of calibrated ones: the guarantee then needs no rows of its own
beside those that the calibrator is fitted on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

Kind = Literal["lac", "aps", "raps"]
RAPS_PENALTY, RAPS_FREE = 0.01, 5
"""What each label beyond the first five adds to the score (Angelopoulos et al. 2021, arXiv 2009.14193)."""


@dataclasses.dataclass(frozen=True)
class Conformal:
    """A fitted threshold.

    Attributes:
        kind: how a label is scored.
        alpha: share of sets that may miss.
        threshold: labels with at most this score are in the set; infinite where n rows are too few for alpha.
        n: rows that it was fitted on.
    """

    kind: Kind
    alpha: float
    threshold: float
    n: int

    @classmethod
    def fit(cls, kind: Kind, alpha: float, probabilities: np.ndarray, classes: np.ndarray) -> Conformal:
        """The threshold for probabilities of shape (n, classes) and the right classes, shape (n,)."""
        scores = SCORES[kind](probabilities)[np.arange(len(classes)), classes]
        rank = int(np.ceil((len(scores) + 1) * (1 - alpha) - 1e-9))
        threshold = float(np.sort(scores)[rank - 1]) if rank <= len(scores) else float("inf")
        return cls(kind, alpha, threshold, len(scores))

    def within(self, probabilities: np.ndarray) -> np.ndarray:
        """Which labels are within the threshold, shape (n, classes), bool; of a row it may be none."""
        return SCORES[self.kind](probabilities) <= self.threshold

    def sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Which labels are in the set of each row, shape (n, classes), bool; the likeliest always is."""
        inside = self.within(probabilities)
        inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
        return inside

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON, which has no infinity."""
        return {**dataclasses.asdict(self), "threshold": self.threshold if np.isfinite(self.threshold) else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Conformal:
        """What `as_json` wrote."""
        threshold = values["threshold"]
        return cls(**{**values, "threshold": float("inf") if threshold is None else float(threshold)})


def lac(probabilities: np.ndarray) -> np.ndarray:
    """1 - p of each label, shape (n, classes): the least ambiguous sets (Sadinle et al. 2019)."""
    return 1.0 - np.asarray(probabilities, np.float64)


def aps(probabilities: np.ndarray) -> np.ndarray:
    """Summed probability of a label and all that are likelier (Romano et al. 2020, arXiv 2006.02544), not randomised."""
    sums, _ = _summed(probabilities)
    return sums


def raps(probabilities: np.ndarray) -> np.ndarray:
    """The same with a penalty on far-down labels, which keeps sets small."""
    sums, ranks = _summed(probabilities)
    return sums + RAPS_PENALTY * np.maximum(ranks - RAPS_FREE, 0)


def _summed(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cumulated probabilities, and ranks from 1, both in the order of the labels."""
    given = np.asarray(probabilities, np.float64)
    order = np.argsort(-given, axis=1, kind="stable")
    sums, ranks = np.empty_like(given), np.empty(given.shape, np.int64)
    np.put_along_axis(sums, order, np.cumsum(np.take_along_axis(given, order, axis=1), axis=1), axis=1)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(1, given.shape[1] + 1), given.shape), axis=1)
    return sums, ranks


SCORES = {"lac": lac, "aps": aps, "raps": raps}


def coverage_report(
    conformal: Conformal, probabilities: np.ndarray, classes: np.ndarray, labels: tuple[str, ...], level: float = 0.95
) -> dict[str, Any]:
    """How often the sets held the right label on these rows, how large they are, and which classes they miss."""
    from trainers.evaluation.statistics.intervals import wilson

    sets = conformal.sets(probabilities)
    held = sets[np.arange(len(classes)), classes]
    sizes = sets.sum(axis=1)
    interval = wilson(int(held.sum()), len(held), level)
    by_class = [
        {"label": labels[number], "n": int(inside.sum()), "coverage": float(held[inside].mean())}
        for number in np.unique(classes)
        if (inside := classes == number).any()
    ]
    return {
        **conformal.as_json(),
        "promised": 1 - conformal.alpha,
        "rows": len(classes),
        "coverage": float(held.mean()),
        "interval": [interval.low, interval.high],
        "mean_size": float(sizes.mean()),
        "sizes": {str(size): int(count) for size, count in zip(*np.unique(sizes, return_counts=True), strict=True)},
        "single": float((sizes == 1).mean()),
        "classes": sorted(by_class, key=lambda one: one["coverage"]),
    }
