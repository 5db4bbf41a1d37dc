"""No row that is measured on may have been learnt from."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

from cluster.exceptions import DataError
from tests.trainers.data.stages.whole_data import rejected, run, run_here, texts
from trainers.data.record import Record

QUESTION = "How do I find my new card, which was sent last week?"
NEARLY = "How do I find my new card, which was sent last weekend?"


def leaking() -> list[Record]:
    return [
        *texts("Why was I charged a fee?", NEARLY, "Hi", "Top up failed"),
        *texts("What is the exchange rate today?", "HI", split="validation"),
        *texts("Is there a limit to top-ups?", QUESTION, "hi", split="test"),
    ]


@pytest.mark.usefixtures("ray_cluster")
def test_a_leak_fails_the_run_and_shows_the_closest_pairs(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        run({"kind": "leak_check"}, leaking(), tmp_path)
    said = str(caught.value)
    assert said.startswith("2 of 3 test rows and 1 of 2 validation rows repeat training rows (2 of them)")
    assert "validation:2 'HI' and train:3 'Hi', similarity 1.00; test:3 'hi' and train:3 'Hi', similarity 1.00" in said
    assert f"test:2 '{QUESTION}' and train:2 '{NEARLY}', similarity 0.9" in said


def test_training_rows_may_be_rejected_instead() -> None:
    after = run_here({"kind": "leak_check", "action": "reject_train"}, leaking())
    found = rejected(after)
    assert list(found) == ["train:2", "train:3"]
    assert found["train:2"].startswith("leak_check: a test row repeats it (test:2, similarity 0.9")
    assert not rejected(run_here({"kind": "leak_check"}, [record for record in after if record.rejected is None]))


def test_rows_measured_on_may_be_noted_instead() -> None:
    after = run_here({"kind": "leak_check", "action": "note"}, leaking())
    assert not rejected(after)
    assert {record.place: record.notes["leak"] for record in after if record.notes} == {
        "validation:2": "train:3", "test:2": "train:2", "test:3": "train:3",
    }  # fmt: skip


def test_a_threshold_of_one_sees_exact_repeats_only() -> None:
    after = run_here({"kind": "leak_check", "action": "note", "threshold": 1.0}, leaking())
    assert [record.place for record in after if record.notes] == ["validation:2", "test:3"]


def test_rows_that_repeat_each_other_within_a_split_are_no_leak() -> None:
    rows = [*texts("same", "same"), *texts("other", "other", split="test"), *texts("other", split="validation")]
    assert [record.notes for record in run_here({"kind": "leak_check"}, rows)] == [{}] * 5


def test_duplicates_left_out_of_real_data_leave_no_leak(shared_data: Path) -> None:
    rows = []
    for split in ("train", "test"):
        with (shared_data / "banking77" / f"{split}.csv").open(newline="") as file:
            rows += texts(*(row["text"] for row in itertools.islice(csv.DictReader(file), 3000)), split=split)
    with pytest.raises(DataError, match=r"\d+ of 3000 test rows repeat training rows"):
        run_here({"kind": "leak_check"}, rows)
    clean = [record for record in run_here({"kind": "near_duplicates"}, rows) if record.rejected is None]
    assert sum(record.split == "test" for record in clean) == 3000
    run_here({"kind": "leak_check"}, clean)
