"""How far two judgements of the same things agree: a judge model with people, people with each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.statistic import Sums
from trainers.evaluation.statistics.intervals import bootstrap, wilson

Scale = Literal["nominal", "ordinal", "interval"]
MOST_CATEGORIES = 101
"""A scale of more steps is one of numbers, for which agreement by category says nothing."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Of two judgements of the same rows.

    Attributes:
        n: rows that both judged.
        raw: share of rows on which both say the same; None for judgements on different scales.
        raw_interval: of that share (Wilson).
        kappa: Cohen's, agreement beyond chance (1960); None where both say one thing throughout, as it is not defined then.
        weighted_kappa: with quadratic weights, so that near misses count less (Cohen 1968).
        weighted_kappa_interval: bootstrap over rows.
        spearman: rank correlation; None where one of them says one thing throughout.
        spearman_p: of no correlation.
    """

    n: int
    raw: float | None = None
    raw_interval: tuple[float, float] | None = None
    kappa: float | None = None
    weighted_kappa: float | None = None
    weighted_kappa_interval: tuple[float, float] | None = None
    spearman: float | None = None
    spearman_p: float | None = None

    def summary(self) -> dict[str, Any]:
        """Ready for JSON, without what is not defined."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def agreement(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    same_scale: bool = True,
    confidence: float = 0.95,
) -> Agreement:
    """Agreement of two judgements, row by row; rows that one of them left out (nan) do not count.

    Args:
        same_scale: the same numbers mean the same; else only the ranks are compared. Categories are whole numbers: what
            lies between is rounded.

    Raises:
        DataError: for judgements of different numbers of rows, or fewer than two that both judged.
    """
    if len(first) != len(second):
        raise DataError(
            f"found {len(first)} judgements on one side and {len(second)} on the other; expected one each for every row"
        )
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = ~np.isnan(one) & ~np.isnan(other)
    one, other = one[both], other[both]
    if len(one) < 2:
        raise DataError(
            f"only {len(one)} rows were judged by both; expected two at least, and some 50 for a figure of use"
        )
    spearman, p_value = _spearman(one, other)
    found = Agreement(len(one), spearman=spearman, spearman_p=p_value)
    return dataclasses.replace(found, **_by_category(one, other, confidence)) if same_scale else found


def _spearman(one: np.ndarray, other: np.ndarray) -> tuple[float | None, float | None]:
    from scipy import stats

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None, None
    found = stats.spearmanr(one, other)
    return float(found.statistic), float(found.pvalue)


def _by_category(one: np.ndarray, other: np.ndarray, confidence: float) -> dict[str, Any]:
    from sklearn.metrics import cohen_kappa_score

    first, second = np.rint(one).astype(int), np.rint(other).astype(int)
    hits = int((first == second).sum())
    share = wilson(hits, len(first), confidence)
    found: dict[str, Any] = {"raw": hits / len(first), "raw_interval": (share.low, share.high)}
    lowest, highest = min(first.min(), second.min()), max(first.max(), second.max())
    if not 0 < highest - lowest < MOST_CATEGORIES:
        return found
    scale = np.arange(lowest, highest + 1)  # steps that nobody took keep others apart
    found["kappa"] = float(cohen_kappa_score(first, second, labels=scale))
    found["weighted_kappa"] = float(cohen_kappa_score(first, second, labels=scale, weights="quadratic"))
    interval = bootstrap(
        quadratic_kappa(first, second), confidence=confidence, num_resamples=2_000, method="percentile"
    )
    return found | {"weighted_kappa_interval": (interval.low, interval.high)}


def quadratic_kappa(first: np.ndarray, second: np.ndarray) -> Sums:
    """Cohen's kappa with quadratic weights as a function of sums, so that it resamples.

    1 - E[(x - y)^2] / E[(x - y')^2] with y' drawn independently of x, which needs five sums only.
    """
    x, y = first.astype(np.float64), second.astype(np.float64)

    def of(sums: np.ndarray) -> np.ndarray:
        n, sum_x, sum_y, squares, products = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            seen = (squares - 2 * products) / n
            by_chance = squares / n - 2 * sum_x * sum_y / n**2
            return np.where(by_chance > 0, 1 - seen / by_chance, np.nan)

    return Sums(np.stack([np.ones_like(x), x, y, x**2 + y**2, x * y], axis=1), of)


def krippendorff_alpha(ratings: np.ndarray, scale: Scale = "ordinal") -> float | None:
    """Krippendorff's alpha: 1 for full agreement of any number of raters, 0 for what chance would give.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).

    Args:
        ratings: shape (rows, raters), nan where a rater left a row out.
        scale: `nominal` for categories, `ordinal` for ranks, `interval` for numbers.

    Returns:
        None where it is not defined: no row with two ratings, or the same rating throughout.
    """
    paired = ratings[(~np.isnan(ratings)).sum(axis=1) > 1]
    values = np.unique(paired[~np.isnan(paired)])
    if len(values) < 2:
        return None
    counts = np.stack([(paired == value).sum(axis=1) for value in values], axis=1).astype(np.float64)
    pairs = counts.sum(axis=1, keepdims=True) - 1
    coincidences = (counts / pairs).T @ counts - np.diag((counts / pairs).sum(axis=0))
    totals = coincidences.sum(axis=1)
    distances = _distances(values, totals, scale)
    seen = (coincidences * distances).sum()
    by_chance = (np.outer(totals, totals) * distances).sum() / (totals.sum() - 1)
    return float(1 - seen / by_chance)


def _distances(values: np.ndarray, totals: np.ndarray, scale: Scale) -> np.ndarray:
    """Squared distance of each two values, shape (values, values)."""
    if scale == "nominal":
        return 1.0 - np.eye(len(values))
    at = values if scale == "interval" else np.cumsum(totals) - totals / 2  # ranks that lie in the middle of their ties
    return np.asarray((at[:, None] - at[None, :]) ** 2)
