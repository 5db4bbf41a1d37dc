"""Decides whether a model may take the place of another: facts in, a decision out. Whoever promotes carries it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from cluster.config.gate import (
    AtLeast,
    AtLeastRatio,
    AtMost,
    AtMostRatio,
    Better,
    Clause,
    GateConfig,
    Judge,
    NotWorse,
    Slices,
)
from cluster.exceptions import ConfigError
from trainers.evaluation.comparison import CostDifference, Difference, amount, change, p_text

Verdict = Literal["pass", "fail", "inconclusive", "skipped"]
PASS: Verdict = "pass"
FAIL: Verdict = "fail"
INCONCLUSIVE: Verdict = "inconclusive"
SKIPPED: Verdict = "skipped"
EXIT_STATUS: dict[Verdict, int] = {PASS: 0, FAIL: 1, INCONCLUSIVE: 4}
NEEDS_REFERENCE = ("not_worse", "better", "slices", "at_most_ratio", "at_least_ratio")


@dataclasses.dataclass(frozen=True)
class Value:
    """A metric or cost of one model; a cost measured once has no interval."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    n: int | None = None
    is_share: bool = False


class Facts(Protocol):
    """What a gate may ask. `confidence` is that of the two-sided interval."""

    @property
    def candidate(self) -> str:
        """Its name."""
        ...

    @property
    def reference(self) -> str | None:
        """Name of what it is held against; None for a first version."""
        ...

    def difference(self, metric: str, confidence: float, margin: float) -> Difference:
        """Candidate against reference."""
        ...

    def slices(
        self, metric: str | None, columns: Sequence[str], min_rows: int, confidence: float, margin: float
    ) -> tuple[list[Difference], int]:
        """The same in every slice that is large enough, and how many there are in all."""
        ...

    def ratio(self, name: str, confidence: float) -> CostDifference:
        """A cost or metric of both."""
        ...

    def value(self, name: str, confidence: float) -> Value:
        """A metric or cost of the candidate."""
        ...

    def agreement(self, metric: str) -> float | None:
        """Of the judge behind a metric with people; None where it was never compared."""
        ...


@dataclasses.dataclass(frozen=True)
class Ruling:
    """What became of one clause.

    Attributes:
        kind: of the clause.
        verdict: `skipped` where there is no reference to hold the candidate against.
        reason: in one sentence.
        margin: what was allowed (a loss, a gain asked for, a ratio, a value).
        interval: of what `value` is, at `confidence` on the side that decides.
        power: how often rows like these would show a difference of the margin.
        power_sentence: the same in words, with how many rows would do.
    """

    kind: str
    verdict: Verdict
    reason: str
    metric: str | None = None
    margin: float | None = None
    value: float | None = None
    reference_value: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    p_value: float | None = None
    n: int | None = None
    power: float | None = None
    power_sentence: str | None = None


