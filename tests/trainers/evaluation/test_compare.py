"""Claims about comparing evaluations, on made-up predictions whose truth is known."""

import dataclasses

import numpy as np
import pytest

from cluster.config.compare import CompareConfig
from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.compare import Side, compare
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.statistics.checks import UnpairedRows

QUICK = CompareConfig(num_resamples=500)
LABELS = ["yes", "no", "maybe"]


def evaluated(accuracy, n=400, seed=0, easy=None, fingerprint="", **more):
    """A classifier that is right on so many rows; the same rows are easy for every seed."""
    generator = np.random.default_rng(7)
    references = generator.choice(LABELS, n)
    ease = generator.random(n) if easy is None else easy
    luck = np.random.default_rng(seed).normal(0, 0.02, n)
    right = ease + luck < accuracy
    predictions = [
        Prediction(
            f"rows.csv:{index + 2}",
            str(reference),
            str(reference) if hit else LABELS[(LABELS.index(reference) + 1) % 3],
            loss_sum=0.1 if hit else 2.0 + ease[index],
            loss_units=1,
            key=f"row {index}",
            columns={"channel": "mail" if index % 4 else "chat"},
            logits=[float(hit), 0.0, 0.5],
        )
        for index, (reference, hit) in enumerate(zip(references, right, strict=True))
    ]
    values = {
        "metrics": {},
        "baseline": {},
        "baseline_answer": None,
        "slices": {"channel": {}},
        "classes": {},
        "duration_s": 1.0,
    }
    return EvaluationResult(
        "classification", n, **values, predictions=predictions, labels=LABELS, fingerprint=fingerprint, **more
    )


def sides(*results):
    return [Side(name, [result]) for name, result in zip("ABC", results, strict=False)]


@pytest.fixture(scope="module")
def strong_and_weak():
    return compare(sides(evaluated(0.7), evaluated(0.9, seed=1)), QUICK)


def test_a_stronger_model_is_better_in_each_metric_whichever_way_that_points(strong_and_weak):
    assert {one.metric: one.verdict for one in strong_and_weak.differences if one.metric in ("accuracy", "loss")} == {
        "accuracy": "better",
        "loss": "better",
    }
    assert strong_and_weak.of("loss").difference < 0 < strong_and_weak.of("accuracy").difference
    reverse = compare(sides(evaluated(0.9), evaluated(0.7)), QUICK)
    assert reverse.of("accuracy").verdict == reverse.of("loss").verdict == "worse"


def test_a_difference_says_all_that_one_asks_of_it(strong_and_weak):
    found = strong_and_weak.of("accuracy")
    low, high = found.interval
    assert low < found.difference < high
    assert found.test.startswith("McNemar")
    assert found.p_value <= found.p_adjusted < 0.05
    assert (found.effect, found.effect_words) == ("Cohen's h", "medium")
    assert found.probability_better > 0.99
    assert "with these 400 rows a 1-point drop is seen" in found.power_sentence
    assert found.sentence.endswith(": better")
    assert "points (95 % interval +" in found.sentence


def test_the_same_model_with_another_seed_shows_no_difference():
    found = compare(sides(evaluated(0.8, seed=1), evaluated(0.8, seed=2)), QUICK)
    assert {one.verdict for one in found.differences} == {"no difference shown"}
    assert {one.verdict for one in found.slices} == {"no difference shown"}


def test_a_margin_tells_equivalence_from_not_knowing():
    alike = sides(evaluated(0.8, n=2000, seed=1), evaluated(0.8, n=2000, seed=2))
    config = QUICK.model_copy(update={"margins": {"accuracy": 0.03}})
    assert compare(alike, config).of("accuracy").verdict == "equivalent within 3 points"
    few = sides(evaluated(0.8, n=40, seed=1), evaluated(0.8, n=40, seed=2))
    assert compare(few, config).of("accuracy").verdict == "no difference shown"


def test_slices_are_tested_one_by_one_and_corrected_together(strong_and_weak):
    assert {(one.value, one.n) for one in strong_and_weak.slices} == {("mail", 300), ("chat", 100)}
    assert all(one.p_adjusted >= one.p_value and one.interval for one in strong_and_weak.slices)
    small = QUICK.model_copy(update={"min_slice_rows": 101})
    assert [one.value for one in compare(sides(evaluated(0.7), evaluated(0.9)), small).slices] == ["mail"]


