"""What figures look like before anything is concluded from them, and whether two go together; through SciPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.statistics import checks
from trainers.evaluation.statistics.intervals import Interval, known_level

STRENGTHS = ("negligible", "small", "medium", "large")
CORRELATIONS = (0.1, 0.3, 0.5)
"""Cohen 1988."""
ROUNDING = 1e-9
LEAST_PAIRS = 4
"""Fisher's interval divides by n - 3."""


@dataclasses.dataclass(frozen=True)
class Description:
    """A sample in numbers; `sd` and `error` are nan for a single value, `skewness` and `kurtosis` where nothing varies.

    Attributes:
        n: values that are numbers.
        error: standard error of the mean.
        kurtosis: in excess of a normal distribution.
    """

    n: int
    mean: float
    median: float
    sd: float
    error: float
    low: float
    first_quartile: float
    third_quartile: float
    high: float
    skewness: float
    kurtosis: float


@dataclasses.dataclass(frozen=True)
class Correlation:
    """How two figures go together.

    Attributes:
        kind: `pearson`, `spearman` or `kendall`.
        value: -1 to 1.
        interval: Fisher's, with the errors of Bonett and Wright (2000) for ranks.
        p_value: of no correlation.
        n: pairs.
        words: `negligible`, `small`, `medium` or `large` (Cohen 1988), with its direction.
    """

    kind: str
    value: float
    interval: Interval
    p_value: float
    n: int
    words: str


def describe(values: Sequence[float] | np.ndarray) -> Description:
    """Mean, median, spread and shape of scores over runs, seeds or rows; nan are left out.

    Raises:
        DataError: if no value is left.
    """
    from scipy import stats

    given = np.asarray(values, np.float64).reshape(-1)
    given = given[~np.isnan(given)]
    if not len(given):
        raise DataError("found no values to describe; expected at least one")
    several, varies = len(given) > 1, float(np.ptp(given)) > ROUNDING * float(np.abs(given).max())
    sd = float(given.std(ddof=1)) if several else math.nan
    low, first, median, third, high = (float(one) for one in np.quantile(given, (0, 0.25, 0.5, 0.75, 1)))
    return Description(
        n=len(given),
        mean=float(given.mean()),
        median=median,
        sd=sd,
        error=sd / math.sqrt(len(given)),
        low=low,
        first_quartile=first,
        third_quartile=third,
        high=high,
        skewness=float(stats.skew(given)) if varies else math.nan,
        kurtosis=float(stats.kurtosis(given)) if varies else math.nan,
    )


def correlation(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    kind: Literal["pearson", "spearman", "kendall"] = "spearman",
    confidence: float = 0.95,
) -> Correlation:
    """Whether two figures go together, such as amount of data and accuracy, or a judge's score and people's.

    Args:
        kind: `pearson` for straight lines; `spearman` and `kendall` for any rising or falling course.

    Raises:
        UnpairedRows: for different lengths.
        DataError: for fewer than four pairs of numbers, or where one of them does not vary.
    """
    from scipy import stats

    known_level(confidence)
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise checks.UnpairedRows(f"a correlation needs pairs; found {one.shape} and {other.shape} values")
    both = ~(np.isnan(one) | np.isnan(other))
    one, other = one[both], other[both]
    checks.enough(len(one), LEAST_PAIRS, "pairs")
    if not (np.ptp(one) and np.ptp(other)):
        raise DataError("found a figure that is the same in every pair; expected both to vary")
    test = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    value, p = (float(found) for found in test(one, other))
    size = STRENGTHS[int(np.searchsorted(CORRELATIONS, abs(value), "right"))]
    course = "rising together" if value > 0 else "one falls as the other rises"
    words = size if size == STRENGTHS[0] else f"{size}, {course}"
    return Correlation(kind, value, _fisher(kind, value, len(one), confidence), p, len(one), words)


def _fisher(kind: str, value: float, n: int, confidence: float) -> Interval:
    from scipy import stats

    if abs(value) >= 1:
        return Interval(value, value, confidence, "fisher")
    variance = {
        "pearson": 1 / (n - 3),
        "spearman": (1 + value**2 / 2) / (n - 3),
        "kendall": 0.437 / max(n - 4, 1),
    }[kind]
    half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)
    centre = math.atanh(value)
    return Interval(math.tanh(centre - half), math.tanh(centre + half), confidence, "fisher")