@dataclasses.dataclass(frozen=True)
class Decision:
    """What became of all of them: passes only if every clause does.

    Attributes:
        reference: None for a first version.
    """

    candidate: str
    reference: str | None
    rulings: list[Ruling]

    @property
    def verdict(self) -> Verdict:
        """`fail` if one fails, else `inconclusive` if one is, else `pass`. Only a pass promotes."""
        verdicts = {one.verdict for one in self.rulings}
        return FAIL if FAIL in verdicts else INCONCLUSIVE if INCONCLUSIVE in verdicts else PASS

    @property
    def promotes(self) -> bool:
        """Whether the candidate may take the reference's place."""
        return self.verdict == PASS

    @property
    def exit_status(self) -> int:
        """0 pass, 1 fail, 4 inconclusive."""
        return EXIT_STATUS[self.verdict]

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        if self.verdict == PASS and self.reference is None:
            skipped = sum(one.verdict == SKIPPED for one in self.rulings)
            return (
                f"pass: {self.candidate} is a first version, so {skipped} clauses that need a champion were skipped, and "
                f"{len(self.rulings) - skipped} others hold"
            )
        against = f" against {self.reference}" if self.reference else ""
        if self.verdict == PASS:
            return f"pass: {self.candidate}{against} holds all {len(self.rulings)} clauses"
        decisive = [one.reason for one in self.rulings if one.verdict == self.verdict]
        return f"{self.verdict}: {self.candidate}{against}: {'; '.join(decisive)}"

    def summary(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return dataclasses.asdict(self) | {
            "verdict": self.verdict,
            "promotes": self.promotes,
            "exit_status": self.exit_status,
            "sentence": self.sentence,
        }


def decide(gate: GateConfig, facts: Facts) -> Decision:
    """Hold a candidate against every clause.

    Raises:
        ConfigError: for a clause about a metric, cost or slice that was not measured.
    """
    return Decision(facts.candidate, facts.reference, [_rule(clause, gate, facts) for clause in gate.clauses])


def _rule(clause: Clause, gate: GateConfig, facts: Facts) -> Ruling:
    if facts.reference is None and clause.kind in NEEDS_REFERENCE:
        return Ruling(
            clause.kind,
            SKIPPED,
            f"{clause.metric or 'slices'}: nothing to hold it against, since there is no champion yet",
            clause.metric,
        )
    sure = clause.confidence or gate.confidence
    ruling = RULES[clause.kind](clause, facts, sure)
    if ruling.n is not None and ruling.n < gate.min_rows and ruling.verdict != SKIPPED:
        few = f"{ruling.metric}: {ruling.n} rows are too few to decide on; expected at least {gate.min_rows} (gate.min_rows)"
        return dataclasses.replace(ruling, verdict=INCONCLUSIVE, reason=few)
    return ruling


def two_sided(confidence: float) -> float:
    """Confidence of the two-sided interval each of whose bounds holds with `confidence`."""
    return 2 * confidence - 1


# -- against the reference ------------------------------------------------------------------------


def _gains(clause: NotWorse | Better | Slices, found: Difference) -> tuple[float, float, float] | None:
    """The difference and its bounds, turned so that more is better; None where there are none.

    Raises:
        ConfigError: where it is not known which direction is better, or the clause has it the wrong way round.
    """
    asked = getattr(clause, "worse", None)
    higher = found.higher_is_better
    if higher is None:
        if asked is None:
            raise ConfigError(
                f"gate: {found.metric} does not say whether higher is better; write the clause as a section with "
                "`kind: not_worse` and `worse: lower` or `worse: higher`"
            )
        higher = asked == "lower"
    elif asked is not None and (asked == "lower") != higher:
        raise ConfigError(
            f"gate: found '{found.metric} not {asked}', but of {found.metric} {'more' if higher else 'less'} is better; write "
            f"'{found.metric} not {'lower' if higher else 'higher'} than champion by more than ...'"
        )
    if found.difference is None or found.interval is None:
        return None
    low, high = found.interval
    return (found.difference, low, high) if higher else (-found.difference, -high, -low)


def _both(found: Difference) -> str:
    """The two values in words."""
    shown = [
        f"{100 * value:.2f} %" if found.is_share else f"{value:.4g}"
        for value in (found.second_value, found.first_value)
        if value is not None
    ]
    return f"{found.metric} {' against '.join(shown)} of {found.first}"


def _ruling(clause: Clause, verdict: Verdict, reason: str, found: Difference, *, sure: float, margin: float) -> Ruling:
    return Ruling(
        clause.kind,
        verdict,
        reason,
        found.metric,
        margin,
        found.second_value,
        found.first_value,
        found.interval,
        sure,
        found.p_value,
        found.n,
        found.power,
        found.power_sentence,
    )


def not_worse(clause: NotWorse, facts: Facts, sure: float) -> Ruling:
    """Passes where a loss of the margin is excluded, fails where a larger one is shown."""
    found = facts.difference(clause.metric, two_sided(sure), clause.margin)
    gains = _gains(clause, found)
    if gains is None:
        return _ruling(clause, INCONCLUSIVE, f"{clause.metric}: {found.note}", found, sure=sure, margin=clause.margin)
    gain, low, high = gains
    allowed, share = amount(clause.margin, found.is_share), found.is_share
    told = f"{_both(found)} ({change(gain, share)}, {found.n:,} rows)"
    if low > -clause.margin:
        bound = (
            f"a gain of at least {amount(round(low, 6), share)}"
            if low > 0
            else f"a loss of {_loss(low, share)} at most"
        )
        reason = f"{told}: {bound} with {100 * sure:g} % confidence, where {allowed} are allowed"
        return _ruling(clause, PASS, reason, found, sure=sure, margin=clause.margin)
    if high < -clause.margin:
        reason = f"{told}: a loss of {_loss(high, share)} at least with {100 * sure:g} % confidence, where {allowed} are allowed"
        return _ruling(clause, FAIL, reason, found, sure=sure, margin=clause.margin)
    reason = f"{told}: a loss of {_loss(low, share)} cannot be excluded with {100 * sure:g} % confidence, where {allowed} are allowed"
    return _ruling(clause, INCONCLUSIVE, _with_power(reason, found), found, sure=sure, margin=clause.margin)


def better(clause: Better, facts: Facts, sure: float) -> Ruling:
    """Passes where the gain asked for is shown, fails where less is."""
    found = facts.difference(clause.metric, two_sided(sure), clause.by)
    gains = _gains(clause, found)
    if gains is None:
        return _ruling(clause, INCONCLUSIVE, f"{clause.metric}: {found.note}", found, sure=sure, margin=clause.by)
    gain, low, high = gains
    share = found.is_share
    told = f"{_both(found)} ({change(gain, share)}, {found.n:,} rows)"
    wanted = f"more than {amount(clause.by, share)}" if clause.by else "a gain"
    if low > clause.by:
        reason = f"{told}: a gain of {change(low, share)} at least with {100 * sure:g} % confidence, where {wanted} is asked for"
        return _ruling(clause, PASS, reason, found, sure=sure, margin=clause.by)
    if high < clause.by or low == high:
        reason = f"{told}: {change(high, share)} at most with {100 * sure:g} % confidence, where {wanted} is asked for"
        return _ruling(clause, FAIL, reason, found, sure=sure, margin=clause.by)
    reason = f"{told}: anything from {change(low, share)} to {change(high, share)}, where {wanted} is asked for"
    return _ruling(clause, INCONCLUSIVE, _with_power(reason, found), found, sure=sure, margin=clause.by)


def slices(clause: Slices, facts: Facts, sure: float) -> Ruling:
    """Fails where a loss of the margin is shown in a slice (Holm over slices); what else keeps it from passing the clause says."""
    found, among = facts.slices(clause.metric, clause.columns, clause.min_rows, two_sided(sure), clause.margin)
    if not found:
        reason = f"none of {among} slices has {clause.min_rows} rows; expected one at least: evaluate more rows, or lower min_rows"
        return Ruling(clause.kind, INCONCLUSIVE, reason, clause.metric, clause.margin, confidence=sure)
    if clause.evidence == "excluded":  # all bounds hold together: the level is shared out (Bonferroni)
        shared = 1 - (1 - sure) / len(found)
        found, _ = facts.slices(clause.metric, clause.columns, clause.min_rows, two_sided(shared), clause.margin)
    gains = [_gains(clause, one) for one in found]
    known = [(one, gain) for one, gain in zip(found, gains, strict=True) if gain is not None]
    if not known:
        return Ruling(
            clause.kind,
            INCONCLUSIVE,
            f"{found[0].metric}: {found[0].note}",
            found[0].metric,
            clause.margin,
            confidence=sure,
        )
    p_values = _one_sided_holm([(one.p_value, gain[0]) for one, gain in known])
    rows = [(one, gain, p) for (one, gain), p in zip(known, p_values, strict=True)]
    shown = [row for row in rows if row[1][0] <= -clause.margin and row[2] < 1 - sure]
    open_ones = {
        "shown": [],
        "observed": [row for row in rows if row[1][0] <= -clause.margin],
        "excluded": [row for row in rows if row[1][1] <= -clause.margin],
    }[clause.evidence]
    worst = min(shown or open_ones or rows, key=lambda row: row[1][0])
    verdict: Verdict = FAIL if shown else INCONCLUSIVE if open_ones else PASS
    reason = _slice_reason(clause, verdict, worst, len(rows), len(shown or open_ones))
    ruling = _ruling(clause, verdict, reason, worst[0], sure=sure, margin=clause.margin)
    return dataclasses.replace(ruling, p_value=worst[2])


def _one_sided_holm(found: Sequence[tuple[float | None, float]]) -> list[float]:
    """P-values of the hypothesis of no loss, from two-sided ones and the gain; corrected over slices."""
    from trainers.evaluation.statistics.correction import holm

    halves = [1.0 if p is None else p / 2 if gain < 0 else 1 - p / 2 for p, gain in found]
    return [float(p) for p in holm(halves)]


def _slice_reason(
    clause: Slices,
    verdict: Verdict,
    worst: tuple[Difference, tuple[float, float, float], float],
    among: int,
    count: int,
) -> str:
    one, (gain, low, high), p = worst
    share = one.is_share
    where = f"{one.column}={one.value} ({one.n:,} rows)"
    told = f"{change(gain, share)} in {one.metric}, {change(low, share)} to {change(high, share)}"
    allowed = amount(clause.margin, share)
    if verdict == FAIL:
        return (
            f"{count} of {among} slices are worse by {allowed} or more, most {where}: {told}, p {p_text(p)} after Holm"
        )
    if verdict == INCONCLUSIVE and clause.evidence == "excluded":
        return _with_power(
            f"a loss of {allowed} cannot be excluded in {count} of {among} slices, least in {where}: {told}", one
        )
    if verdict == INCONCLUSIVE:
        return (
            f"{count} of {among} slices came out worse by {allowed} or more, which may be chance, most {where}: {told}"
        )
    sure = (
        "shown to be" if clause.evidence == "shown" else "that could be" if clause.evidence == "excluded" else "found"
    )
    return f"none of {among} slices {sure} worse by {allowed}; the lowest is {where}: {told}"


def ratio(clause: AtMostRatio | AtLeastRatio, facts: Facts, sure: float) -> Ruling:
    """Passes where the ratio lies on the right side of its bound, with its interval where there is one."""
    found = facts.ratio(clause.metric, two_sided(sure))
    what = f"{clause.metric} {found.second_value:.4g} against {found.first_value:.4g} of {found.first}"
    side = "at most" if clause.kind == "at_most_ratio" else "at least"
    if found.ratio is None:
        reason = f"{what}: no ratio to 0; expected {side} {clause.ratio:g} times"
        return Ruling(
            clause.kind, INCONCLUSIVE, reason, clause.metric, clause.ratio, found.second_value, found.first_value
        )
    verdict, told = _within(found.ratio, found.interval, clause.ratio, side)
    reason = f"{what}: {found.ratio:.3g} times{told}, where {side} {clause.ratio:g} times is asked for"
    return Ruling(
        clause.kind,
        verdict,
        reason,
        clause.metric,
        clause.ratio,
        found.second_value,
        found.first_value,
        found.interval,
        sure,
    )


# -- the candidate alone --------------------------------------------------------------------------


def absolute(clause: AtLeast | AtMost, facts: Facts, sure: float) -> Ruling:
    """Passes where the value lies on the right side of its bound, with its interval where there is one."""
    found = facts.value(clause.metric, two_sided(sure))
    side = "at most" if clause.kind == "at_most" else "at least"
    verdict, told = _within(found.value, found.interval, clause.value, side)
    rows = f" on {found.n:,} rows" if found.n is not None else ""
    reason = f"{clause.metric} {found.value:.4g}{rows}{told}, where {side} {clause.value:g} is asked for"
    return Ruling(
        clause.kind,
        verdict,
        reason,
        clause.metric,
        clause.value,
        found.value,
        interval=found.interval,
        confidence=sure,
        n=found.n,
    )


def judge(clause: Judge, facts: Facts, sure: float) -> Ruling:
    """Passes where the win rate is shown to be above the share, by a judge that agrees with people enough."""
    found = facts.value(clause.metric, two_sided(sure))
    agreement = facts.agreement(clause.metric)
    given = {"metric": clause.metric, "margin": clause.win_rate, "value": found.value}
    given |= {"interval": found.interval, "confidence": sure, "n": found.n}
    if clause.min_agreement is not None and (agreement is None or agreement < clause.min_agreement):
        how = (
            "was never compared with people's labels"
            if agreement is None
            else f"agrees with people by {agreement:.2f} only"
        )
        reason = f"{clause.metric}: the judge {how}; expected {clause.min_agreement:g} at least, so it decides nothing"
        return Ruling(clause.kind, INCONCLUSIVE, reason, **given)  # type: ignore[arg-type]
    low, high = found.interval or (found.value, found.value)
    verdict: Verdict = PASS if low > clause.win_rate else FAIL if high < clause.win_rate else INCONCLUSIVE
    reason = (
        f"{clause.metric} {found.value:.3f}, {low:.3f} to {high:.3f}, where more than {clause.win_rate:g} is asked for"
    )
    return Ruling(clause.kind, verdict, reason, **given)  # type: ignore[arg-type]


def _within(value: float, interval: tuple[float, float] | None, bound: float, side: str) -> tuple[Verdict, str]:
    """The verdict on a value, and its interval in words."""
    low, high = interval or (value, value)
    if side == "at most":
        verdict: Verdict = PASS if high <= bound else FAIL if low > bound else INCONCLUSIVE
    else:
        verdict = PASS if low >= bound else FAIL if high < bound else INCONCLUSIVE
    return verdict, f" ({low:.4g} to {high:.4g})" if interval else " (measured once, so without an interval)"


def _loss(gain: float, is_share: bool) -> str:
    return amount(float(f"{-gain:.3g}"), is_share)


def _with_power(reason: str, found: Difference) -> str:
    return f"{reason}; {found.power_sentence}" if found.power_sentence else reason


RULES: Mapping[str, Callable[[Any, Facts, float], Ruling]] = {
    "not_worse": not_worse,
    "better": better,
    "slices": slices,
    "at_most_ratio": ratio,
    "at_least_ratio": ratio,
    "at_least": absolute,
    "at_most": absolute,
    "judge": judge,
}
"""Kind of clause -> how it is ruled on."""
