"""Claims about calibration error and its relatives: they equal torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from tests.trainers.evaluation.confidence.simulated import drawn, rows, scores
from trainers.evaluation.confidence.calibrators import nll, softmax
from trainers.evaluation.confidence.reliability import (
    brier,
    brier_score,
    calibration_error,
    classwise_error,
    ece,
    reliability_bins,
    statistics_of,
)
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

seeds = st.integers(0, 10_000)


@given(seed=seeds, classes=st.integers(2, 6), bins=st.integers(2, 20), norm=st.sampled_from(["l1", "max"]))
@settings(max_examples=25, deadline=None)
def test_calibration_error_equals_torchmetrics(seed, classes, bins, norm):
    logits, right = drawn(80, classes, seed=seed)
    found = scores(logits * 2, right)
    sure = found.confidence(softmax(found.logits))
    ours = calibration_error(sure, found.hits, bins, "width", norm).value
    theirs = multiclass_calibration_error(
        torch.tensor(softmax(found.logits)), torch.tensor(right), num_classes=classes, n_bins=bins, norm=norm
    )
    assert ours == pytest.approx(float(theirs), abs=1e-6)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_classwise_error_is_the_binary_one_of_each_class(seed):
    logits, right = drawn(120, 3, seed=seed)
    probabilities = softmax(logits)
    # torchmetrics bins a binary model by the probability of class 1 where all rows are said to be of it
    for at, found in enumerate(classwise_error(probabilities, right, 10)):
        of_class = torch.tensor(probabilities[:, at])
        theirs = binary_calibration_error(of_class, torch.tensor((right == at).astype(int)), n_bins=10, norm="l1")
        assert found == pytest.approx(float(theirs), abs=1e-6)


@given(seed=seeds, classes=st.integers(2, 6))
@settings(max_examples=15, deadline=None)
def test_brier_score_and_loss_equal_scikit_learns(seed, classes):
    logits, right = drawn(60, classes, seed=seed)
    probabilities = softmax(logits)
    labels = list(range(classes))
    theirs = brier_score_loss(right, probabilities, labels=labels, scale_by_half=False)
    assert brier(probabilities, right).mean() == pytest.approx(theirs)
    assert nll(probabilities, right).mean() == pytest.approx(log_loss(right, probabilities, labels=labels))


def test_bins_of_equal_mass_hold_about_as_many_rows_each():
    logits, right = drawn(1_000, seed=1)
    found = scores(logits, right)
    sizes = [one.n for one in reliability_bins(softmax(logits).max(axis=1), found.hits, 10, "mass")]
    assert (len(sizes), min(sizes), max(sizes), sum(sizes)) == (10, 100, 100, 1_000)


def test_bins_of_equal_mass_put_up_with_equal_confidences():
    sure, hits = np.full(50, 0.7), np.repeat([1.0, 0.0], [35, 15])
    assert calibration_error(sure, hits, 15, "mass").value == pytest.approx(0.0)
    [only] = reliability_bins(sure, hits, 15, "mass")
    assert (only.n, only.accuracy) == (50, 0.7)
    assert only.interval[0] < 0.7 < only.interval[1]


def test_a_model_that_tells_true_probabilities_has_hardly_any_error_and_a_boastful_one_has_much():
    logits, right = drawn(20_000, seed=2)
    honest, boastful = scores(logits, right), scores(logits * 3, right)
    assert statistics_of(honest, softmax(logits))["ece"].value < 0.015
    assert statistics_of(boastful, softmax(logits * 3))["ece"].value > 0.1


def test_figures_taken_again_over_some_rows_are_those_of_these_rows():
    logits, right = drawn(300, seed=3)
    found = scores(logits * 2, right)
    some = np.arange(0, 300, 3)
    for name in ("ece", "brier", "nll"):
        part = found.take(some)
        again = statistics_of(part, softmax(part.logits))[name].value
        assert statistics_of(found, softmax(found.logits))[name].take(some).value == pytest.approx(again)


def test_metrics_concern_the_rows_that_have_a_known_label():
    logits, right = drawn(100, seed=4)
    whole = rows(logits, right)
    stranger = Prediction("x:1", "never seen", "label 0", logits=[0.0] * 4)
    with_stranger = Rows([*whole.predictions, stranger], whole.labels)
    assert ece(with_stranger).value == pytest.approx(ece(whole).value)
    assert brier_score(with_stranger).n == 101
    assert ece(Rows([Prediction("x:1", "a", "b")])) is None
