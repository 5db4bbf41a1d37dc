"""How far a model's confidence is from how often it is right.

The calibration error groups rows by confidence and compares in each group the mean confidence with the share that is
right (Naeini et al. 2015). Groups are of equal width, as most papers have it, or of equal mass, which is steadier
(Nixon et al. 2019, arXiv 1904.01685). Both are functions of sums over rows, so that intervals are cheap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from trainers.evaluation.confidence.calibrators import nll, softmax
from trainers.evaluation.confidence.scores import Scores, scores_of
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums, ratio

Scheme = Literal["width", "mass"]
BINS = 15


@dataclasses.dataclass(frozen=True)
class Bin:
    """Rows of about the same confidence.

    Attributes:
        low: least confidence of the bin.
        high: greatest.
        n: rows.
        confidence: mean.
        accuracy: share that is right.
        interval: where that share lies (Wilson).
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


def bin_edges(confidences: np.ndarray, bins: int, scheme: Scheme) -> np.ndarray:
    """Edges from 0 to 1: of equal width, or so that about as many rows lie between any two."""
    if scheme == "width":
        return np.linspace(0.0, 1.0, bins + 1)
    inner = np.quantile(confidences, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    return np.concatenate([[0.0], np.unique(inner[(inner > 0.0) & (inner < 1.0)]), [1.0]])


def bin_of(confidences: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each row: left edge excluded, right edge included, as in most papers."""
    return np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, len(edges) - 2)


def calibration_error(
    confidences: np.ndarray,
    hits: np.ndarray,
    bins: int = BINS,
    scheme: Scheme = "width",
    norm: Literal["l1", "max"] = "l1",
) -> Sums:
    """Difference between confidence and accuracy: its mean over rows (`l1`, the ECE), or in the worst bin (`max`)."""
    edges = bin_edges(confidences, bins, scheme)
    of_row, number = bin_of(confidences, edges), len(edges) - 1
    rows = np.zeros((len(confidences), 3, number))
    each = np.arange(len(confidences))
    rows[each, 0, of_row], rows[each, 1, of_row], rows[each, 2, of_row] = 1.0, confidences, hits
    return Sums(rows.reshape(len(rows), -1), _worst_gap if norm == "max" else _mean_gap)


def _gaps(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each bin, and how far their summed confidence is from the summed hits."""
    counts, confidence, hits = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    return counts, np.abs(confidence - hits)


def _mean_gap(sums: np.ndarray) -> np.ndarray:
    counts, gaps = _gaps(sums)
    return ratio(np.stack([gaps.sum(-1), counts.sum(-1)], axis=-1))


def _worst_gap(sums: np.ndarray) -> np.ndarray:
    counts, gaps = _gaps(sums)
    return (gaps / np.maximum(counts, 1)).max(-1)


def classwise_error(probabilities: np.ndarray, classes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """ECE of the probability of each class by itself, shape (classes,) (Kull et al. 2019, arXiv 1910.12656)."""
    n, number = probabilities.shape
    of_row = bin_of(probabilities.ravel(), bin_edges(probabilities, bins, "width")).reshape(n, number)
    flat = of_row + np.arange(number) * bins
    gap = probabilities - (classes[:, None] == np.arange(number))
    sums = np.bincount(flat.ravel(), weights=gap.ravel(), minlength=number * bins)
    return np.abs(sums.reshape(number, bins)).sum(axis=1) / max(n, 1)


def brier(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Squared distance between the probabilities and the right class, shape (n,), from 0 to 2 (Brier 1950)."""
    right = classes[:, None] == np.arange(probabilities.shape[1])
    return ((probabilities - right) ** 2).sum(axis=1)


def reliability_bins(
    confidences: np.ndarray, hits: np.ndarray, bins: int = BINS, scheme: Scheme = "width", level: float = 0.95
) -> list[Bin]:
    """What a reliability plot draws: the bins that have rows."""
    from trainers.evaluation.statistics.intervals import wilson

    edges = bin_edges(confidences, bins, scheme)
    of_row = bin_of(confidences, edges)
    found = []
    for number in np.unique(of_row):
        inside = of_row == number
        right, n = int(hits[inside].sum()), int(inside.sum())
        interval = wilson(right, n, level)
        found.append(
            Bin(
                float(edges[number]),
                float(edges[number + 1]),
                n,
                float(confidences[inside].mean()),
                right / n,
                (interval.low, interval.high),
            )
        )
    return found


def statistics_of(scores: Scores, probabilities: np.ndarray, bins: int = BINS) -> dict[str, Sums]:
    """The figures of some probabilities by name; the lower each is, the better."""
    sure = scores.confidence(probabilities)
    return {
        "ece": calibration_error(sure, scores.hits, bins),
        "ece_equal_mass": calibration_error(sure, scores.hits, bins, "mass"),
        "worst_bin": calibration_error(sure, scores.hits, min(bins, 10), "mass", "max"),
        "brier": Sums.mean(brier(probabilities, scores.classes)),
        "nll": Sums.mean(nll(probabilities, scores.classes)),
    }


# -- metrics that a file can name -----------------------------------------------------------------


def ece(rows: Rows, bins: int = BINS, scheme: Scheme = "width") -> Sums | None:
    """Calibration error of the model's own confidence, over the rows that have one."""
    scores = scores_of(rows)
    if scores is None:
        return None
    return _over_all(
        rows, scores, calibration_error(scores.confidence(softmax(scores.logits)), scores.hits, bins, scheme)
    )


def brier_score(rows: Rows) -> Sums | None:
    """Brier score of the model's own probabilities, over the rows that have some."""
    scores = scores_of(rows)
    if scores is None:
        return None
    return _over_all(rows, scores, Sums.mean(brier(softmax(scores.logits), scores.classes)))


def _over_all(rows: Rows, scores: Scores, found: Sums) -> Sums:
    """With a line of zeros for each row that it does not concern, so that it pairs with other metrics."""
    whole = np.zeros((len(rows), found.rows.shape[1]))
    whole[scores.index] = found.rows
    return Sums(whole, found.of)


def as_figures(bins: Sequence[Bin]) -> list[dict[str, Any]]:
    """Bins ready for JSON."""
    return [{**dataclasses.asdict(one), "interval": list(one.interval)} for one in bins]
