"""A curriculum."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.exceptions import DataError
from tests.trainers.data.stages.whole_data import run, texts
from trainers.data.record import Record

pytestmark = pytest.mark.usefixtures("ray_cluster")


def train_rows(records: list[Record]) -> list[str]:
    return [record.text() for record in records if record.split == "train" and record.rejected is None]


def test_short_rows_come_first_and_equal_ones_keep_their_order(tmp_path: Path) -> None:
    rows = [*texts("ccc", "a", "bb", "dddd", "x", "ee", "fffff"), *texts(*"zyxwvut", split="test")]
    rows[3].reject("earlier: reason")
    after = run({"kind": "order"}, rows, tmp_path)
    assert train_rows(after) == ["a", "x", "bb", "ee", "ccc", "fffff"]
    assert sorted(record.place for record in after) == sorted(record.place for record in rows)
    assert [record.place for record in after if record.split == "test"] == [f"test:{line}" for line in range(1, 8)]


def test_rows_with_a_large_score_may_come_first(tmp_path: Path) -> None:
    rows = texts("a", "b", "c")
    for record, loss in zip(rows, (0.5, "3", -1), strict=True):
        record.notes["loss"] = loss
    settings = {"kind": "order", "by": {"kind": "column", "column": "loss"}}
    assert train_rows(run(settings | {"descending": True}, rows, tmp_path)) == ["b", "a", "c"]
    rows[1].notes = {"loss": "high"}
    with pytest.raises(DataError, match="train:2: loss is 'high', which is no number"):
        run(settings, rows, tmp_path)


def test_buckets_rise_and_are_mixed_within(tmp_path: Path) -> None:
    rows = texts(*("x" * length for length in range(1, 25)))
    after = [len(text) for text in train_rows(run({"kind": "order", "buckets": 3}, rows, tmp_path))]
    assert [sorted(after[start : start + 8]) for start in (0, 8, 16)] == [
        list(range(start + 1, start + 9)) for start in (0, 8, 16)
    ]
    assert after != sorted(after)
