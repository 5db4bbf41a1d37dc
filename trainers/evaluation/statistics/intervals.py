"""Confidence intervals of one metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistic import Statistic, Sums, Whole
from trainers.evaluation.statistics import checks
from trainers.evaluation.statistics.resampling import Cells, over, resample

MOST_RESAMPLES_OF_WHOLE = 1_000
"""A metric that is computed from the rows drawn takes its full time for each sample."""
LEAST_DEFINED = 0.5
LEAST_STRETCH = 1e-3
"""Where rows are so skewed that the correction of BCa has no solution, its percentile is the outermost."""
Groups = np.ndarray | Sequence[object] | None


@dataclasses.dataclass(frozen=True)
class Interval:
    """Where the value lies, with `confidence`.

    Attributes:
        method: how it was found, in a word (`wilson`, `bca`, `percentile`, `t`, `tango`, `newcombe`).
    """

    low: float
    high: float
    confidence: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of a share (Wilson 1927), through statsmodels.

    Raises:
        DataError: for no rows, or more hits than rows.
    """
    from statsmodels.stats.proportion import proportion_confint

    known_level(confidence)
    if n < 1 or not 0 <= hits <= n:
        raise DataError(f"found {hits} hits in {n} rows; expected at least one row and no more hits than rows")
    low, high = proportion_confint(hits, n, 1 - confidence, "wilson")
    return Interval(max(float(low), 0.0), min(float(high), 1.0), confidence, "wilson")


