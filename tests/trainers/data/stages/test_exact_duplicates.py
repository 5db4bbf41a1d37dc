"""Rows that say the same as another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.exceptions import DataError
from tests.trainers.data.stages.whole_data import rejected, run, texts
from trainers.data.content import content_hashes
from trainers.data.record import Record, failure

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_the_first_of_equal_rows_stays_and_is_named(tmp_path: Path) -> None:
    rows = texts("one", "two", "One ", "three", "four", "five", "ONE", "six")
    after = run({"kind": "exact_duplicates"}, rows, tmp_path)
    assert rejected(after) == {
        "train:3": "exact_duplicates: repeats a train row (train:1)",
        "train:7": "exact_duplicates: repeats a train row (train:1)",
    }
    assert [record.place for record in after] == [record.place for record in rows]


def test_of_a_train_row_and_an_equal_test_row_the_train_row_goes(tmp_path: Path) -> None:
    rows = texts("alike", "alone", "seen") + texts("seen", split="validation") + texts("alike", "alike", split="test")
    assert rejected(run({"kind": "exact_duplicates"}, rows, tmp_path)) == {
        "train:1": "exact_duplicates: repeats a test row (test:1)",
        "train:3": "exact_duplicates: repeats a validation row (validation:1)",
    }
    everywhere = {"kind": "exact_duplicates", "reject_from": ["train", "test"]}
    assert rejected(run(everywhere, rows, tmp_path))["test:2"] == "exact_duplicates: repeats a test row (test:1)"


def test_equal_texts_with_different_labels_are_noted_as_conflict(tmp_path: Path) -> None:
    rows = texts(("same", "a"), ("same", "a"), ("same", "b"))
    after = run({"kind": "exact_duplicates"}, rows, tmp_path)
    assert [record.rejected is None for record in after] == [True, False, False]
    assert [record.notes.get("conflict") for record in after] == ["train:3", None, "train:1"]
    kept = run({"kind": "exact_duplicates", "with_label": True}, rows, tmp_path)
    assert list(rejected(kept)) == ["train:2"]


def test_rows_rejected_before_are_neither_looked_at_nor_lost(tmp_path: Path) -> None:
    rows = texts("same", "same", "same")
    rows[0].reject("earlier: reason")
    after = run({"kind": "exact_duplicates"}, rows, tmp_path)
    assert rejected(after) == {
        "train:1": "earlier: reason",
        "train:3": "exact_duplicates: repeats a train row (train:2)",
    }


def test_a_mistake_found_by_an_earlier_stage_is_raised_as_itself(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 7 is broken"):
        run({"kind": "exact_duplicates"}, [*texts("a", "b"), failure(DataError("line 7 is broken"))], tmp_path)


def test_what_is_compared_can_be_chosen() -> None:
    def chat(question: str, answer: str, **more: object) -> Record:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return Record({"messages": messages, **more})

    rows = [
        chat("Why?", "So."),
        chat("why", "SO"),
        chat("Why?", "Because."),
        chat("Why?", "So.", tools=[{"name": "x"}]),
    ]

    def alike(**how: object) -> list[int]:
        hashes = [tuple(row) for row in content_hashes(rows, **how).tolist()]  # type: ignore[arg-type]
        return [hashes.index(one) for one in hashes]

    assert alike() == [0, 1, 2, 3]
    assert alike(ignore=("case", "whitespace", "punctuation")) == [0, 0, 2, 3]
    assert alike(roles=["user"]) == [0, 1, 0, 0]
    assert content_hashes([Record({"text": "ﬁne", "weight": 2.0}), Record({"text": "fine"})])[0].tolist() == (
        content_hashes([Record({"text": "fine"})])[0].tolist()
    )
