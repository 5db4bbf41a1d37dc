"""Claims about how a gate decides, on facts that are made up."""

import dataclasses

import pytest

from cluster.config import GateConfig
from cluster.config.compare import CompareConfig
from cluster.exceptions import ConfigError, DataError
from tests.trainers.evaluation.test_compare import evaluated
from trainers.evaluation.compare import Side
from trainers.evaluation.comparison import CostDifference, Difference
from trainers.evaluation.gate import Value, decide
from trainers.evaluation.gate_facts import decide_by

N = 1000


def difference(low, high, metric="accuracy", n=N, **more):
    middle = (low + high) / 2
    usual = {"p_value": 0.5, "higher_is_better": metric != "loss", "is_share": metric != "loss"}
    return Difference(metric, "old", "new", 0.5, 0.5 + middle, n, interval=(low, high), **{**usual, **more})


@dataclasses.dataclass
class MadeUp:
    """Facts as a test says them."""

    found: Difference | None = None
    parts: tuple = ()
    times: CostDifference | None = None
    one: Value | None = None
    judge_agrees: float | None = None
    reference: str | None = "old"
    candidate: str = "new"

    def difference(self, metric, confidence, margin):
        self.asked = confidence, margin
        return self.found

    def slices(self, metric, columns, min_rows, confidence, margin):
        return [part for part in self.parts if part.n >= min_rows], len(self.parts)

    def ratio(self, name, confidence):
        return self.times

    def value(self, name, confidence):
        return self.one

    def agreement(self, metric):
        return self.judge_agrees


def ruled(clause, **facts):
    (ruling,) = decide(GateConfig(clauses=[clause]), MadeUp(**facts)).rulings
    return ruling


NOT_LOWER = "accuracy not lower than champion by more than 1 point"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.005, 0.003, "pass"), (-0.03, -0.02, "fail"), (-0.02, 0.01, "inconclusive"), (-0.02, -0.005, "inconclusive")],
)
def test_not_lower_passes_where_a_larger_loss_is_excluded_and_fails_where_one_is_shown(low, high, verdict):
    assert ruled(NOT_LOWER, found=difference(low, high)).verdict == verdict


def test_the_bound_that_decides_holds_with_the_confidence_asked_for():
    facts = MadeUp(difference(0.0, 0.1))
    decide(GateConfig(clauses=["accuracy not lower by 1 point, 95 %"]), facts)
    assert facts.asked == pytest.approx((0.9, 0.01))


def test_where_lower_is_better_a_rise_is_the_loss():
    clause = "loss not higher than champion by more than 0.01"
    assert ruled(clause, found=difference(-0.03, -0.02, "loss")).verdict == "pass"
    assert ruled(clause, found=difference(0.02, 0.03, "loss")).verdict == "fail"
    assert ruled("loss better", found=difference(-0.03, -0.02, "loss")).verdict == "pass"


def test_a_direction_that_the_metric_contradicts_is_refused():
    with pytest.raises(ConfigError, match="'loss not lower', but of loss less is better; write 'loss not higher"):
        ruled("loss not lower by 0.1", found=difference(0, 0.1, "loss"))


def test_a_metric_without_a_direction_needs_one():
    with pytest.raises(ConfigError, match="`worse: lower` or `worse: higher`"):
        ruled("length better", found=difference(0, 1, "length", higher_is_better=None))
    clause = {"kind": "not_worse", "metric": "length", "margin": 5, "worse": "higher"}
    assert ruled(clause, found=difference(-2, 2, "length", higher_is_better=None)).verdict == "pass"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.03, "pass"), (-0.03, -0.01, "fail"), (-0.01, 0.03, "inconclusive"), (0.0, 0.0, "fail")],
)
def test_better_needs_a_shown_gain(low, high, verdict):
    assert ruled("accuracy better", found=difference(low, high)).verdict == verdict


def test_better_by_a_gain_needs_more_than_that():
    assert ruled("accuracy better by 2 points", found=difference(0.01, 0.03)).verdict == "inconclusive"


def part(value, middle, p, n=100):
    return difference(middle - 0.03, middle + 0.03, n=n, p_value=p, column="channel", value=value)


def test_a_slice_fails_the_gate_only_after_correction_for_all_slices():
    clause = "no slice of 50 rows or more worse by 3 points"
    lost = part("mail", -0.05, 0.001)
    found = ruled(clause, parts=(lost, part("chat", 0.01, 0.7)))
    assert found.verdict == "fail"
    assert "channel=mail (100 rows)" in found.reason
    assert ruled(clause, parts=(part("mail", -0.05, 0.06),) + (part("chat", 0.01, 0.7),) * 9).verdict == "inconclusive"
    assert ruled(clause, parts=(part("mail", -0.02, 0.001), part("chat", 0.01, 0.7))).verdict == "pass"


def test_slices_too_small_to_count_do_not_pass_by_being_left_out():
    found = ruled("no slice of 50 rows or more worse by 3 points", parts=(part("mail", -0.5, 0.001, n=49),))
    assert (found.verdict, "none of 1 slices has 50 rows" in found.reason) == ("inconclusive", True)


