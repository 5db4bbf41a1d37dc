"""How strange a row is to a classifier, and how well that tells rows from elsewhere apart.

Three scores, each greater for stranger rows:

- `max_softmax`: 1 - the highest probability (Hendrycks and Gimpel 2017, arXiv 1610.02136);
- `energy`: - log sum exp of the scores (Liu et al. 2020, arXiv 2010.03759);
- `mahalanobis`: distance of the last layer's input from the nearest class mean, under the covariance that all classes
  share (Lee et al. 2018, arXiv 1807.03888), by scikit-learn's shrunken estimate, as there may be fewer rows than needed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.confidence.calibrators import softmax

_CHUNK = 1024
CAUGHT = 0.95


def max_softmax(logits: np.ndarray) -> np.ndarray:
    """1 - the probability of the likeliest class, shape (n,)."""
    return 1.0 - softmax(logits).max(axis=1)


def energy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """-T log sum exp(logits / T), shape (n,)."""
    scaled = np.asarray(logits, np.float64) / temperature
    most = scaled.max(axis=1)
    return -temperature * (most + np.log(np.exp(scaled - most[:, None]).sum(axis=1)))


@dataclasses.dataclass(frozen=True, eq=False)
class Mahalanobis:
    """Class means and the covariance around them.

    Attributes:
        means: shape (classes, d).
        precision: inverse of the covariance, shape (d, d).
    """

    means: np.ndarray
    precision: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, classes: np.ndarray) -> Mahalanobis:
        """From features of shape (n, d) of rows with known classes, shape (n,): training rows, or rows like them.

        Raises:
            DataError: for fewer than two rows.
        """
        from sklearn.covariance import LedoitWolf

        if len(features) < 2:
            raise DataError(f"{len(features)} rows are too few for distances from class means; expected at least 2")
        found, of_row = np.unique(classes, return_inverse=True)
        means = np.stack([features[of_row == at].mean(axis=0) for at in range(len(found))]).astype(np.float64)
        around = np.asarray(features, np.float64) - means[of_row]
        return cls(means, LedoitWolf(assume_centered=True).fit(around).precision_)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Squared distance from the nearest class mean, shape (n,)."""
        found = np.empty(len(features))
        means = np.einsum("cd,de,ce->c", self.means, self.precision, self.means)
        for start in range(0, len(features), _CHUNK):
            part = np.asarray(features[start : start + _CHUNK], np.float64)
            pulled = part @ self.precision
            squares = np.einsum("nd,nd->n", pulled, part)[:, None] - 2 * pulled @ self.means.T + means
            found[start : start + _CHUNK] = squares.min(axis=1)
        return np.maximum(found, 0.0)


def detection(inside: np.ndarray, outside: np.ndarray, level: float = 0.95) -> dict[str, Any]:
    """How well a score tells rows from elsewhere apart.

    Args:
        inside: scores of the rows evaluated, shape (n,).
        outside: scores of rows from elsewhere, shape (m,).

    Returns:
        `auroc`: how often a row from elsewhere is the stranger of two, with its `interval`; `false_alarms`: share of the
        evaluated rows that are as strange as the 95 % strangest from elsewhere (FPR at 95 % TPR).
    """
    value, low, high = auroc(inside, outside, level)
    threshold = np.quantile(outside, 1 - CAUGHT)
    return {
        "auroc": value,
        "interval": [low, high],
        "false_alarms": float((inside >= threshold).mean()),
        "threshold": float(threshold),
    }


def auroc(inside: np.ndarray, outside: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """How often the greater of two scores is that of `outside` (equal ones count half), and its interval.

    The variance is DeLong's (1988); the interval is taken on the logit scale, which keeps it between 0 and 1. Where all
    pairs are in order there is no variance to go by: there each row of the smaller side counts as one success in a row.
    """
    from scipy.stats import norm, rankdata

    from trainers.evaluation.statistics.intervals import wilson

    ranks = rankdata(np.concatenate([inside, outside]))
    n, m = len(inside), len(outside)
    above = (ranks[n:] - rankdata(outside)) / n  # share of the inside that each row from outside is above of
    below = 1 - (ranks[:n] - rankdata(inside)) / m
    value = float(above.mean())
    if value in (0.0, 1.0) or min(n, m) < 2:
        bound = wilson(round(value * min(n, m)), min(n, m), level)
        return value, bound.low, bound.high
    error = np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n) / (value * (1 - value))
    wide = norm.ppf(0.5 + level / 2) * error
    odds = np.log(value / (1 - value))
    low, high = (float(1 / (1 + np.exp(-bound))) for bound in (odds - wide, odds + wide))
    return value, low, high
