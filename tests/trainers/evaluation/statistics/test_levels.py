"""Tests at work: where nothing differs, at most 5 % of 2,000 data sets (and what chance adds) show a difference at 5 %."""

import numpy as np
import pytest

from trainers.evaluation.statistic import Sums
from trainers.evaluation.statistics import (
    mann_whitney,
    mcnemar,
    paired_bootstrap,
    paired_t,
    permutation,
    two_proportions,
    unpaired_bootstrap,
    welch,
    wilcoxon,
)

from .generated import labelled, macro_f1, pair_of_shares, share

NUM_DATA_SETS = 2000
LEVEL = 0.05
CHANCE = 3 * np.sqrt(LEVEL * (1 - LEVEL) / NUM_DATA_SETS)
FEW = {"num_resamples": 400}


def paired_means(generator):
    first = generator.exponential(size=40)
    return Sums.mean(first), Sums.mean(first + generator.normal(0, 0.5, 40))


def paired_grades(generator):
    row = generator.integers(1, 4, 40)
    return tuple(Sums.mean((row + generator.integers(0, 3, 40)).astype(float)) for _ in range(2))


def paired_f1(generator, n=60):
    true, given = labelled(generator, n)
    others = [np.where(generator.random(n) < 0.5, given, generator.permutation(given)) for _ in range(2)]
    return tuple(macro_f1(true, other) for other in others)


def unpaired_means(generator):
    return Sums.mean(generator.normal(0, 1, 30)), Sums.mean(generator.normal(0, 3, 60))


def unpaired_grades(generator):
    return tuple(Sums.mean(generator.integers(1, 6, n).astype(float)) for n in (30, 50))


CASES = {
    "mcnemar mid-p": (mcnemar, {}, lambda generator: pair_of_shares(generator, 60, 0.1, 0.1)),
    "mcnemar exact": (mcnemar, {"variant": "exact"}, lambda generator: pair_of_shares(generator, 60, 0.1, 0.1)),
    "mcnemar asymptotic": (
        mcnemar,
        {"variant": "asymptotic"},
        lambda generator: pair_of_shares(generator, 300, 0.1, 0.1),
    ),
    "paired t": (paired_t, {}, paired_means),
    "wilcoxon": (wilcoxon, {}, paired_grades),
    "permutation of means": (permutation, FEW, paired_means),
    "permutation of macro-F1": (permutation, FEW, paired_f1),
    "paired bootstrap": (paired_bootstrap, FEW, lambda generator: paired_f1(generator, 150)),
    "welch": (welch, {}, unpaired_means),
    "mann-whitney": (mann_whitney, {}, unpaired_grades),
    "two proportions": (two_proportions, {}, lambda generator: (share(generator, 60, 0.7), share(generator, 90, 0.7))),
    "fisher": (two_proportions, {}, lambda generator: (share(generator, 40, 0.05), share(generator, 60, 0.05))),
    "unpaired bootstrap": (unpaired_bootstrap, FEW, unpaired_means),
}


@pytest.mark.parametrize("name", CASES)
def test_false_positives_stay_within_the_level(name):
    test, how, data = CASES[name]
    generator = np.random.default_rng(7)
    found = [test(*data(generator), **how).p_value <= LEVEL for _ in range(NUM_DATA_SETS)]
    assert np.mean(found) <= LEVEL + CHANCE


def test_a_difference_that_is_there_is_seen():
    generator = np.random.default_rng(7)
    pairs = [pair_of_shares(generator, 300, 0.15, 0.05) for _ in range(200)]
    assert np.mean([mcnemar(*pair, alternative="greater").p_value < LEVEL for pair in pairs]) > 0.95
    assert np.mean([mcnemar(*pair, alternative="less").p_value < LEVEL for pair in pairs]) == 0
