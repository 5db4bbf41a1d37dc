"""Claims about answering only where a model is sure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.evaluation.confidence.responses import confidence_of_tokens, notes_of_tokens
from trainers.evaluation.confidence.selective import RiskCoverage, by_source, selective_report

rows = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40)


@given(rows)
@settings(max_examples=60, deadline=None)
def test_the_curve_is_the_share_of_wrong_rows_among_the_surest(given_rows):
    sure = np.array([one + at / 100 for at, (one, _) in enumerate(given_rows)])
    hits = np.array([float(hit) for _, hit in given_rows])
    curve = RiskCoverage.of(sure, hits)
    for answered in range(1, len(sure) + 1):
        surest = np.argsort(-sure)[:answered]
        assert curve.risk[answered - 1] == pytest.approx(1 - hits[surest].mean())
    assert curve.aurc == pytest.approx(curve.risk.mean())


@given(rows)
@settings(max_examples=60, deadline=None)
def test_equal_confidence_counts_as_random_order(given_rows):
    sure, hits = np.array([float(one) for one, _ in given_rows]), np.array([float(hit) for _, hit in given_rows])
    order = np.random.default_rng(0).permutation(len(sure))
    assert RiskCoverage.of(sure, hits).aurc == pytest.approx(RiskCoverage.of(sure[order], hits[order]).aurc)
    assert RiskCoverage.of(np.ones(len(hits)), hits).aurc == pytest.approx(1 - hits.mean())


def test_a_perfect_order_has_no_excess():
    hits = np.array([1, 1, 1, 0, 0.0])
    assert RiskCoverage.of(np.arange(5, 0, -1.0), hits).excess == pytest.approx(0.0)
    assert RiskCoverage.of(np.arange(5.0), hits).excess > 0.3


def test_accuracy_at_a_coverage_and_coverage_at_an_accuracy():
    sure = np.linspace(1, 0.01, 100)
    hits = np.ones(100)
    hits[80:] = 0
    report = selective_report(sure, hits)
    at = {one["coverage"]: one for one in report["at_coverage"]}
    assert (at[0.8]["accuracy"], at[1.0]["accuracy"]) == (1.0, pytest.approx(0.8))
    assert at[0.8]["threshold"] == pytest.approx(sure[79])
    assert at[0.8]["interval"][0] > 0.9
    reached = {one["accuracy"]: one["coverage"] for one in report["at_accuracy"]}
    assert reached == pytest.approx({0.9: 0.88, 0.95: 0.84, 0.99: 0.80})


def test_an_accuracy_out_of_reach_is_left_out():
    assert selective_report(np.ones(50), np.zeros(50))["at_accuracy"] == []


def test_measures_of_confidence_are_ordered_by_their_area():
    hits = np.array([1, 1, 0, 0.0])
    found = by_source({"bad": np.arange(4.0), "good": -np.arange(4.0)}, hits)
    assert [one["confidence"] for one in found] == ["good", "bad"]


def test_confidence_of_an_answer_comes_from_its_tokens():
    found = confidence_of_tokens(np.log([0.9, 0.5, 0.8]))
    assert found["min"] == pytest.approx(0.5)
    assert found["mean"] == pytest.approx(2.2 / 3)
    assert found["product"] == pytest.approx(0.36)
    assert found["geometric_mean"] == pytest.approx(0.36 ** (1 / 3))
    assert confidence_of_tokens([]) == {}
    assert notes_of_tokens([0.0])["token_probability_min"] == 1.0