def test_more_comparisons_make_each_p_value_larger():
    both = [evaluated(0.8), evaluated(0.83, seed=1)]
    two, three = compare(sides(*both), QUICK), compare(sides(*both, evaluated(0.81, seed=2)), QUICK)
    assert three.of("accuracy", "B").p_value == two.of("accuracy").p_value
    assert three.of("accuracy", "B").p_adjusted >= two.of("accuracy").p_adjusted
    none = QUICK.model_copy(update={"correction": "none"})
    assert compare(sides(*both), none).of("accuracy").p_adjusted == two.of("accuracy").p_value


def test_several_are_held_against_the_first_or_each_against_each():
    three = sides(evaluated(0.7), evaluated(0.9, seed=1), evaluated(0.9, seed=2))
    assert compare(three, QUICK).pairs == [("A", "B"), ("A", "C")]
    each = compare(three, QUICK.model_copy(update={"against": "each"}))
    assert [(*pair, each.of("accuracy", pair[1], pair[0]).verdict) for pair in each.pairs] == [
        ("A", "B", "better"),
        ("A", "C", "better"),
        ("B", "C", "no difference shown"),
    ]


def test_rows_are_paired_by_what_they_say_not_by_where_they_stand():
    first, second = evaluated(0.7), evaluated(0.9)
    mixed = list(second.predictions)
    np.random.default_rng(0).shuffle(mixed)
    shuffled = dataclasses.replace(second, predictions=mixed)
    assert compare(sides(first, shuffled), QUICK).of("accuracy") == compare(sides(first, second), QUICK).of("accuracy")


def test_evaluations_of_different_rows_are_refused_with_counts():
    full, part = evaluated(0.7), evaluated(0.9)
    part = dataclasses.replace(part, n=300, predictions=part.predictions[:300])
    with pytest.raises(UnpairedRows, match="A was evaluated on 400 rows and B on 300, of which 300 are the same"):
        compare(sides(full, part), QUICK)
    shared = compare(sides(full, part), QUICK.model_copy(update={"rows": "shared"}))
    assert (shared.n, shared.notes) == (300, ["A: 100 of 400 rows are not compared, since others lack them"])


def test_other_rows_altogether_are_compared_as_unpaired_on_request():
    first, second = evaluated(0.7), evaluated(0.9)
    renamed = [dataclasses.replace(one, key=f"other {one.key}") for one in second.predictions[:300]]
    second = dataclasses.replace(second, n=300, predictions=renamed)
    with pytest.raises(UnpairedRows, match="no row in common"):
        compare(sides(first, second), QUICK.model_copy(update={"rows": "shared"}))
    found = compare(sides(first, second), QUICK.model_copy(update={"rows": "unpaired"}))
    assert (found.of("accuracy").test, found.of("accuracy").verdict) == ("two proportions", "better")
    assert not found.disagreements


def test_another_reference_for_the_same_row_is_refused():
    first, second = evaluated(0.7), evaluated(0.9)
    other = dataclasses.replace(second.predictions[0], reference="never")
    second = dataclasses.replace(second, predictions=[other, *second.predictions[1:]])
    with pytest.raises(DataError, match=r"rows\.csv:2: A was held against the reference .* and B against 'never'"):
        compare(sides(first, second), QUICK)


def test_rows_that_failed_count_as_wrong_and_are_told():
    first, second = evaluated(0.8), evaluated(0.8)
    failed = [dataclasses.replace(one, output=None, error="timed out") for one in second.predictions[:100]]
    second = dataclasses.replace(second, predictions=failed + second.predictions[100:])
    found = compare(sides(first, second), QUICK)
    assert found.of("accuracy").verdict == "worse"
    assert found.notes == ["B: 100 rows have no answer because of an error, and count as wrong"]


