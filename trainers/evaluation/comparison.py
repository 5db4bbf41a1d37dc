"""What a comparison of models found, as plain values, and its verdicts in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

Direction = Literal["higher", "lower"]

BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"
HIGHER, LOWER = "higher", "lower"
NOT_COMPARED = "not compared"


@dataclasses.dataclass(frozen=True)
class Difference:
    """One metric of one model (the second) against another's (the first).

    Attributes:
        metric: its name.
        first, second: names of the models.
        first_value, second_value: of the metric, on the rows compared; means over runs where there are several.
        n: rows compared.
        higher_is_better: None where neither is.
        is_share: the metric lies between 0 and 1, so differences are told in points.
        interval: of `difference`, at `confidence`; None where there is none (one measurement each).
        method: how the interval was found.
        test: name of the test behind `p_value`, chosen by the metric.
        p_adjusted: the p-value corrected over all comparisons of its family.
        effect, effect_size, effect_words: name, value and size in words of the effect.
        probability_better: of the second being better, given the rows.
        margin: largest difference that does not matter; None where none was given.
        equivalence_p: of the test that the difference is smaller than the margin.
        detectable: difference that these rows show 9 times in 10.
        power: share of such comparisons that would show a difference of `margin` (or of what was observed).
        power_sentence: the same in words, with the rows that would be needed.
        runs: trainings behind the first and the second.
        seed_deviation: standard deviation between trainings, where there are several.
        column, value: the slice, where it is one.
        verdict: `better`, `worse` (`higher`, `lower` where neither is better), `equivalent within ...`,
            `no difference shown`, or `not compared`.
        note: what else must be known.
    """

    metric: str
    first: str
    second: str
    first_value: float | None
    second_value: float | None
    n: int
    higher_is_better: bool | None = True
    is_share: bool = False
    interval: tuple[float, float] | None = None
    confidence: float = 0.95
    method: str | None = None
    test: str | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    effect: str | None = None
    effect_size: float | None = None
    effect_words: str | None = None
    probability_better: float | None = None
    margin: float | None = None
    equivalence_p: float | None = None
    detectable: float | None = None
    power: float | None = None
    power_sentence: str | None = None
    runs: tuple[int, int] = (1, 1)
    seed_deviation: float | None = None
    column: str | None = None
    value: str | None = None
    verdict: str = NOT_COMPARED
    note: str | None = None

    @property
    def difference(self) -> float | None:
        """Second less first."""
        if self.first_value is None or self.second_value is None:
            return None
        return self.second_value - self.first_value

    @property
    def is_shown(self) -> bool:
        """Whether there is a difference beyond chance."""
        return self.verdict in (BETTER, WORSE, HIGHER, LOWER)

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        where = f"{self.metric} where {self.column}={self.value}" if self.column else self.metric
        if self.difference is None or self.interval is None:
            return (
                f"{where}, {self.second} against {self.first}: {self.verdict}{f' ({self.note})' if self.note else ''}"
            )
        low, high = (change(bound, self.is_share) for bound in self.interval)
        p_value = self.p_value if self.p_adjusted is None else self.p_adjusted
        return (
            f"{where}, {self.second} against {self.first}: {change(self.difference, self.is_share)} "
            f"({100 * self.confidence:.3g} % interval {low} to {high}, {self.n:,} rows, p {p_text(p_value)}): {self.verdict}"
        )

    def judged(self, p_adjusted: float | None, alpha: float) -> Difference:
        """The same with its corrected p-value and the verdict that follows."""
        return dataclasses.replace(self, p_adjusted=p_adjusted, verdict=self._verdict(p_adjusted, alpha))

    def _verdict(self, p_adjusted: float | None, alpha: float) -> str:
        if self.difference is None or p_adjusted is None:
            return NOT_COMPARED
        if p_adjusted < alpha and self.difference:
            if self.higher_is_better is None:
                return HIGHER if self.difference > 0 else LOWER
            return BETTER if (self.difference > 0) == self.higher_is_better else WORSE
        if self.margin is not None and self.equivalence_p is not None and self.equivalence_p < alpha:
            return f"equivalent within {amount(self.margin, self.is_share)}"
        return NOT_SHOWN


@dataclasses.dataclass(frozen=True)
class CostDifference:
    """What one model costs beside another: measured once each, so without an interval unless rows were timed one by one."""

    name: str
    first: str
    second: str
    first_value: float
    second_value: float
    interval: tuple[float, float] | None = None

    @property
    def ratio(self) -> float | None:
        """Second over first; `interval` is of this."""
        return self.second_value / self.first_value if self.first_value else None


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """A row on which two models gave different answers.

    Attributes:
        first_right, second_right: whether the answer is the reference; None where there is none.
    """

    first: str
    second: str
    place: str
    prompt: str | None
    reference: str | None
    first_output: str | None
    second_output: str | None
    first_right: bool | None
    second_right: bool | None


@dataclasses.dataclass(frozen=True)
class Compared:
    """One of the models.

    Attributes:
        where: what the user named.
        n: rows evaluated, of each run.
        unanswered: rows without an answer because of an error; they count as wrong.
        fingerprints: of its evaluations.
    """

    name: str
    where: list[str]
    n: list[int]
    unanswered: int
    fingerprints: list[str]

    @property
    def runs(self) -> int:
        """Trainings that stand for it."""
        return len(self.n)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All that was found.

    Attributes:
        kind: `causal_lm` or `classification`.
        n: rows compared.
        paired: whether each row was scored by all.
        correction: of p-values, over `differences` together and over `slices` together.
        headline: the metric that says it all.
        left_out: metric and why it is not compared.
        notes: what the reader must know, as sentences.
    """

    kind: str
    n: int
    paired: bool
    confidence: float
    correction: str
    headline: str
    models: list[Compared]
    differences: list[Difference]
    slices: list[Difference] = dataclasses.field(default_factory=list)
    costs: list[CostDifference] = dataclasses.field(default_factory=list)
    disagreements: list[Disagreement] = dataclasses.field(default_factory=list)
    agreement: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def of(self, metric: str, second: str | None = None, first: str | None = None) -> Difference:
        """The difference in a metric, of a pair where there are several."""
        return next(
            one
            for one in self.differences
            if one.metric == metric and second in (None, one.second) and first in (None, one.first)
        )

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names of first and second of each comparison, in order."""
        return list(dict.fromkeys((one.first, one.second) for one in self.differences))

    @property
    def sentences(self) -> list[str]:
        """The verdict on the headline metric for each pair."""
        return [one.sentence for one in self.differences if one.metric == self.headline]

    def summary(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        found = dataclasses.asdict(self)
        for name in ("differences", "slices"):
            found[name] = [
                {**dataclasses.asdict(one), "difference": one.difference, "sentence": one.sentence}
                for one in getattr(self, name)
            ]
        found["costs"] = [{**dataclasses.asdict(one), "ratio": one.ratio} for one in self.costs]
        return found | {"sentences": self.sentences}


def change(value: float, is_share: bool) -> str:
    """A difference as text: shares in points of a hundred."""
    return f"{100 * value:+.2f} points" if is_share else f"{value:+.4g}"


def amount(value: float, is_share: bool) -> str:
    """A margin as text: shares in points of a hundred."""
    return f"{100 * value:g} points" if is_share else f"{value:g}"


def p_text(value: float | None) -> str:
    """A p-value as text."""
    if value is None:
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Some of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
