"""The numbers behind one difference: interval, test, effect, probability, equivalence and power of one metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config.compare import CompareConfig
from trainers.evaluation.comparison import Difference
from trainers.evaluation.statistic import Statistic, Sums, Whole

if TYPE_CHECKING:
    from trainers.evaluation.statistics.seeds import SeedEffect

HALVINGS = 16
USUAL_POINTS, USUAL_PART = 0.01, 0.02
"""What power is told for where no margin is given: one point of a share, or this part of the value."""


@dataclasses.dataclass(frozen=True)
class FoundOn:
    """What the two models have in common.

    Attributes:
        same_rows: every run of both was scored on the same rows.
        same_seeds: run i of both was trained with the same seed.
    """

    same_rows: bool = True
    same_seeds: bool = False


def between(
    first: Sequence[Statistic], second: Sequence[Statistic], blank: Difference, found_on: FoundOn, config: CompareConfig
) -> Difference:
    """Fill in a difference whose names and values are known.

    Args:
        first, second: the metric of each run of the two models.

    Raises:
        UserError: for too few rows, or a metric that most samples of them do not define.
    """
    if len(first) > 1 or len(second) > 1:
        return _over_runs(first, second, blank, found_on, config)
    return _of_one_run(first[0], second[0], blank, found_on.same_rows, config)


def _of_one_run(
    first: Statistic, second: Statistic, blank: Difference, paired: bool, config: CompareConfig
) -> Difference:
    from trainers.evaluation.statistics.bayes import probability_better
    from trainers.evaluation.statistics.differences import difference
    from trainers.evaluation.statistics.effects import effect_size
    from trainers.evaluation.statistics.tests import choose_test

    drawing: dict[str, Any] = {"num_resamples": config.num_resamples, "seed": config.seed}
    found = difference(first, second, paired=paired, **drawing)
    interval = found.interval(blank.confidence)
    low, high = interval.low, interval.high
    if low == high and blank.is_share:  # no row differs: drawing them again cannot tell how many elsewhere would
        reach = 1 - (1 - blank.confidence) ** (1 / found.n)
        low, high = low - reach, high + reach
    test = choose_test(first, second, paired, **drawing)(first, second)
    effect = effect_size(first, second, paired)
    higher = blank.higher_is_better is not False
    margin = blank.margin
    equivalence_p = max(found.tail(-margin), 1 - found.tail(margin)) if margin else None
    return _with_power(
        dataclasses.replace(
            blank,
            interval=(low, high),
            method=interval.method,
            test=test.name,
            p_value=test.p_value,
            effect=effect.name,
            effect_size=effect.value,
            effect_words=effect.words,
            probability_better=probability_better(first, second, paired=paired, higher_is_better=higher, **drawing),
            equivalence_p=equivalence_p,
            note=test.note or None,
        ),
        found.n,
        found.error,
    )


def _with_power(found: Difference, n: int, error: float) -> Difference:
    """The difference with how often as many rows would show one of the margin, or of a usual size."""
    from trainers.evaluation.statistics.power import power_for

    usual = USUAL_POINTS if found.is_share else USUAL_PART * abs(found.first_value or 0.0)
    margin = found.margin or usual
    if not margin > 0 or not math.isfinite(error):
        return found
    words = {True: "drop", False: "rise", None: "difference"}[found.higher_is_better]
    if error == 0 and found.is_share:
        error = math.sqrt(1 / (n + 2) / n)  # as if one more row had differed
    power = power_for(n, error, margin, confidence=found.confidence, in_points=found.is_share, change=words)
    return dataclasses.replace(found, power=power.power, detectable=power.detectable, power_sentence=power.sentence)


def log_ratio_interval(
    first: Statistic, second: Statistic, paired: bool, config: CompareConfig, confidence: float
) -> tuple[float, float]:
    """Interval of the ratio of two positive metrics, second over first, by the bootstrap of its logarithm."""
    from trainers.evaluation.statistics.differences import difference_interval

    found = difference_interval(
        logarithm(first),
        logarithm(second),
        confidence=confidence,
        num_resamples=config.num_resamples,
        seed=config.seed,
        paired=paired,
    )
    return math.exp(found.low), math.exp(found.high)


def logarithm(statistic: Statistic) -> Statistic:
    """The logarithm of a positive metric; nan where it is not positive."""

    def log(values: Any) -> Any:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(np.asarray(values) > 0, np.log(values), np.nan)

    if isinstance(statistic, Sums):
        return dataclasses.replace(statistic, of=lambda sums: log(statistic.of(sums)))
    return Whole(statistic.n, lambda drawn: float(log(statistic.of(drawn))))


def _over_runs(
    first: Sequence[Statistic], second: Sequence[Statistic], blank: Difference, found_on: FoundOn, config: CompareConfig
) -> Difference:
    """Of several trainings each: runs and rows as crossed random effects, so that it is a difference of methods."""
    from scipy import stats

    from trainers.evaluation.statistics.seeds import over_seeds

    def over(confidence: float) -> SeedEffect:
        sides: Any = (first, second)
        if not found_on.same_rows:
            sides = [[one.value for one in side] for side in (first, second)]
        return over_seeds(*sides, paired=found_on.same_seeds, confidence=confidence)

    found = over(blank.confidence)
    interval = found.interval
    error = (interval.high - interval.low) / 2 / float(stats.norm.ppf((1 + blank.confidence) / 2))
    higher = (found.difference > 0) == (blank.higher_is_better is not False)
    filled = dataclasses.replace(
        blank,
        interval=(interval.low, interval.high),
        method=interval.method,
        test="crossed random effects",
        p_value=found.p_value,
        effect="difference over the deviation between seeds" if found.between_seeds else None,
        effect_size=found.difference / found.between_seeds if found.between_seeds else None,
        probability_better=1 - found.p_value / 2 if higher else found.p_value / 2,
        equivalence_p=_smallest_level(over, blank.margin) if blank.margin else None,
        seed_deviation=found.between_seeds,
        note=found.sentence,
    )
    # How many rows would do is not told: more rows do not make up for few trainings
    return dataclasses.replace(_with_power(filled, blank.n, error), power_sentence=None)


def _smallest_level(over: Callable[[float], SeedEffect], margin: float) -> float:
    """P-value of two one-sided tests of a difference within the margin, by halving: the smallest level whose interval keeps it."""
    low, high = 0.0, 0.5
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        interval = over(1 - 2 * middle).interval
        low, high = (low, middle) if -margin < interval.low and interval.high < margin else (middle, high)
    return high
