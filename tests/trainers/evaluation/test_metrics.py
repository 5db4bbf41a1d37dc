"""Claims about how answers are compared."""

import pytest

from trainers.evaluation.metrics import AnswerScorer, label_metrics, most_common, parse_object


def test_json_matches_whatever_its_spacing_and_order_of_keys():
    scorer = AnswerScorer(['{"a": 1, "b": [2]}'])
    assert scorer.score([('{"a": 1, "b": [2]}', '{"b":[2],"a":1}')])["exact_match"] == 1.0


def test_an_answer_that_is_no_json_counts_as_wrong_in_every_field():
    assert AnswerScorer(['{"a": 1}']).score([('{"a": 1}', "a is 1")]) == {
        "exact_match": 0.0,
        "json_valid": 0.0,
        "field.a": 0.0,
    }


def test_one_reference_that_is_no_object_makes_all_be_compared_as_text():
    scorer = AnswerScorer(['{"a": 1}', "42"])
    assert not scorer.is_json
    assert scorer.score([("42", " 42\n"), ("42", "43")]) == {"exact_match": 0.5}


def test_true_and_one_are_different_values():
    assert AnswerScorer(['{"a": true}']).score([('{"a": true}', '{"a": 1}')])["field.a"] == 0.0


def test_the_most_common_reference_is_the_first_of_equals():
    assert most_common(["b", "a", None, "a", "b"]) == "b"
    assert most_common([None]) is None


@pytest.mark.parametrize("text", [None, "", "[1]", "{", "7", "[" * 100_000])
def test_only_objects_parse_as_objects(text):
    assert parse_object(text) is None


def test_macro_f1_weighs_every_label_alike():
    scores = label_metrics(["a", "a", "a", "b"], ["a", "a", "a", "a"])
    assert scores["accuracy"] == 0.75
    assert scores["macro_f1"] == pytest.approx((6 / 7) / 2)
