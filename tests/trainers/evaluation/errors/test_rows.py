"""Claims about single rows: what they are taken for, what training said of rows like them, which labels look wrong."""

import numpy as np
import pytest

from tests.trainers.evaluation.errors.planted import LABELS, desk, training
from trainers.evaluation.confidence.rows_of_run import Texts
from trainers.evaluation.errors import report
from trainers.evaluation.errors.confusions import confusions, doubtful_labels
from trainers.evaluation.errors.page import render
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistics.intervals import wilson


def answered(*pairs: tuple[str, str, str]) -> Rows:
    return Rows([Prediction(f"x:{at}", want, got, prompt=text) for at, (text, want, got) in enumerate(pairs)], LABELS)


def test_confusions_are_ranked_with_rate_and_interval():
    rows = answered(
        *[("t", "refund", "invoice")] * 3, *[("t", "refund", "refund")] * 7,
        *[("t", "invoice", "refund")], *[("t", "invoice", "invoice")] * 9,
    )  # fmt: skip
    first, second = confusions(rows)
    assert (first["reference"], first["output"], first["n"], first["of"], first["reverse"]) == (
        "refund",
        "invoice",
        3,
        10,
        1,
    )
    assert (first["rate"], second["rate"]) == (0.3, 0.1)
    assert first["interval"] == pytest.approx([wilson(3, 10).low, wilson(3, 10).high])


def test_free_answers_have_no_confusions():
    assert confusions(answered(*[("t", f"answer {at}", "no idea") for at in range(50)])) == []


def test_wrong_rows_are_held_against_the_training_rows_most_like_them():
    rows = answered(
        ("where is the lamp I ordered", "delivery", "refund"),
        ("please refund the watch I bought", "refund", "refund"),
        ("send me the bill for the chair", "invoice", "delivery"),
    )
    train = Texts(
        ["where is the lamp that I ordered", "please refund the clock I bought", "send me the bill for the chairs"],
        ["refund", "refund", "invoice"],
        ["t:1", "t:2", "t:3"],
        3,
    )
    found = report(rows, train=train)["neighbours"]
    assert found["wrong_rows"] == 2
    assert found["nearest_label"] == {"expected": 1, "given": 1, "other": 0}
    nearest = {row["text"]: row["nearest"][0]["place"] for row in found["rows"]}
    assert nearest == {"where is the lamp I ordered": "t:1", "send me the bill for the chair": "t:3"}


def test_the_same_text_with_another_label_in_training_is_a_conflict():
    rows = answered(("Where is  my LAMP", "delivery", "refund"), ("send the bill", "invoice", "invoice"))
    train = Texts(["where is my lamp", "send the bill"], ["refund", "invoice"], ["t:1", "t:2"], 2)
    found = report(rows, train=train)["conflicts"]
    assert found["n"] == 1
    assert found["rows"][0]["nearest"][0] == {
        "place": "t:1",
        "text": "where is my lamp",
        "label": "refund",
        "similarity": 1.0,
    }


def test_rows_that_contradict_each_other_are_named():
    rows = answered(("hello", "refund", "refund"), ("Hello ", "invoice", "refund"), ("bye", "refund", "refund"))
    found = report(rows)["own_conflicts"]
    assert found["n"] == 2
    assert found["rows"][0]["labels"] == ["invoice", "refund"]


def test_planted_wrong_labels_are_suspected():
    rng = np.random.default_rng(0)
    rows, planted = [], set()
    for at in range(400):
        true = int(rng.integers(3))
        scores = rng.normal(size=3)
        scores[true] += 6
        label = true
        if at % 40 == 0:
            label = (true + 1) % 3
            planted.add(f"x:{at}")
        rows.append(
            Prediction(f"x:{at}", LABELS[label], LABELS[int(scores.argmax())], logits=scores.tolist(), prompt="t")
        )
    found = doubtful_labels(Rows(rows, LABELS))
    named = {row["place"] for row in found["rows"]}
    assert len(named & planted) >= 8  # the model is less sure of some than it usually is
    assert len(named - planted) <= 1
    assert found["rows"][0]["margin"] >= found["rows"][-1]["margin"]


def test_labels_that_training_contradicts_are_what_a_slice_is_advised_to_look_at():
    rows = desk(800, lambda fact: 0.8 if fact["label"] == "invoice" else 0.05, sarcastic=0.0)
    train = training(600)
    mislabelled = ["refund" if label == "invoice" else label for label in train.labels]
    found = report(rows, train=Texts(train.texts, mislabelled, train.places, 600))
    helps = " ".join(one["helps"] for one in found["slices"])
    assert "invoice taken for refund" in helps
    assert "the most similar training row has the label that the model gave" in helps


def test_rows_that_were_cut_are_advised_a_longer_model():
    cut = [
        Prediction(f"x:{at}", "a", "b" if at < 60 else "a", was_cut=at < 80, prompt=f"text {at}") for at in range(400)
    ]
    found = report(Rows(cut))
    [one] = [one for one in found["slices"] if "cut" in one["name"]]
    assert "raise data.max_length" in one["helps"]


def test_the_page_tells_slices_and_rows_without_their_markup():
    rows = desk(600, lambda fact: 0.7 if fact["label"] == "invoice" else 0.05)
    hostile = Prediction("x:1", "refund", "invoice", prompt="<script>alert(1)</script>", logits=[0.0, 0.0, 9.0])
    page = render(report(Rows([*rows.predictions, hostile], LABELS), train=training(300)))
    assert "the label is invoice" in page
    assert "what would help" in page
    assert "Nearest training rows" in page
    assert "<script>" not in page
    assert render({}) == ""
    calm = report(desk(300, lambda fact: 0.1, seed=5))
    assert "none is shown to go wrong more often" in render(calm | {"slices": []})
