"""Claims about how answers are compared."""

import numpy as np
import pytest

from cluster.config import MetricSpec
from cluster.exceptions import ConfigError
from trainers.evaluation.baseline import baseline
from trainers.evaluation.metrics import find_metric, measure, specs_for
from trainers.evaluation.metrics.text import most_common, parse_object
from trainers.evaluation.result import Prediction, from_table, to_table
from trainers.evaluation.rows import Rows


def rows(*pairs: tuple[str | None, str | None]) -> Rows:
    return Rows([Prediction("", want, got) for want, got in pairs])


def answers(*pairs: tuple[str | None, str | None]) -> dict[str, float]:
    return {name: one.value for name, one in measure(rows(*pairs), specs_for("causal_lm", [])).items()}


def longer_than_asked(found: Rows) -> list[float]:
    return [float(len(got) > len(want)) for want, got in zip(found.references, found.outputs, strict=True)]


def test_json_matches_whatever_its_spacing_and_order_of_keys():
    assert answers(('{"a": 1, "b": [2]}', '{"b":[2],"a":1}'))["exact_match"] == 1.0


def test_an_answer_that_is_no_json_counts_as_wrong_in_every_field():
    assert answers(('{"a": 1}', "a is 1")) == {"exact_match": 0.0, "json_valid": 0.0, "field.a": 0.0}


def test_one_reference_that_is_no_object_makes_all_be_compared_as_text():
    assert answers(("42", " 42\n"), ('{"a": 1}', '{"a":1}')) == {"exact_match": 0.5}


def test_true_and_one_are_different_values():
    assert answers(('{"a": true}', '{"a": 1}'))["field.a"] == 0.0


def test_rows_without_a_reference_do_not_count():
    assert answers(("a", "a"), (None, "b")) == {"exact_match": 1.0}


def test_the_most_common_reference_is_the_first_of_equals():
    assert most_common(["b", "a", None, "a", "b"]) == "b"
    assert most_common([None]) is None


def test_the_baseline_gives_the_most_common_value_of_each_field():
    found, answer = baseline(
        rows(('{"a": 1, "b": 1}', ""), ('{"a": 1, "b": 2}', ""), ('{"a": 2, "b": 2}', "")), specs_for("causal_lm", [])
    )
    assert answer == '{"a": 1, "b": 1}'
    assert found["exact_match"] == pytest.approx(1 / 3)
    assert found["field.a"] == found["field.b"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("text", [None, "", "[1]", "{", "7", "[" * 100_000])
def test_only_objects_parse_as_objects(text):
    assert parse_object(text) is None


def test_macro_f1_weighs_every_label_alike():
    found = measure(rows(*zip("aaab", "aaaa", strict=True)), specs_for("classification", []))
    assert found["accuracy"].value == 0.75
    assert found["macro_f1"].value == pytest.approx((6 / 7) / 2)


def test_a_teams_own_metric_is_one_line():
    spec = MetricSpec(name=f"{__name__}:longer_than_asked", label="longer")
    found = measure(rows(("a", "ab"), ("a", "b")), [spec])["longer"]
    assert found.value == 0.5
    assert found.statistic.is_binary


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        find_metric("acuracy")


def test_a_metric_is_the_same_over_rows_drawn_again_as_over_those_rows():
    given = rows(*zip("aaabbc", "aababc", strict=True))
    drawn = np.array([0, 2, 2, 5, 4, 1])
    for name, one in measure(given, specs_for("classification", [])).items():
        assert one.statistic.take(drawn).value == pytest.approx(
            measure(given.take(drawn), specs_for("classification", []))[name].value
        )


def test_predictions_survive_the_way_through_a_table():
    given = [Prediction("a:1", "x", None, 1.5, 2, logits=[0.5, 1.0], columns={"day": 3}, notes={"judge": 0.5})]
    assert from_table(to_table(given)) == given
