"""How probable it is that one model is better, given the rows: a posterior in place of a p-value.

Shares have Beta and Dirichlet posteriors under Jeffreys' prior; every other metric that is made of sums the Bayesian
bootstrap (Rubin 1981), which gives rows random weights; for a mean of many rows that is Student's t posterior. Metrics that
need the rows themselves use bootstrap samples, which are close to it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from trainers.evaluation.statistic import Statistic, Sums
from trainers.evaluation.statistics import checks
from trainers.evaluation.statistics.intervals import MOST_RESAMPLES_OF_WHOLE, Groups
from trainers.evaluation.statistics.resampling import Cells, resample

PRIOR = 0.5
"""Jeffreys' prior: half a row for each outcome."""


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Probabilities that sum to 1.

    Attributes:
        worse, same, better: of the second against the first; `same` is that they differ by no more than the margin
            (the region of practical equivalence; Benavoli and others 2017).
    """

    worse: float
    same: float
    better: float


def probability_better(
    first: Statistic,
    second: Statistic,
    *,
    paired: bool = True,
    higher_is_better: bool = True,
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> float:
    """Probability that the second is truly better. A tie counts half (two models that never differ: 0.5).

    Raises:
        UnpairedRows, DataError: for different rows that should be the same, or fewer than two.
    """
    drawn = posterior_differences(first, second, paired=paired, num_resamples=num_resamples, groups=groups, seed=seed)
    higher = float((drawn > 0).mean() + (drawn == 0).mean() / 2)
    return higher if higher_is_better else 1 - higher


def posterior(
    first: Statistic,
    second: Statistic,
    margin: float = 0.0,
    *,
    paired: bool = True,
    higher_is_better: bool = True,
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> Posterior:
    """Probabilities that the second is worse by more than the margin, the same within it, and better by more than it.

    Raises:
        UnpairedRows, DataError: for different rows that should be the same, or fewer than two.
    """
    drawn = posterior_differences(first, second, paired=paired, num_resamples=num_resamples, groups=groups, seed=seed)
    low, high = float((drawn < -margin).mean()), float((drawn > margin).mean())
    worse, better = (low, high) if higher_is_better else (high, low)
    return Posterior(worse, 1 - worse - better, better)


def posterior_differences(
    first: Statistic,
    second: Statistic,
    *,
    paired: bool = True,
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> np.ndarray:
    """Draws of second minus first from its posterior, shape (m,), those that are not defined left out.

    Raises:
        UnpairedRows, DataError: for different rows that should be the same, or fewer than two.
    """
    if paired:
        checks.same_rows(first, second)
    checks.enough(min(first.n, second.n))
    shares = checks.is_share(first) and checks.is_share(second) and groups is None
    if shares:
        return _of_shares(first, second, paired, num_resamples, seed)
    one, other = _weighted(first, second, paired=paired, num=num_resamples, groups=groups, seed=seed)
    drawn = other - one
    return drawn[~np.isnan(drawn)]


def _of_shares(first: Statistic, second: Statistic, paired: bool, num: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if paired:
        one, other = checks.both_shares(first, second, "the posterior of two shares")
        gained, lost = int((other > one).sum()), int((one > other).sum())
        drawn = generator.dirichlet((gained + PRIOR, lost + PRIOR, len(one) - gained - lost + PRIOR), num)
        return drawn[:, 0] - drawn[:, 1]
    sides = [checks.share_values(side, "the posterior of two shares") for side in (first, second)]
    one, other = (generator.beta(side.sum() + PRIOR, (1 - side).sum() + PRIOR, num) for side in sides)
    return other - one


def _weighted(
    first: Statistic, second: Statistic, *, paired: bool, num: int, groups: Groups, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both over rows with random weights: the same weights where the rows are the same."""
    if not (isinstance(first, Sums) and isinstance(second, Sums)):
        num = min(num, MOST_RESAMPLES_OF_WHOLE)
        if paired:
            drawn = resample([first, second], num, groups=groups, seed=seed)
            return drawn[0], drawn[1]
        return resample([first], num, seed=seed)[0], resample([second], num, seed=seed + 1)[0]
    if paired:
        cells = Cells.of_statistics([first, second], checks.by_group(first.n, groups))
        drawn = cells.sample(cells.bayesian, num, seed)
        return drawn[0], drawn[1]
    apart = [Cells.of_statistics([side]) for side in (first, second)]
    one, other = (cells.sample(cells.bayesian, num, seed + offset)[0] for offset, cells in enumerate(apart))
    return one, other
