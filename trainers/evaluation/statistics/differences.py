"""The difference of two models, second minus first: its interval, its error and how far it is from any number.

Intervals, non-inferiority, equivalence and power all ask the same `Difference`, so that they never contradict each other.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol

import numpy as np

from trainers.evaluation.statistic import Statistic, Whole
from trainers.evaluation.statistics import checks
from trainers.evaluation.statistics.intervals import (
    MOST_RESAMPLES_OF_WHOLE,
    Groups,
    Interval,
    Resampled,
    jackknife,
    known_level,
)
from trainers.evaluation.statistics.resampling import resample

FAR = 1e4
"""Standard errors, farther than any difference is."""


class Difference(Protocol):
    """What is known of second minus first."""

    @property
    def value(self) -> float:
        """The difference found."""

    @property
    def n(self) -> int:
        """Rows (pairs, groups); of different rows, those of the smaller side."""

    @property
    def error(self) -> float:
        """Its standard error."""

    def interval(self, confidence: float) -> Interval:
        """Where it lies."""

    def tail(self, null: float) -> float:
        """One-sided p-value of the hypothesis that it is `null` or less."""


def difference(
    first: Statistic,
    second: Statistic,
    *,
    paired: bool = True,
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> Difference:
    """The difference by the method that suits a metric.

    Shares on the same rows: the score interval of Tango (1998), which is right where few or no rows differ and agrees
    with McNemar's test; on different rows: the interval of Newcombe (1998), made of two of Wilson's. All else: BCa bootstrap
    (percentiles for metrics that need the rows themselves).

    Raises:
        UnpairedRows, DataError: for different rows that should be the same, too few, or a metric that they do not define.
    """
    if isinstance(first, Whole) or isinstance(second, Whole):
        num_resamples = min(num_resamples, MOST_RESAMPLES_OF_WHOLE)
    shares = checks.is_share(first) and checks.is_share(second) and groups is None
    if not paired:
        return _unpaired_shares(first, second) if shares else _unpaired_resampled(first, second, num_resamples, seed)
    checks.same_rows(first, second)
    if shares and _count_the_same(first, second):
        one, other = checks.both_shares(first, second, "Tango's interval")
        return PairedShares(int((other > one).sum()), int((one > other).sum()), len(one))
    method: Literal["bca", "percentile"] = (
        "percentile" if isinstance(first, Whole) or isinstance(second, Whole) else "bca"
    )
    return Resampled.of([first, second], num_resamples, groups, seed, method)


def difference_interval(
    first: Statistic,
    second: Statistic,
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
    paired: bool = True,
) -> Interval:
    """Interval of second minus first; see `difference`.

    Raises:
        UnpairedRows, DataError: for different rows that should be the same, too few, or a metric that they do not define.
    """
    known_level(confidence)
    found = difference(first, second, paired=paired, num_resamples=num_resamples, groups=groups, seed=seed)
    return found.interval(confidence)


@dataclasses.dataclass(frozen=True)
class PairedShares:
    """Two shares on the same rows (Tango 1998).

    Attributes:
        gained: rows on which only the second is right.
        lost: rows on which only the first is.
        n: all rows.
    """

    gained: int
    lost: int
    n: int

    @property
    def value(self) -> float:
        return (self.gained - self.lost) / self.n

    @property
    def error(self) -> float:
        return float(np.sqrt(max((self.gained + self.lost) / self.n - self.value**2, 0.0) / self.n))

    def score(self, null: float) -> float:
        """Standard errors, as they would be if the difference were `null`, between what was found and that."""
        linear = (2 * self.n - self.gained + self.lost) * null - self.gained - self.lost
        root = np.sqrt(max(linear**2 + 8 * self.n * self.lost * null * (1 - null), 0.0))
        lost = (root - linear) / (4 * self.n)
        variance = self.n * (2 * lost + null * (1 - null))
        apart = self.gained - self.lost - self.n * null
        if variance <= 0:
            return 0.0 if apart == 0 else float(np.copysign(np.inf, apart))
        return float(apart / np.sqrt(variance))

    def interval(self, confidence: float) -> Interval:
        from scipy import stats
        from scipy.optimize import brentq

        z = float(stats.norm.ppf((1 + confidence) / 2))
        edge = 1 - 1e-12
        low = -1.0 if self.lost == self.n else brentq(lambda null: self.score(null) - z, -edge, min(self.value, edge))
        high = 1.0 if self.gained == self.n else brentq(lambda null: self.score(null) + z, max(self.value, -edge), edge)
        return Interval(float(low), float(high), confidence, "tango")

    def tail(self, null: float) -> float:
        from scipy.special import ndtr

        if not -1 < null < 1:
            return float(null >= 1)
        return float(ndtr(-self.score(null)))


@dataclasses.dataclass(frozen=True)
class UnpairedShares:
    """Two shares on different rows (Newcombe 1998, method 10).

    Attributes:
        hits, sizes: of the first and of the second.
    """

    hits: tuple[int, int]
    sizes: tuple[int, int]

    @property
    def value(self) -> float:
        return self.hits[1] / self.sizes[1] - self.hits[0] / self.sizes[0]

    @property
    def n(self) -> int:
        return min(self.sizes)

    @property
    def error(self) -> float:
        shares = [hits / size for hits, size in zip(self.hits, self.sizes, strict=True)]
        return float(np.sqrt(sum(p * (1 - p) / size for p, size in zip(shares, self.sizes, strict=True))))

    def interval(self, confidence: float) -> Interval:
        from scipy import stats

        z = float(stats.norm.ppf((1 + confidence) / 2))
        return Interval(self.bound(-z), self.bound(z), confidence, "newcombe")

    def bound(self, z: float) -> float:
        """The lower bound that `z` standard errors give where `z` is negative, the upper one where it is positive."""
        first, second = (hits / size for hits, size in zip(self.hits, self.sizes, strict=True))
        apart = _wilson_bound(second, self.sizes[1], z) - second, first - _wilson_bound(first, self.sizes[0], -z)
        return self.value + float(np.sign(z) * np.hypot(*apart))

    def tail(self, null: float) -> float:
        from scipy.optimize import brentq
        from scipy.special import ndtr

        if not self.bound(-FAR) < null < self.bound(FAR):
            return float(null > self.value)
        return float(ndtr(brentq(lambda z: self.bound(z) - null, -FAR, FAR)))


def _wilson_bound(share: float, n: int, z: float) -> float:
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float((centre + half) / (1 + z**2 / n))


def _unpaired_shares(first: Statistic, second: Statistic) -> Difference:
    values = [checks.share_values(one, "the difference of two shares") for one in (first, second)]
    hits, sizes = [int(one.sum()) for one in values], [len(one) for one in values]
    return UnpairedShares((hits[0], hits[1]), (sizes[0], sizes[1]))


def _unpaired_resampled(first: Statistic, second: Statistic, num_resamples: int, seed: int) -> Difference:
    """Samples of each side's own rows; the acceleration is that of two samples (Davison and Hinkley 1997, 5.3)."""
    sides = (first, second)
    seeds = np.random.SeedSequence(seed).generate_state(2)
    drawn = [resample([side], num_resamples, seed=int(one))[0] for side, one in zip(sides, seeds, strict=True)]
    value, n = second.value - first.value, min(first.n, second.n)
    if isinstance(first, Whole) or isinstance(second, Whole):
        return Resampled.from_samples(value, n, drawn[1] - drawn[0], None)
    (one, one_sizes), (other, other_sizes) = jackknife([first], None), jackknife([second], None)
    without = np.concatenate([np.average(one, weights=one_sizes) - one, other - np.average(other, weights=other_sizes)])
    return Resampled.from_samples(value, n, drawn[1] - drawn[0], (without, np.concatenate([one_sizes, other_sizes])))


def _count_the_same(first: Statistic, second: Statistic) -> bool:
    one, other = checks.row_values(first, "a difference"), checks.row_values(second, "a difference")
    return bool((np.isnan(one) == np.isnan(other)).all())
