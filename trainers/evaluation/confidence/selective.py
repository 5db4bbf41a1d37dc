"""What a model would score if it only answered where it is sure (El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

COVERAGES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
ACCURACIES = (0.9, 0.95, 0.99)
POINTS = 100
"""Of the curve, for plots."""


@dataclasses.dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The curve of the share that is wrong over the share that is answered, the surest rows first.

    Attributes:
        coverage: 1/n, 2/n, ..., 1, shape (n,).
        risk: share of wrong answers among the rows answered, shape (n,).
        confidence: of the last row answered, shape (n,).
    """

    coverage: np.ndarray
    risk: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, confidences: np.ndarray, hits: np.ndarray) -> RiskCoverage:
        """Rows of the same confidence count as if in random order, so that the order they lie in says nothing."""
        order = np.argsort(-confidences, kind="stable")
        sure, wrong = confidences[order], 1.0 - hits[order]
        _, group, sizes = np.unique(-sure, return_inverse=True, return_counts=True)
        shared = (np.bincount(group, weights=wrong) / sizes)[group]
        answered = np.arange(1, len(sure) + 1)
        return cls(answered / len(sure), np.cumsum(shared) / answered, sure)

    @property
    def aurc(self) -> float:
        """Mean risk over all coverages; the lower, the better."""
        return float(self.risk.mean())

    @property
    def excess(self) -> float:
        """By how much it is above the best possible order: every right answer surer than every wrong one."""
        n = len(self.risk)
        wrong = round(float(self.risk[-1]) * n)
        answered = np.arange(1, n + 1)
        return self.aurc - float((np.maximum(answered - (n - wrong), 0) / answered).mean())


def selective_report(confidences: np.ndarray, hits: np.ndarray, level: float = 0.95) -> dict[str, Any]:
    """The curve, its area, accuracy at some coverages and coverage at some accuracies."""
    curve = RiskCoverage.of(confidences, hits)
    n = len(hits)
    shown = np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(int))
    return {
        "n": n,
        "aurc": curve.aurc,
        "excess_aurc": curve.excess,
        "random_aurc": float(curve.risk[-1]),
        "curve": [[float(curve.coverage[at]), float(curve.risk[at])] for at in shown],
        "at_coverage": [_at_coverage(curve, share, level) for share in COVERAGES if round(share * n) >= 1],
        "at_accuracy": [found for wanted in ACCURACIES if (found := _at_accuracy(curve, wanted)) is not None],
    }


def _at_coverage(curve: RiskCoverage, share: float, level: float) -> dict[str, Any]:
    from trainers.evaluation.statistics.intervals import wilson

    answered = max(round(share * len(curve.risk)), 1)
    right = round((1 - float(curve.risk[answered - 1])) * answered)
    interval = wilson(right, answered, level)
    return {
        "coverage": share,
        "n": answered,
        "accuracy": 1 - float(curve.risk[answered - 1]),
        "interval": [interval.low, interval.high],
        "threshold": float(curve.confidence[answered - 1]),
    }


def _at_accuracy(curve: RiskCoverage, wanted: float) -> dict[str, Any] | None:
    """The largest share that can be answered with that accuracy; its threshold was chosen on these rows, and flatters them.

    Only where a confidence ends: rows of the same confidence are answered together or not at all.
    """
    ends = np.append(curve.confidence[1:] < curve.confidence[:-1], True)
    good = np.flatnonzero((1 - curve.risk >= wanted) & ends)
    if not len(good):
        return None
    last = int(good[-1])
    return {
        "accuracy": wanted,
        "coverage": float(curve.coverage[last]),
        "n": last + 1,
        "threshold": float(curve.confidence[last]),
    }


def by_source(scores: dict[str, np.ndarray], hits: np.ndarray) -> list[dict[str, Any]]:
    """Which measure of confidence orders the rows best: the AURC of each, the best first.

    Args:
        scores: name -> how sure, shape (n,), the greater the surer.
    """
    found = [{"confidence": name, "aurc": RiskCoverage.of(sure, hits).aurc} for name, sure in scores.items()]
    return sorted(found, key=lambda one: float(str(one["aurc"])))
