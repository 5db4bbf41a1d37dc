"""Claims about calibrators: they equal the libraries, recover what is known, and travel as plain numbers."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit, softmax
from sklearn.calibration import _SigmoidCalibration, _TemperatureScaling
from sklearn.isotonic import IsotonicRegression

from cluster.exceptions import DataError
from tests.trainers.evaluation.confidence.simulated import drawn
from trainers.evaluation.confidence.calibrators import (
    CALIBRATORS,
    AsItIs,
    Isotonic,
    Platt,
    Temperature,
    choose,
    log_odds,
    nll,
)

FITTED = (AsItIs, Temperature, Platt, Isotonic)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_temperature_scaling_recovers_a_known_temperature(temperature):
    logits, classes = drawn(20_000)
    assert Temperature.fit(logits * temperature, classes).temperature == pytest.approx(temperature, rel=0.03)


def test_temperature_equals_scikit_learns():
    logits, classes = drawn(500, seed=3)
    theirs = _TemperatureScaling().fit(logits * 3, classes.astype(float))
    assert Temperature.fit(logits * 3, classes).temperature == pytest.approx(1 / theirs.beta_, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 5])
def test_platts_curves_equal_scikit_learns(classes):
    logits, right = drawn(600, classes, seed=4)
    ours = Platt.fit(logits, right)
    odds = logits[:, 1:] - logits[:, :1] if classes == 2 else log_odds(logits)
    for column, at in enumerate([1] if classes == 2 else range(classes)):
        theirs = _SigmoidCalibration().fit(odds[:, column], (right == at).astype(float))
        assert (ours.slope[column], ours.intercept[column]) == pytest.approx((-theirs.a_, -theirs.b_), abs=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_isotonic_lines_equal_scikit_learns_but_for_the_floor(classes):
    logits, right = drawn(600, classes, seed=5)
    fresh, _ = drawn(100, classes, seed=6)
    ours = Isotonic.fit(logits, right)
    odds, asked = log_odds(logits), log_odds(fresh)
    used = [1] if classes == 2 else list(range(classes))
    lines = [IsotonicRegression(out_of_bounds="clip").fit(odds[:, at], right == at) for at in used]
    raw = np.stack([line.predict(asked[:, at]) for line, at in zip(lines, used, strict=True)], axis=1)
    raw = np.clip(raw, ours.floor, 1 - ours.floor)
    expected = np.hstack([1 - raw, raw]) if classes == 2 else raw / raw.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours(fresh), expected, atol=1e-9)


def test_isotonic_never_falls_with_the_score():
    logits, right = drawn(400, 2, seed=7)
    asked = np.stack([np.zeros(200), np.linspace(-12, 12, 200)], axis=1)
    assert (np.diff(Isotonic.fit(logits, right)(asked)[:, 1]) >= 0).all()


@pytest.mark.parametrize("kind", FITTED, ids=lambda kind: kind.kind)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 6), scale=st.floats(0.1, 60))
@settings(max_examples=15, deadline=None)
def test_probabilities_are_probabilities_and_survive_json(kind, seed, classes, scale):
    logits, right = drawn(60, classes, scale, seed)
    fitted = kind.fit(logits, right)
    fresh, _ = drawn(20, classes, 3 * scale, seed + 1)
    found = fitted(fresh)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    again = kind.from_parameters(json.loads(json.dumps(fitted.parameters())))
    np.testing.assert_array_equal(again(fresh), found)


def test_log_odds_are_exact_where_a_class_is_all_but_certain():
    logits = np.array([[60.0, 0.0, 0.0]])
    assert log_odds(logits)[0, 0] == pytest.approx(60 - np.log(2))
    assert log_odds(np.array([[1.0, 2.0, 3.0]]))[0] == pytest.approx(logit(softmax([1.0, 2.0, 3.0])))


def test_the_simplest_calibrator_that_does_as_well_as_any_on_rows_left_out_is_chosen():
    logits, classes = drawn(2_000, seed=8)
    fitted, losses = choose(logits * 3, classes)
    assert fitted.kind == "temperature"
    assert set(losses) == set(CALIBRATORS)
    assert losses["temperature"] < losses["none"]
    assert choose(logits * 3, classes, "platt")[0].kind == "platt"


def test_a_shifted_class_is_seen_by_platt_and_not_by_a_temperature():
    logits, classes = drawn(4_000, seed=9)
    fitted, _ = choose(logits + np.array([3.0, 0, 0, 0]), classes)
    assert fitted.kind in ("platt", "isotonic")


def test_a_calibrated_model_is_left_as_it_is_or_nearly_so():
    logits, classes = drawn(4_000, seed=10)
    fitted, _ = choose(logits, classes)
    fresh, right = drawn(4_000, seed=11)
    assert nll(fitted(fresh), right).mean() == pytest.approx(nll(softmax(fresh, axis=1), right).mean(), abs=0.01)


def test_a_class_that_no_row_has_keeps_a_chance():
    logits, classes = drawn(300, seed=12)
    seen = classes != 3
    for kind in (Platt, Isotonic):
        assert kind.fit(logits[seen], classes[seen])(logits)[:, 3].min() > 0


@pytest.mark.parametrize(("rows", "scale", "said"), [(5, 1.0, "5 rows are too few"), (50, np.nan, "no numbers")])
def test_what_cannot_be_calibrated_is_said(rows, scale, said):
    logits, classes = drawn(rows)
    with pytest.raises(DataError, match=said):
        choose(logits * scale, classes)
