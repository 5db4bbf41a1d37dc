"""Claims about label sets: they hold the right label as often as promised."""

import numpy as np
import pytest

from tests.trainers.evaluation.confidence.simulated import drawn
from trainers.evaluation.confidence.calibrators import softmax
from trainers.evaluation.confidence.conformal import Conformal, aps, coverage_report, raps

KINDS = ("lac", "aps", "raps")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.1, 0.25])
def test_coverage_over_many_simulated_sets_is_what_is_promised(kind, alpha):
    n, fresh, repeats = 99, 200, 1_500
    logits, right = drawn((n + fresh) * repeats, 10, 1.5, seed=1)
    # a model that is wrong about its own probabilities: the guarantee does not need a good one
    probabilities = softmax(logits * 2 + 0.5 * np.sin(np.arange(10))).reshape(repeats, n + fresh, 10)
    right = right.reshape(repeats, n + fresh)
    within, held = [], []
    for rows, classes in zip(probabilities, right, strict=True):
        fitted, each = Conformal.fit(kind, alpha, rows[:n], classes[:n]), np.arange(fresh)
        within.append(fitted.within(rows[n:])[each, classes[n:]].mean())
        held.append(fitted.sets(rows[n:])[each, classes[n:]].mean())
    spread = 4 * np.std(within) / np.sqrt(repeats)
    assert 1 - alpha - spread <= np.mean(within) <= 1 - alpha + 1 / (n + 1) + spread
    assert np.mean(held) >= np.mean(within)


@pytest.mark.parametrize("kind", KINDS)
def test_one_set_of_rows_keeps_within_the_spread_that_theory_names(kind):
    """Given the fitted rows, coverage is Beta distributed (Angelopoulos and Bates 2023, arXiv 2107.07511, section 3.2)."""
    logits, right = drawn(21_000, 8, seed=2)
    fitted = Conformal.fit(kind, 0.1, softmax(logits[:1_000]), right[:1_000])
    report = coverage_report(fitted, softmax(logits[1_000:]), right[1_000:], tuple("abcdefgh"))
    assert report["coverage"] == pytest.approx(0.9, abs=0.04)
    assert sum(report["sizes"].values()) == 20_000
    assert report["classes"][0]["coverage"] <= report["classes"][-1]["coverage"]


def test_lac_gives_the_smallest_sets_and_aps_follows_how_hard_a_row_is():
    logits, right = drawn(6_000, 10, seed=3)
    probabilities = softmax(logits)
    sets = {
        kind: Conformal.fit(kind, 0.1, probabilities[:3_000], right[:3_000]).sets(probabilities[3_000:])
        for kind in KINDS
    }
    assert sets["lac"].sum() <= min(sets["aps"].sum(), sets["raps"].sum())
    hard = probabilities[3_000:].max(axis=1) < 0.4
    held = {kind: found[np.arange(3_000), right[3_000:]][hard].mean() for kind, found in sets.items()}
    assert held["aps"] > held["lac"]


def test_scores_of_a_small_case_are_those_worked_out_by_hand():
    row = np.array([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(aps(row), [[1.0, 0.5, 0.8]])
    many = np.full((1, 10), 0.1)
    np.testing.assert_allclose(raps(many) - aps(many), [[0, 0, 0, 0, 0, 0.01, 0.02, 0.03, 0.04, 0.05]])


def test_too_few_rows_for_a_promise_mean_that_every_label_is_in_the_set():
    logits, right = drawn(5, 4)
    fitted = Conformal.fit("lac", 0.1, softmax(logits), right)
    assert fitted.sets(softmax(logits)).all()
    assert Conformal.from_json(fitted.as_json()) == fitted


def test_no_set_is_empty():
    logits, right = drawn(2_000, 4, 5.0)
    fitted = Conformal.fit("lac", 0.3, softmax(logits), right)
    assert fitted.sets(softmax(logits * 0.01)).any(axis=1).all()
