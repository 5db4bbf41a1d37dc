"""Claims about calibration.json: it says what was fitted, on which rows, and is never judged by those."""

import json

import numpy as np
import pytest

from cluster.exceptions import DataError, ModelFolderError
from tests.trainers.evaluation.confidence.simulated import drawn, rows, scores
from trainers.evaluation.confidence import Calibration, load_calibration, report, scores_of, sentences
from trainers.evaluation.confidence.calibration import FILE, MOST_KEYS
from trainers.evaluation.confidence.page import render
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    logits, classes = drawn(1_000, seed=1)
    return Calibration.fit(scores_of(rows(logits * 3, classes, "validation")), sources=["validation.csv"])


@pytest.fixture(scope="module")
def test_rows() -> Rows:
    logits, classes = drawn(1_000, seed=2)
    return rows(logits * 3, classes, "test")


def test_it_is_read_back_from_the_folder_as_it_was(fitted, tmp_path):
    (tmp_path / FILE).write_text(json.dumps(fitted.as_json()))
    again = load_calibration(tmp_path, fitted.labels)
    logits, _ = drawn(50, seed=3)
    np.testing.assert_array_equal(again(logits), fitted(logits))
    assert (again.fingerprint, again.conformal, again.sources) == (
        fitted.fingerprint,
        fitted.conformal,
        ("validation.csv",),
    )
    assert load_calibration(tmp_path / "elsewhere", []) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "witchcraft"}, "witchcraft"),
        ({"version": 9}, "version 9"),
        ({"labels": ["a", "b"]}, "2 labels that are not the model's 4"),
        ({"parameters": {}}, "temperature"),
    ],
)
def test_a_file_that_is_not_the_models_is_refused(fitted, tmp_path, change, said):
    (tmp_path / FILE).write_text(json.dumps(fitted.as_json() | change))
    with pytest.raises(ModelFolderError, match=rf"calibration\.json: .*{said}.*mobula evaluate --calibrate"):
        load_calibration(tmp_path, fitted.labels)


def test_the_rows_it_was_fitted_on_are_refused_as_a_test_set(fitted):
    logits, classes = drawn(1_000, seed=1)
    same = rows(logits * 3, classes, "validation")
    with pytest.raises(DataError, match=r"fitted on 100% of these 1,000 rows \(validation\.csv\)"):
        fitted.refuse_seen(scores_of(same).keys)
    found = report(same, calibration=fitted)
    assert "fitted on 100%" in found["calibration"]["refused"]
    assert "calibrated" not in found["calibration"]
    assert "conformal" not in found
    assert any("Not calibrated: the calibrator was fitted on" in line for line in sentences(found))


def test_another_label_case_or_spacing_does_not_make_a_row_new(fitted):
    one = Prediction("x:1", "label 1", "label 1", prompt="Validation   7", logits=[0.0] * 4)
    [old] = scores_of(Rows([one], fitted.labels)).keys
    assert fitted.seen([old]).all()


def test_a_few_rows_in_common_are_left_out(fitted, test_rows):
    logits, classes = drawn(1_000, seed=1)
    shared = rows(logits[:10] * 3, classes[:10], "validation")
    found = report(Rows([*test_rows.predictions, *shared.predictions], test_rows.labels), calibration=fitted)
    assert found["calibration"]["left_out"] == 10
    assert found["calibration"]["n"] == 1_000


def test_rows_in_common_are_found_by_a_sample_where_there_are_many():
    logits, classes = drawn(3 * MOST_KEYS)
    rng = np.random.default_rng(0)
    whole = scores(logits, classes)
    keys = np.array([f"{one:016x}" for one in rng.integers(0, 2**60, len(classes))])
    fitted = Calibration.fit(type(whole)(whole.logits, classes, whole.labels, keys, whole.index), "temperature")
    assert len(fitted.keys) == MOST_KEYS
    fresh = np.array([f"{one:016x}" for one in rng.integers(0, 2**60, 4_000)])
    mixed = np.concatenate([rng.choice(keys, 1_000, replace=False), fresh[:3_000]])
    assert fitted.seen_share(mixed) == pytest.approx(0.25, abs=0.05)
    assert fitted.seen_share(fresh) == 0.0


def test_calibrating_takes_the_error_away_and_promises_are_kept(fitted, test_rows):
    found = report(test_rows, calibration=fitted)
    before, after = found["calibration"]["as_it_is"], found["calibration"]["calibrated"]
    assert before["figures"]["ece"]["value"] > 0.1
    assert after["figures"]["ece"]["value"] < 0.05
    assert after["figures"]["nll"]["value"] < before["figures"]["nll"]["value"]
    assert before["figures"]["ece"]["low"] < before["figures"]["ece"]["value"] < before["figures"]["ece"]["high"]
    assert before["if_calibrated"]["p_value"] < 0.01
    assert after["if_calibrated"]["p_value"] > 0.05
    assert "too sure" in found["calibration"]["words"]
    assert found["conformal"]["coverage"] == pytest.approx(0.9, abs=0.05)
    assert found["selective"]["calibrated"]
    json.dumps(found, allow_nan=False)


def test_without_a_calibrator_the_models_own_confidence_is_judged(test_rows):
    found = report(test_rows)
    assert set(found) == {"calibration", "selective"}
    assert found["calibration"]["calibrator"] is None


def test_answers_of_a_causal_model_are_judged_by_the_probability_of_their_tokens():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.05, 0.95, 400)
    right = rng.random(400) < sure
    answers = [
        Prediction(
            f"x:{at}", "yes", "yes " if hit else "no", probability=p, prompt=str(at), notes={"token_probability_min": p}
        )
        for at, (p, hit) in enumerate(zip(sure.tolist(), right.tolist(), strict=True))
    ]
    found = report(Rows([*answers, Prediction("x:9", "yes", "yes")]))
    assert found["calibration"]["of"] == "answers"
    assert found["calibration"]["n"] == 400
    assert found["calibration"]["as_it_is"]["if_calibrated"]["p_value"] > 0.05
    assert {one["confidence"] for one in found["selective"]["sources"]} == {"probability", "token_probability_min"}
    assert Calibration.fit(scores_of(Rows(answers)), "isotonic").conformal is None


def test_rows_from_elsewhere_are_reported_best_score_first(test_rows):
    inside = np.random.default_rng(0).normal(size=100)
    found = report(test_rows, strangeness={"energy": (inside, inside), "mahalanobis": (inside, inside + 3)})
    assert list(found["ood"]["scores"]) == ["mahalanobis", "energy"]
    assert found["ood"]["rows_from_elsewhere"] == 100


def test_predictions_without_confidence_have_no_sections():
    assert report(Rows([Prediction("x:1", "a", "b")] * 50)) == {}


def test_the_page_shows_the_figures_and_holds_no_markup_of_the_rows(fitted, test_rows):
    inside = np.random.default_rng(0).normal(size=100)
    found = report(test_rows, calibration=fitted, strangeness={"energy": (inside, inside + 1)})
    page = render(found)
    for said in (
        "calibration error (ECE)",
        "Answering only where it is sure",
        "Sets of labels",
        "AUROC",
        "validation.csv",
    ):
        assert said in page
    assert page.count("<svg") == 4
    assert render({}) == ""
    refused = {**found["calibration"], "refused": "fitted on <b>these</b> rows"}
    assert "&lt;b&gt;these" in render({"calibration": refused})