def student_t(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Interval of a mean by Student's t, through SciPy.

    Args:
        values: shape (n,), without nan.

    Raises:
        DataError: for fewer than two.
    """
    from scipy import stats

    known_level(confidence)
    checks.enough(len(values))
    mean, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0.0:
        return Interval(mean, mean, confidence, "t")
    low, high = stats.t.interval(confidence, len(values) - 1, mean, error)
    return Interval(float(low), float(high), confidence, "t")


def bootstrap(
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    method: Literal["bca", "percentile"] = "bca",
    groups: Groups = None,
    widen: bool = True,
    seed: int = 0,
) -> Interval:
    """Interval by drawing rows (or groups) again.

    `bca` corrects percentiles for bias and skewness (Efron 1987). With `widen` the percentiles are those that make the
    interval of a normal mean as wide as Student's t does (Hesterberg 2015, section 5.3): a plain bootstrap is too narrow
    by the factor sqrt((n - 1) / n) and knows no t, which matters below some 50 rows or groups.

    Raises:
        DataError: for fewer than two rows or groups, or if the metric is not defined on most samples.
    """
    return Resampled.of([statistic], num_resamples, groups, seed, method).interval(confidence, widen)


def interval_for(
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> Interval:
    """The interval that suits a metric: Wilson for shares, BCa for what is made of sums, percentiles for the rest.

    Raises:
        DataError: for fewer than two rows (one for shares), or if the metric is not defined on most samples.
    """
    if isinstance(statistic, Sums) and groups is None and statistic.is_binary:
        values = statistic.values
        counted = values[~np.isnan(values)] if values is not None else np.zeros(0)
        return wilson(int(counted.sum()), len(counted), confidence)
    if isinstance(statistic, Whole):
        num_resamples = min(num_resamples, MOST_RESAMPLES_OF_WHOLE)
    method: Literal["bca", "percentile"] = "percentile" if isinstance(statistic, Whole) else "bca"
    return bootstrap(
        statistic, confidence=confidence, num_resamples=num_resamples, method=method, groups=groups, seed=seed
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Resampled:
    """A value (or a difference of two) with what it is on bootstrap samples.

    Attributes:
        value: on all rows.
        n: rows, or groups.
        samples: sorted, without nan.
        bias, acceleration: of BCa; 0 gives percentiles.
    """

    value: float
    n: int
    samples: np.ndarray
    bias: float
    acceleration: float
    method: str

    @classmethod
    def of(
        cls,
        statistics: Sequence[Statistic],
        num_resamples: int,
        groups: Groups,
        seed: int,
        method: Literal["bca", "percentile"] = "bca",
    ) -> Resampled:
        """Of one statistic, or of the second minus the first."""
        value = _last_minus_first(np.array([[one.value] for one in statistics]))[0]
        units = statistics[0].n if groups is None else len(np.unique(np.asarray(groups)))
        sums = [one for one in statistics if isinstance(one, Sums)]
        if method == "bca" and len(sums) == len(statistics):
            checks.enough(units, what="rows" if groups is None else "groups")
            cells = Cells.of_statistics(sums, checks.by_group(sums[0].n, groups))
            drawn = _last_minus_first(cells.sample(cells.bootstrap, num_resamples, seed))
            return cls.from_samples(value, units, drawn, _without_one(cells))
        drawn = _last_minus_first(resample(statistics, num_resamples, groups=groups, seed=seed))
        return cls.from_samples(value, units, drawn, jackknife(statistics, groups) if method == "bca" else None)

    @classmethod
    def from_samples(
        cls, value: float, n: int, samples: np.ndarray, without: tuple[np.ndarray, np.ndarray] | None
    ) -> Resampled:
        """From the samples and, for BCa, the values without one row and how many rows give each."""
        defined = samples[~np.isnan(samples)]
        if np.isnan(value) or len(defined) < LEAST_DEFINED * len(samples):
            raise DataError(
                f"the metric is defined on {len(defined)} of {len(samples)} bootstrap samples; expected most: take more "
                "rows, or a metric that these rows define"
            )
        bias, acceleration = (0.0, 0.0) if without is None else _corrections(value, defined, *without)
        return cls(float(value), n, np.sort(defined), bias, acceleration, "percentile" if without is None else "bca")

    def interval(self, confidence: float, widen: bool = True) -> Interval:
        """From the samples' percentiles."""
        from scipy.special import ndtr

        known_level(confidence)
        high = _quantile(1 - (1 - confidence) / 2, self.n if widen else None)
        shifted = self.bias + np.array([-high, high])
        levels = ndtr(self.bias + shifted / np.maximum(1 - self.acceleration * shifted, LEAST_STRETCH))
        low, top = np.quantile(self.samples, levels)
        return Interval(float(low), float(top), confidence, self.method)

    def tail(self, null: float) -> float:
        """One-sided p-value of the hypothesis that it is `null` or less: 1 minus the confidence of the bound there."""
        from scipy import stats
        from scipy.special import ndtri

        num = len(self.samples)
        below = np.searchsorted(self.samples, null, "left") + np.searchsorted(self.samples, null, "right")
        level = np.clip(below / 2, 0.5, num - 0.5) / num
        shifted = ndtri(level) - self.bias
        z = shifted / np.maximum(1 + self.acceleration * shifted, LEAST_STRETCH) - self.bias
        if self.samples[0] == self.samples[-1]:
            return 0.0 if self.value > null else 1.0
        widened = z * np.sqrt((self.n - 1) / self.n)
        return float(stats.t.cdf(widened, self.n - 1))

    @property
    def error(self) -> float:
        """Standard error."""
        return float(self.samples.std())


def _quantile(level: float, n: int | None) -> float:
    from scipy import stats

    if n is None:
        return float(stats.norm.ppf(level))
    return float(np.sqrt(n / (n - 1)) * stats.t.ppf(level, n - 1))


def _last_minus_first(values: np.ndarray) -> np.ndarray:
    return values[0] if len(values) == 1 else values[1] - values[0]


def _corrections(value: float, samples: np.ndarray, without: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Bias and acceleration of BCa; ties count half, as in SciPy."""
    from scipy.special import ndtri

    below = (samples < value).mean() / 2 + (samples <= value).mean() / 2
    bias = float(ndtri(np.clip(below, 0.5 / len(samples), 1 - 0.5 / len(samples))))
    defined = ~np.isnan(without)
    without, sizes = without[defined], sizes[defined]
    apart = np.average(without, weights=sizes) - without if len(without) else without
    spread = float(sizes @ apart**2)
    # Rows that all say the same differ by rounding only; their cubes over squares would be noise.
    if spread <= 1e-24 * max(1.0, abs(value)) ** 2:
        return bias, 0.0
    return bias, float(sizes @ apart**3 / (6 * spread**1.5))


def jackknife(statistics: Sequence[Statistic], groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """The value without one row (or group), and how many rows give each."""
    codes = checks.by_group(statistics[0].n, groups)
    sums = [one for one in statistics if isinstance(one, Sums)]
    if len(sums) == len(statistics):
        return _without_one(Cells.of_statistics(sums, codes))
    every = np.arange(statistics[0].n)
    units = every if codes is None else np.arange(codes.max() + 1)
    left = [every[(every if codes is None else codes) != unit] for unit in units]
    without = np.array([[over(one, rows) for rows in left] for one in statistics])
    return _last_minus_first(without), np.ones(len(units))


def _without_one(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    parts = zip(cells.of, cells.totals(), cells.rows, strict=True)
    return _last_minus_first(np.stack([of(total - rows) for of, total, rows in parts])), cells.sizes


def known_level(confidence: float) -> None:
    """Refuse what is no confidence.

    Raises:
        ConfigError: for numbers outside of 0 to 1.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"found confidence {confidence}; expected a number between 0 and 1, such as 0.95")
