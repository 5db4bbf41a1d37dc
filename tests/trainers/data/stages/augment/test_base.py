"""What holds for every augmenting stage, seen on noise."""

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster.config import DataConfig
from cluster.config.stages import Stage
from tests.trainers.data.stages.augment.rows import QUESTIONS, chat, labelled, made, run, texts

NOISE = {"kind": "noise", "delete": 0.2}


def test_originals_stay_and_their_copies_follow_them_tagged():
    rows = run(labelled(*QUESTIONS), **NOISE, copies=2)
    assert [row.place for row in rows] == [f"rows:{number}" for number in range(4) for _ in range(3)]
    assert texts(rows)[::3] == QUESTIONS
    assert all(row.notes == {"augmented": "noise"} and row.label == "card" for row in made(rows))
    assert all(row.changes == ["noise"] and row.origin == row.place for row in made(rows))
    assert len(set(texts(rows))) == 12


def test_a_copy_that_cannot_differ_is_not_emitted():
    assert texts(run(labelled("123"), kind="noise", delete=0.9)) == ["123"]
    once = run(labelled("yes please"), kind="noise", delete=0, typos=0, swap=1.0, copies=3)
    assert texts(once) == ["yes please", "please yes"]


def test_draws_depend_on_seed_stage_and_row_and_not_on_the_rows_beside_it():
    together = texts(run(labelled(*QUESTIONS), **NOISE))
    alone = [text for record in labelled(*QUESTIONS) for text in texts(run([record], **NOISE))]
    assert alone == together
    assert texts(run(labelled(*QUESTIONS), **NOISE, seed=1)) != together
    assert texts(run(labelled(*QUESTIONS), **NOISE, number=1)) != together


def test_validation_and_test_rows_are_never_augmented():
    rows = [row for split in ("validation", "test") for row in labelled(*QUESTIONS, split=split)]
    assert run(rows, **NOISE) == rows
    with pytest.raises(ValidationError, match="Input should be 'train'"):
        TypeAdapter(Stage).validate_python({**NOISE, "splits": ["validation"]})


def test_rows_are_split_before_they_are_augmented():
    split = {"kind": "split", "test": 0.2}
    assert DataConfig(train="rows.csv", stages=[split, NOISE]).stages
    with pytest.raises(ValidationError, match=r"split stands behind noise, .* put split first"):
        DataConfig(train="rows.csv", stages=[NOISE, split])


def test_only_the_chosen_classes_and_slices_are_augmented():
    rows = labelled(QUESTIONS[0], label="card", columns={"lang": "en"})
    rows += labelled(QUESTIONS[1], label="refund", notes={"lang": "de"})
    assert [row.label for row in made(run(rows, **NOISE, labels=["refund"]))] == ["refund"]
    assert [row.label for row in made(run(rows, **NOISE, where={"lang": "en"}))] == ["card"]
    assert len(made(run(rows, **NOISE, where={"lang": ["en", "de"]}))) == 2
    assert not made(run(rows, **NOISE, where={"lang": "en"}, labels=["refund"]))


def test_a_share_of_the_rows_is_chosen():
    rows = labelled(*(f"{number} is the number of this row" for number in range(400)))
    assert 70 < len(made(run(rows, **NOISE, share=0.25))) < 130


def test_stages_start_from_the_originals_unless_they_are_chained():
    rows = run(labelled(*QUESTIONS), **NOISE)
    assert len(run(rows, **NOISE, number=1)) == 12
    assert len(run(rows, **NOISE, number=1, chain=True)) == 16


def test_answers_are_changed_only_when_asked_for():
    answer = "It takes about five working days to come."
    [_, copy] = run([chat(QUESTIONS[0], answer)], **NOISE)
    assert copy.texts(["assistant"]) == [answer] and copy.texts(["user"]) != [QUESTIONS[0]]
    [_, copy] = run([chat(QUESTIONS[0], answer)], **NOISE, roles=["assistant"])
    assert copy.texts(["assistant"]) != [answer] and copy.texts(["user"]) == [QUESTIONS[0]]
