"""Served probabilities are the calibrator's on the model's own scores, and answers say so."""

import json

import numpy as np
import pytest
import torch

from cluster.exceptions import ModelFolderError
from serving.classify import Classifier, answer, described
from tests.serving.conftest import write_folder_copy
from tests.serving.tiny_models import LABELS, TEXTS
from trainers.evaluation.confidence import Calibration, Scores
from trainers.evaluation.confidence.calibration import FILE
from trainers.evaluation.confidence.calibrators import softmax


def logits_of(folder, texts):
    model, tokenizer = folder.load(), folder.tokenizer()
    with torch.inference_mode():
        return np.concatenate([model(**tokenizer(text, return_tensors="pt")).logits.double().numpy() for text in texts])


def fitted(method, labels=LABELS):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 3)) * 4
    classes = (softmax(logits / 3).cumsum(1) > rng.random((200, 1))).argmax(1)
    keys = np.array([str(at) for at in range(200)])
    return Calibration.fit(Scores(logits, classes, tuple(labels), keys, np.arange(200)), method, alpha=0.2)


@pytest.fixture(scope="module", params=["temperature", "platt", "isotonic"])
def calibrated(request, classifier_folder, tmp_path_factory):
    path = write_folder_copy(classifier_folder.path, tmp_path_factory.mktemp("calibrated") / "desk")
    calibration = fitted(request.param)
    (path / FILE).write_text(json.dumps(calibration.as_json()))
    return Classifier(str(path)), calibration


def test_served_probabilities_are_the_calibrators(calibrated, classifier_folder):
    classifier, calibration = calibrated
    logits = logits_of(classifier_folder, TEXTS)
    for row, expected, scores in zip(classifier(TEXTS), calibration(logits), logits, strict=True):
        assert row.probabilities == pytest.approx(expected.tolist(), abs=1e-5)
        assert row.best == scores.argmax()


def test_label_sets_are_those_of_the_fitted_threshold(calibrated, classifier_folder):
    classifier, calibration = calibrated
    inside = calibration.conformal.sets(softmax(logits_of(classifier_folder, TEXTS)))
    assert [row.label_set for row in classifier(TEXTS)] == [np.flatnonzero(row).tolist() for row in inside]


def test_an_answer_carries_its_confidence_and_says_where_it_comes_from(calibrated):
    classifier, calibration = calibrated
    [scored] = classifier(TEXTS[:1])
    found = answer(0, scored, LABELS)
    assert found["confidence"] == found["probability"] == found["probabilities"][found["label"]]
    assert found["label"] in found["label_set"]
    said = described(classifier.calibration)
    assert (said["calibrated"], said["method"], said["rows"]) == (True, calibration.calibrator.kind, 200)
    assert said["label_sets"] == {"method": "lac", "coverage": 0.8}


def test_without_a_calibration_probabilities_are_the_models_own(classifier_folder):
    classifier = Classifier(str(classifier_folder.path))
    [scored] = classifier(TEXTS[:1])
    assert scored.probabilities == pytest.approx(softmax(logits_of(classifier_folder, TEXTS[:1]))[0].tolist(), abs=1e-5)
    assert described(classifier.calibration) == {"calibrated": False}
    assert "label_set" not in answer(0, scored, LABELS)


def test_a_calibration_of_other_labels_is_refused_before_anything_is_served(classifier_folder, tmp_path):
    path = write_folder_copy(classifier_folder.path, tmp_path / "desk")
    (path / FILE).write_text(json.dumps(fitted("temperature", ["a", "b", "c"]).as_json()))
    with pytest.raises(ModelFolderError, match="labels that are not the model's"):
        Classifier(str(path))
