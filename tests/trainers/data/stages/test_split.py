"""Which rows are learnt from and which are measured on."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster.config.stages import Stage
from cluster.exceptions import DataError
from tests.trainers.data.stages.whole_data import run, run_here, texts
from trainers.data.record import Record


def split(records: list[Record], seed: int = 0, **settings: Any) -> list[Record]:
    return run_here({"kind": "split", **settings}, records, seed)


def sides(records: list[Record]) -> dict[str, int]:
    return dict(collections.Counter(record.split for record in records))


def numbered(count: int, **columns: Any) -> list[Record]:
    """Rows of different texts; columns are functions of the number."""
    records = texts(*(f"text {number}" for number in range(count)))
    for number, record in enumerate(records):
        record.columns = {name: value(number) for name, value in columns.items()}
    return records


@pytest.mark.usefixtures("ray_cluster")
def test_only_training_rows_are_moved_and_their_order_stays(tmp_path: Path) -> None:
    rows = [*numbered(17), *texts("own", split="test")]
    after = run({"kind": "split", "validation": 0.2}, rows, tmp_path)
    assert sides(after) == {"train": 14, "validation": 3, "test": 1}
    assert [record.place for record in after] == [record.place for record in rows]


def test_shares_are_met() -> None:
    assert sides(split(numbered(1000), validation=0.1, test=0.25)) == {"train": 650, "validation": 100, "test": 250}


def test_the_seed_and_the_content_decide_and_the_place_does_not() -> None:
    rows = numbered(100)
    moved = [
        {record.text() for record in split(order, 1, test=0.3) if record.split == "test"}
        for order in (rows, rows[::-1])
    ]
    assert moved[0] == moved[1]
    assert moved[0] != {record.text() for record in split(rows, 2, test=0.3) if record.split == "test"}


def test_rows_that_say_the_same_go_to_the_same_side() -> None:
    rows = texts(*(spelling for number in range(50) for spelling in (f"text {number}", f"TEXT  {number}")))
    for by in ("random", "stratified"):
        for number, record in enumerate(rows):
            record.row["label"] = "ab"[number % 2]
        after = split(rows, test=0.5, by={"kind": by})
        assert all(one.split == other.split for one, other in zip(after[::2], after[1::2], strict=True))
        assert sides(after) == {"train": 50, "test": 50}


def test_stratified_sides_have_the_classes_in_the_same_shares() -> None:
    rows = texts(*((f"text {number}", "rare" if number % 10 == 0 else "common") for number in range(200)))
    after = split(rows, test=0.2, validation=0.1, by={"kind": "stratified"})
    assert collections.Counter((record.split, record.label) for record in after) == {
        ("train", "common"): 126, ("train", "rare"): 14, ("test", "common"): 36,
        ("test", "rare"): 4, ("validation", "common"): 18, ("validation", "rare"): 2,
    }  # fmt: skip
    many = texts(*((f"text {number}", f"class {number % 40}") for number in range(120)))
    assert sides(split(many, test=0.1, by={"kind": "stratified"})) == {"train": 108, "test": 12}


def test_no_group_is_on_both_sides_even_where_groups_share_a_text() -> None:
    rows = numbered(300, user=lambda number: number // 3)
    rows[0].row["text"] = rows[299].row["text"] = "hello"
    after = split(rows, test=0.3, by={"kind": "group", "column": "user"})
    of_user: dict[int, set[str]] = collections.defaultdict(set)
    for record in after:
        of_user[record.columns["user"]].add(record.split)
    assert all(len(found) == 1 for found in of_user.values())
    assert of_user[0] == of_user[99]
    assert abs(sides(after)["test"] - 90) <= 3


def test_by_time_the_latest_rows_are_measured_on() -> None:
    rows = numbered(100, day=lambda number: f"2024-03-{number % 28 + 1:02}")
    after = split(rows, test=0.25, validation=0.25, by={"kind": "time", "column": "day"})
    days = {side: {record.columns["day"] for record in after if record.split == side} for side in sides(after)}
    assert max(days["train"]) < min(days["validation"]) <= max(days["validation"]) < min(days["test"])
    assert abs(sides(after)["test"] - 25) <= 3 and abs(sides(after)["validation"] - 25) <= 3


def test_a_row_without_the_column_is_named_or_rejected() -> None:
    rows = numbered(10, day=lambda number: number)
    rows[4].columns = {"day": "some day"}
    settings = {"test": 0.2, "by": {"kind": "time", "column": "day"}}
    with pytest.raises(DataError, match="train:5: day is 'some day', neither a number nor an ISO date"):
        split(rows, **settings)
    after = split(rows, **settings, on_error="reject")
    assert after[4].rejected == "split: day is 'some day', neither a number nor an ISO date"


def test_a_side_that_would_be_empty_is_refused() -> None:
    rows = numbered(10, user=lambda number: "all")
    with pytest.raises(DataError, match="leaves no row for test of 10 rows in 1 sets"):
        split(rows, test=0.2, by={"kind": "group", "column": "user"})


def test_every_row_is_in_one_fold_and_folds_have_the_classes_in_the_same_shares() -> None:
    rows = texts(*((f"text {number % 90}", "rare" if number % 90 < 10 else "common") for number in range(100)))
    held: collections.Counter[str] = collections.Counter()
    for fold in range(5):
        after = run_here({"kind": "kfold", "fold": fold}, rows)
        moved = [record for record in after if record.split == "validation"]
        assert len(moved) == 20 and sum(record.label == "rare" for record in moved) == 4
        assert not {record.text() for record in moved} & {record.text() for record in after if record.split == "train"}
        held.update(record.place for record in moved)
    assert set(held.values()) == {1} and len(held) == 100


def test_no_group_is_in_two_folds() -> None:
    rows = numbered(60, user=lambda number: number % 12)
    fold_of = [
        {record.columns["user"] for record in run_here(settings, rows) if record.split == "test"}
        for settings in (
            {"kind": "kfold", "fold": fold, "folds": 3, "column": "user", "into": "test"} for fold in range(3)
        )
    ]
    assert sorted(user for users in fold_of for user in users) == list(range(12))
    assert [len(users) for users in fold_of] == [4, 4, 4]


def test_a_fold_by_time_lies_behind_what_is_learnt_from() -> None:
    rows = numbered(60, day=lambda number: number // 2)
    for fold in range(3):
        after = run_here({"kind": "kfold", "fold": fold, "folds": 3, "time": "day", "into": "test"}, rows)
        days = {
            split: [record.columns["day"] for record in after if record.split == split and record.rejected is None]
            for split in ("train", "test")
        }
        assert max(days["train"]) < min(days["test"])
        assert (len(days["train"]), len(days["test"])) == pytest.approx((15 * (fold + 1), 15), abs=2)
        later = [record for record in after if record.rejected is not None]
        assert len(later) == 60 - len(days["train"]) - len(days["test"])
        assert all(record.columns["day"] > max(days["test"]) for record in later)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "split"}, "more than 0 and less than 1"),
        ({"kind": "split", "test": 0.5, "validation": 0.5}, "more than 0 and less than 1"),
        ({"kind": "kfold", "fold": 5}, "fold=5 is not one of 5 folds"),
        ({"kind": "kfold", "fold": 0, "column": "user", "time": "day"}, "different ways; keep one"),
    ],
)
def test_shares_and_folds_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(Stage).validate_python(settings)