def test_nothing_to_compare_is_refused():
    one = evaluated(0.8)
    with pytest.raises(ConfigError, match="found 1 model to compare"):
        compare(sides(one), QUICK)
    with pytest.raises(ConfigError, match="models of different kinds"):
        compare(sides(one, dataclasses.replace(one, kind="causal_lm")), QUICK)
    with pytest.raises(DataError, match="B: its evaluation holds no rows"):
        compare(sides(one, dataclasses.replace(one, predictions=[])), QUICK)
    with pytest.raises(ConfigError, match=r"found 'acuracy', which is no metric .* did you mean 'accuracy'"):
        compare(sides(one, one), QUICK.model_copy(update={"margins": {"acuracy": 0.1}}))


def test_the_same_evaluation_twice_is_told():
    one = evaluated(0.8, fingerprint="f1")
    found = compare(sides(one, one), QUICK)
    assert found.notes == ["A and B are the same evaluation: they cannot differ"]
    assert found.of("accuracy").verdict == "no difference shown"


def test_costs_stand_side_by_side():
    quick, slow = evaluated(0.8, cost={"rows_per_s": 100.0}), evaluated(0.8, cost={"rows_per_s": 50.0, "train_s": 9.0})
    (cost,) = compare(sides(quick, slow), QUICK).costs
    assert (cost.name, cost.ratio, cost.interval) == ("rows_per_s", 0.5, None)


def test_latencies_of_single_rows_give_their_ratio_an_interval():
    def timed(factor):
        found = evaluated(0.8, cost={"latency_p95_s": factor})
        seconds = np.random.default_rng(0).gamma(4, 0.1, found.n)
        rows = [
            dataclasses.replace(one, latency_s=factor * s) for one, s in zip(found.predictions, seconds, strict=True)
        ]
        return dataclasses.replace(found, predictions=rows)

    (cost,) = compare(sides(timed(1.0), timed(1.5)), QUICK).costs
    assert cost.interval == pytest.approx((1.5, 1.5))


def test_rows_answered_differently_are_shown_and_counted(strong_and_weak):
    row = strong_and_weak.disagreements[0]
    assert (row.first_right, row.second_right) == (False, True)
    counts = strong_and_weak.agreement["B against A"]
    assert sum(counts.values()) == 400
    gained = counts["only the second"] - counts["only the first"]
    assert gained == pytest.approx(400 * strong_and_weak.of("accuracy").difference)


def test_a_comparison_is_plain_json(strong_and_weak):
    import json

    found = json.loads(json.dumps(strong_and_weak.summary()))
    assert found["differences"][0]["metric"] and found["sentences"][0].endswith("better")


# -- several trainings ----------------------------------------------------------------------------


def trained(name, *accuracies, seed=0):
    results = [evaluated(accuracy, seed=seed + at) for at, accuracy in enumerate(accuracies)]
    return Side(name, results, seeds=tuple(range(len(results))))


def test_over_seeds_it_is_the_method_that_is_better_or_not():
    clear = compare([trained("A", 0.7, 0.72, 0.71), trained("B", 0.9, 0.88, 0.89, seed=9)], QUICK).of("accuracy")
    assert (clear.verdict, clear.runs, clear.test) == ("better", (3, 3), "crossed random effects")
    assert clear.first_value == pytest.approx(0.71, abs=0.03)
    # Seed by seed 8 points apart: on 400 rows each pair of runs differs, the methods do not
    seeds = compare([trained("A", 0.7, 0.78, 0.86), trained("B", 0.79, 0.71, 0.87, seed=9)], QUICK)
    assert seeds.of("accuracy").verdict == "no difference shown"
    assert seeds.of("accuracy").seed_deviation > 0.05
    assert "another seed alone moves the difference" in seeds.of("accuracy").note


def test_several_trainings_may_be_equivalent_within_a_margin():
    config = QUICK.model_copy(update={"margins": {"accuracy": 0.05}})
    alike = [trained("A", 0.8, 0.8, 0.8), trained("B", 0.8, 0.8, 0.8, seed=9)]
    assert compare(alike, config).of("accuracy").verdict == "equivalent within 5 points"
    narrow = QUICK.model_copy(update={"margins": {"accuracy": 0.0001}})
    assert compare(alike, narrow).of("accuracy").verdict == "no difference shown"


def test_one_training_against_several_is_refused():
    with pytest.raises(ConfigError, match=r"A for 3, B for 1.*expected one each, or several each"):
        compare([trained("A", 0.8, 0.8, 0.8), trained("B", 0.8)], QUICK)