def test_what_keeps_slices_from_passing_can_be_chosen():
    parts = (part("mail", -0.04, 0.2), part("chat", 0.01, 0.7))
    clause = {"kind": "slices", "margin": 0.03}
    assert ruled(clause | {"evidence": "shown"}, parts=parts).verdict == "pass"
    assert ruled(clause | {"evidence": "observed"}, parts=parts).verdict == "inconclusive"
    harmless = (part("chat", 0.01, 0.7), part("mail", -0.01, 0.7))
    assert ruled(clause | {"evidence": "observed"}, parts=harmless).verdict == "pass"
    assert ruled(clause | {"evidence": "excluded"}, parts=harmless).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("second", "interval", "verdict"),
    [
        (1.1, None, "pass"),
        (1.3, None, "fail"),
        (1.1, (1.0, 1.15), "pass"),
        (1.1, (1.0, 1.3), "inconclusive"),
        (1.4, (1.3, 1.5), "fail"),
    ],
)
def test_a_cost_may_be_so_many_times_the_references(second, interval, verdict):
    times = CostDifference("latency_p95_s", "old", "new", 1.0, second, interval)
    found = ruled("p95 latency at most 1.2 times", times=times)
    assert (found.verdict, found.interval) == (verdict, interval)


def test_throughput_may_not_fall_below_a_share():
    times = CostDifference("rows_per_s", "old", "new", 100.0, 80.0)
    assert ruled("rows_per_s at least 0.9 times", times=times).verdict == "fail"


def test_an_absolute_clause_looks_at_the_interval():
    for interval, verdict in {(0.91, 0.95): "pass", (0.85, 0.89): "fail", (0.88, 0.92): "inconclusive"}.items():
        assert ruled("accuracy at least 90 %", one=Value("accuracy", 0.9, interval, N)).verdict == verdict
    assert ruled("loss at most 0.5", one=Value("loss", 0.4, (0.3, 0.45), N)).verdict == "pass"


def test_few_rows_decide_nothing():
    found = ruled("accuracy at least 0.5", one=Value("accuracy", 1.0, (0.8, 1.0), 12))
    assert (found.verdict, "12 rows are too few" in found.reason) == ("inconclusive", True)


def test_a_judge_that_people_contradict_decides_nothing():
    won = Value("judge_win_rate", 0.7, (0.6, 0.8), N)
    clause = {"kind": "judge", "min_agreement": 0.6}
    assert ruled(clause, one=won, judge_agrees=0.7).verdict == "pass"
    assert ruled(clause, one=won, judge_agrees=0.2).verdict == "inconclusive"
    assert "never compared" in ruled(clause, one=won).reason


def test_a_first_version_is_held_to_absolute_clauses_only_and_says_so():
    gate = GateConfig(clauses=[NOT_LOWER, "accuracy at least 0.9"])
    good, bad = Value("accuracy", 0.95, (0.93, 0.97), N), Value("accuracy", 0.5, (0.4, 0.6), N)
    decision = decide(gate, MadeUp(one=good, reference=None))
    assert [one.verdict for one in decision.rulings] == ["skipped", "pass"]
    assert decision.promotes
    assert "first version, so 1 clauses that need a champion were skipped" in decision.sentence
    assert decide(gate, MadeUp(one=bad, reference=None)).exit_status == 1


def test_the_worst_clause_decides_and_only_a_pass_promotes():
    gate = GateConfig(clauses=[NOT_LOWER, "accuracy at least 0.9"])
    above = Value("accuracy", 0.95, (0.93, 0.97), N)
    for low, high, status in [(0.0, 0.1, 0), (-0.2, -0.1, 1), (-0.2, 0.1, 4)]:
        decision = decide(gate, MadeUp(difference(low, high), one=above))
        assert (decision.exit_status, decision.promotes) == (status, status == 0)
        assert decision.summary()["verdict"] in decision.sentence


# -- on evaluations -------------------------------------------------------------------------------

QUICK = CompareConfig(num_resamples=500)


def decided(*clauses, old=0.8, new=0.8, **more):
    sides = [Side("old", [evaluated(old, seed=1)]), Side("new", [evaluated(new, seed=2, **more)])]
    return decide_by(GateConfig(clauses=list(clauses)), sides[1], sides[0], QUICK)


def test_a_stronger_candidate_passes_a_weaker_one_fails_and_an_equal_one_is_not_known():
    better = "accuracy better"
    assert [decided(better, new=new).exit_status for new in (0.95, 0.6, 0.8)] == [0, 1, 4]
    assert decided("accuracy not lower by 10 points").exit_status == 0
    found = decided("accuracy not lower by 0.5 points")
    assert found.exit_status == 4
    assert "rows would see it 9 times in 10" in found.rulings[0].reason
    assert 0 < found.rulings[0].power < 0.5


def test_slices_may_be_columns_that_were_not_evaluated_before():
    clause = {"kind": "slices", "margin": 0.1, "columns": ["channel == 'mail'"]}
    assert decided(clause, new=0.5).rulings[0].verdict == "fail"
    with pytest.raises(DataError, match="no row has the slice column 'sauce'"):
        decided(clause | {"columns": ["sauce"]})


def test_an_unknown_metric_or_cost_in_a_clause_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"found 'acuracy', .* did you mean 'accuracy'"):
        decided("acuracy better")
    with pytest.raises(ConfigError, match="found 'rows_per_h', which is no cost"):
        decided("rows_per_h at most 2 times")


def test_a_metric_may_be_bounded_as_a_multiple_with_its_interval():
    ruling = decided("loss at most 1.5 times", new=0.95).rulings[0]
    assert ruling.verdict == "pass"
    assert ruling.interval[0] < ruling.value / ruling.reference_value < ruling.interval[1]


def test_a_first_version_needs_no_champion():
    gate = GateConfig(clauses=["accuracy better", "accuracy at least 0.7", "rows_per_s at least 10"])
    side = Side("new", [evaluated(0.9, cost={"rows_per_s": 50.0})])
    decision = decide_by(gate, side, None, QUICK)
    assert [one.verdict for one in decision.rulings] == ["skipped", "pass", "pass"]
