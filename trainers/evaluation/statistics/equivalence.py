"""Not worse, and the same: claims that a large p-value does not make; they need a margin that would not matter."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from cluster.exceptions import ConfigError
from trainers.evaluation.statistic import Statistic
from trainers.evaluation.statistics.differences import Difference, difference
from trainers.evaluation.statistics.intervals import Interval

Verdict = Literal["shown", "refuted", "inconclusive"]


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """Whether a claim with a margin is shown.

    Attributes:
        verdict: `shown`; `refuted` where the opposite is shown; `inconclusive` where the rows tell neither.
        p_value: of the hypothesis that the claim is false, one-sided.
        interval: of second minus first. Its level is 2 * confidence - 1, as one-sided tests have it: a claim at 95 %
            is shown where the 90 % interval keeps the margin (Schuirmann 1987).
        margin: the difference that would still not matter, 0 or more.
    """

    verdict: Verdict
    p_value: float
    interval: Interval
    margin: float


def non_inferiority(
    first: Statistic,
    second: Statistic,
    margin: float,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
    **how: Any,
) -> Equivalence:
    """The claim that the second is not worse than the first by more than `margin`. A margin of 0 claims that it is better.

    Args:
        margin: in the units of the metric (0.005 is half a point of accuracy).
        how: `paired`, `num_resamples`, `groups` and `seed` of `difference`.

    Raises:
        ConfigError: for a negative margin, or a confidence that is none.
        UnpairedRows, DataError: as `difference`.
    """
    _known(margin, confidence)
    found = difference(first, second, **how)
    interval = found.interval(round(2 * confidence - 1, 12))
    p = found.tail(-margin) if higher_is_better else 1 - found.tail(margin)
    kept = interval.low > -margin if higher_is_better else interval.high < margin
    broken = interval.high < -margin if higher_is_better else interval.low > margin
    return Equivalence(_verdict(kept, broken), p, interval, margin)


def equivalence(
    first: Statistic, second: Statistic, margin: float, *, confidence: float = 0.95, **how: Any
) -> Equivalence:
    """The claim that the two differ by less than `margin` either way: two one-sided tests (TOST).

    Args:
        how: `paired`, `num_resamples`, `groups` and `seed` of `difference`.

    Raises:
        ConfigError: for a negative margin, or a confidence that is none.
        UnpairedRows, DataError: as `difference`.
    """
    _known(margin, confidence)
    found: Difference = difference(first, second, **how)
    interval = found.interval(round(2 * confidence - 1, 12))
    p = max(found.tail(-margin), 1 - found.tail(margin))
    kept = -margin < interval.low and interval.high < margin
    broken = interval.low > margin or interval.high < -margin
    return Equivalence(_verdict(kept, broken), p, interval, margin)


def _verdict(kept: bool, broken: bool) -> Verdict:
    if kept:
        return "shown"
    return "refuted" if broken else "inconclusive"


def _known(margin: float, confidence: float) -> None:
    if margin < 0:
        raise ConfigError(f"found a margin of {margin}; expected 0 or more, in the units of the metric")
    if not 0.5 < confidence < 1:
        raise ConfigError(f"found confidence {confidence}; expected a number between 0.5 and 1, such as 0.95")
