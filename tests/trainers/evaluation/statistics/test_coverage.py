"""Intervals at work: of 2,000 generated data sets, 93 to 97 % of the 95 % intervals hold the truth."""

import numpy as np
import pytest

from trainers.evaluation.statistic import Sums
from trainers.evaluation.statistics import difference_interval, interval_for

from .generated import CONFUSIONS, labelled, macro_f1, macro_f1_truth, pair_of_shares, share

NUM_DATA_SETS = 2000
DRAWING = {"num_resamples": 500}


def coverage(interval, truth):
    """Share of data sets whose interval holds the truth; `interval` takes a generator and a seed."""
    generator = np.random.default_rng(20)
    return np.mean([truth in interval(generator, seed) for seed in range(NUM_DATA_SETS)])


def mean_of(draw):
    return lambda generator, seed: interval_for(Sums.mean(draw(generator)), seed=seed, **DRAWING)


def f1_of_120(generator, seed):
    return interval_for(macro_f1(*labelled(generator, 120)), seed=seed, **DRAWING)


def forty_groups(generator, seed):
    groups = np.repeat(np.arange(40), generator.integers(1, 5, 40))
    hits = generator.normal(size=40)[groups] + generator.normal(size=len(groups)) > 0
    return interval_for(Sums.mean(hits.astype(float)), groups=groups, seed=seed, **DRAWING)


def paired_means(generator, seed):
    first = generator.exponential(size=100)
    second = 0.8 * first + 0.3 * generator.exponential(size=100)
    return difference_interval(Sums.mean(first), Sums.mean(second), seed=seed, **DRAWING)


SECOND = 0.5 * CONFUSIONS + 0.5 * (0.7 * np.eye(4) + 0.3 / 4) * CONFUSIONS.sum(1, keepdims=True)
"""Confusions of a second model, which half of the time gives the first one's label."""


def paired_f1(generator, seed):
    true, given = labelled(generator, 120)
    other = np.where(generator.random(120) < 0.7, true, generator.integers(0, 4, 120))
    other = np.where(generator.random(120) < 0.5, given, other)
    return difference_interval(macro_f1(true, given), macro_f1(true, other), seed=seed, **DRAWING)


def unpaired_means(generator, seed):
    first, second = Sums.mean(generator.exponential(size=60)), Sums.mean(generator.normal(1, 1, 80))
    return difference_interval(first, second, paired=False, seed=seed, **DRAWING)


CASES = {
    "share": (lambda generator, _: interval_for(share(generator, 150, 0.8)), 0.8),
    "normal, 30 rows": (mean_of(lambda generator: generator.normal(size=30)), 0.0),
    "skewed, 100 rows": (mean_of(lambda generator: generator.exponential(size=100)), 1.0),
    "macro-F1": (f1_of_120, macro_f1_truth(CONFUSIONS)),
    "groups": (forty_groups, 0.5),
    "paired shares": (lambda generator, _: difference_interval(*pair_of_shares(generator, 150, 0.08, 0.04)), 0.04),
    "unpaired shares": (
        lambda generator, _: difference_interval(share(generator, 90, 0.7), share(generator, 120, 0.8), paired=False),
        0.1,
    ),
    "paired means": (paired_means, 0.1),
    "paired macro-F1": (paired_f1, macro_f1_truth(SECOND) - macro_f1_truth(CONFUSIONS)),
    "unpaired means": (unpaired_means, 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_intervals_at_95_percent_hold_the_truth_in_93_to_97_percent(name):
    assert 0.93 <= coverage(*CASES[name]) <= 0.97
