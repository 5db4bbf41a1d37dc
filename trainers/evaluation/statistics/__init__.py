"""Intervals, tests, effect sizes, power and the rest: pure functions over numbers, without a model or a cluster."""

from trainers.evaluation.statistics.bayes import Posterior, posterior, probability_better
from trainers.evaluation.statistics.checks import UnpairedRows, pair_rows
from trainers.evaluation.statistics.correction import benjamini_hochberg, holm
from trainers.evaluation.statistics.descriptive import Correlation, Description, correlation, describe
from trainers.evaluation.statistics.differences import Difference, difference, difference_interval
from trainers.evaluation.statistics.effects import (
    Effect,
    cliffs_delta,
    cohens_d,
    cohens_dz,
    cohens_h,
    effect_size,
    odds_ratio,
    risk_difference,
)
from trainers.evaluation.statistics.equivalence import Equivalence, equivalence, non_inferiority
from trainers.evaluation.statistics.intervals import Interval, bootstrap, interval_for, student_t, wilson
from trainers.evaluation.statistics.power import Power, power_of, power_of_share
from trainers.evaluation.statistics.resampling import resample
from trainers.evaluation.statistics.seeds import SeedEffect, over_seeds
from trainers.evaluation.statistics.sequential import (
    BoundedSequence,
    ConfidenceSequence,
    MeanSequence,
    SequentialResult,
    SequentialTest,
    ShareSequence,
)
from trainers.evaluation.statistics.simulation import Simulation, simulate_scores, simulate_strategies
from trainers.evaluation.statistics.tests import (
    TestResult,
    choose_test,
    mann_whitney,
    mcnemar,
    one_sample,
    paired_bootstrap,
    paired_t,
    permutation,
    two_proportions,
    unpaired_bootstrap,
    welch,
    wilcoxon,
)

__all__ = [
    "BoundedSequence",
    "ConfidenceSequence",
    "Correlation",
    "Description",
    "Difference",
    "Effect",
    "Equivalence",
    "Interval",
    "MeanSequence",
    "Posterior",
    "Power",
    "SeedEffect",
    "SequentialResult",
    "SequentialTest",
    "ShareSequence",
    "Simulation",
    "TestResult",
    "UnpairedRows",
    "benjamini_hochberg",
    "bootstrap",
    "choose_test",
    "cliffs_delta",
    "cohens_d",
    "cohens_dz",
    "cohens_h",
    "correlation",
    "describe",
    "difference",
    "difference_interval",
    "effect_size",
    "equivalence",
    "holm",
    "interval_for",
    "mann_whitney",
    "mcnemar",
    "non_inferiority",
    "odds_ratio",
    "one_sample",
    "over_seeds",
    "pair_rows",
    "paired_bootstrap",
    "paired_t",
    "permutation",
    "posterior",
    "power_of",
    "power_of_share",
    "probability_better",
    "resample",
    "risk_difference",
    "simulate_scores",
    "simulate_strategies",
    "student_t",
    "two_proportions",
    "unpaired_bootstrap",
    "welch",
    "wilcoxon",
    "wilson",
]
