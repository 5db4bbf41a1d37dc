"""How large a difference is, apart from whether chance explains it; in words by the usual thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from trainers.evaluation.statistic import Statistic
from trainers.evaluation.statistics import checks

SIZES = ("negligible", "small", "medium", "large")
STANDARDISED = (0.2, 0.5, 0.8)
"""Cohen 1988, for d, dz and h."""
DOMINANCE = (0.147, 0.33, 0.474)
"""Romano and others 2006, for Cliff's delta."""
LOG_ODDS = tuple(np.log((1.68, 3.47, 6.71)))
"""Chen, Cohen and Chen 2010, for the odds ratio."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """The size of a difference, second against first.

    Attributes:
        name: `Cohen's d`, `Cliff's delta`, ...
        value: positive (odds ratios: above 1) where the second is higher.
        words: `negligible`, `small`, `medium` or `large`; for metrics without such thresholds, `no scale`.
    """

    name: str
    value: float
    words: str


def effect_size(first: Statistic, second: Statistic, paired: bool) -> Effect:
    """The effect size that suits a metric: Cohen's h for shares, dz (same rows) or d for means, else the difference itself.

    Raises:
        UnpairedRows, DataError: for different rows that should be the same, or fewer than two.
    """
    if paired:
        checks.same_rows(first, second)
    checks.enough(min(first.n, second.n))
    if checks.is_share(first) and checks.is_share(second):
        return cohens_h(first, second)
    if checks.is_plain_mean(first) and checks.is_plain_mean(second):
        return cohens_dz(first, second) if paired else cohens_d(first, second)
    return Effect("difference", second.value - first.value, "no scale")


def cohens_d(first: Statistic, second: Statistic) -> Effect:
    """Difference of two means in pooled standard deviations.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for a metric that is no mean of row values.
    """
    one, other = checks.counted_values(first, "Cohen's d"), checks.counted_values(second, "Cohen's d")
    freedom = len(one) + len(other) - 2
    pooled = ((len(one) - 1) * one.var(ddof=1) + (len(other) - 1) * other.var(ddof=1)) / freedom
    return _scaled("Cohen's d", _over(other.mean() - one.mean(), np.sqrt(pooled)), STANDARDISED)


def cohens_dz(first: Statistic, second: Statistic) -> Effect:
    """Mean difference of the same rows in standard deviations of that difference.

    Raises:
        UnpairedRows, DataError: for different or too few rows.
        ConfigError: for a metric that is no mean of row values.
    """
    one, other = checks.both_values(first, second, "Cohen's dz")
    apart = other - one
    return _scaled("Cohen's dz", _over(apart.mean(), apart.std(ddof=1)), STANDARDISED)


def cohens_h(first: Statistic, second: Statistic) -> Effect:
    """Difference of two shares on the arcsine scale, through statsmodels.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for metrics that are no shares.
    """
    from statsmodels.stats.proportion import proportion_effectsize

    one, other = checks.share_values(first, "Cohen's h"), checks.share_values(second, "Cohen's h")
    return _scaled("Cohen's h", float(proportion_effectsize(other.mean(), one.mean())), STANDARDISED)


def cliffs_delta(first: Statistic, second: Statistic) -> Effect:
    """How much oftener a row of the second beats one of the first than the other way round (Cliff 1993), -1 to 1.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for a metric that is no mean of row values.
    """
    one = np.sort(checks.counted_values(first, "Cliff's delta"))
    other = checks.counted_values(second, "Cliff's delta")
    wins = np.searchsorted(one, other, "left").sum()
    losses = (len(one) - np.searchsorted(one, other, "right")).sum()
    return _scaled("Cliff's delta", float((wins - losses) / (len(one) * len(other))), DOMINANCE)


def risk_difference(first: Statistic, second: Statistic) -> Effect:
    """Difference of two shares, as it is; in the words of Cohen's h.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for metrics that are no shares.
    """
    one, other = checks.share_values(first, "the risk difference"), checks.share_values(second, "the risk difference")
    return Effect("risk difference", float(other.mean() - one.mean()), cohens_h(first, second).words)


def odds_ratio(first: Statistic, second: Statistic, paired: bool) -> Effect:
    """Odds of the second to be right over those of the first; of the same rows, of the second alone over the first alone.

    Half a row is added to each count where one of them is 0 (Haldane 1956).

    Raises:
        UnpairedRows, DataError: for different or too few rows.
        ConfigError: for metrics that are no shares.
    """
    if paired:
        one, other = checks.both_shares(first, second, "the odds ratio")
        up, down = float(((one == 0) & (other == 1)).sum()), float(((one == 1) & (other == 0)).sum())
        counts = np.array([up, down])
        up, down = counts + 0.5 * (counts == 0).any()
        value = float(up / down)
    else:
        one, other = checks.share_values(first, "the odds ratio"), checks.share_values(second, "the odds ratio")
        table = np.array([other.sum(), (1 - one).sum(), (1 - other).sum(), one.sum()])
        table = table + 0.5 * (table == 0).any()
        value = float(table[0] * table[1] / (table[2] * table[3]))
    return Effect("odds ratio", value, _words(float(np.log(value)), LOG_ODDS))


def _over(difference: float, spread: float) -> float:
    """The difference in units of spread; infinite where nothing spreads, unless nothing differs."""
    if spread > 0:
        return float(difference / spread)
    return 0.0 if difference == 0 else float(np.copysign(np.inf, difference))


def _scaled(name: str, value: float, thresholds: Sequence[float]) -> Effect:
    return Effect(name, value, _words(value, thresholds))


def _words(value: float, thresholds: Sequence[float]) -> str:
    return SIZES[int(np.searchsorted(thresholds, abs(value), "right"))]
