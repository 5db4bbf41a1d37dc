"""Rows unlike the others."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.trainers.data.stages.whole_data import rejected, run_here, texts
from trainers.data.record import Record
from trainers.data.stages.outliers import robust_z


def with_odd_ones(shared_data: Path) -> list[Record]:
    with (shared_data / "banking77" / "train.csv").open(newline="") as file:
        usual = [row["text"] for row in itertools.islice(csv.DictReader(file), 400)]
    return texts(*usual, "x" * 300, "0041 2234 9921 7723 1123", "WHERE IS MY CARD " * 40)


def test_odd_statistics_are_found_and_told(shared_data: Path) -> None:
    found = rejected(run_here({"kind": "outliers"}, with_odd_ones(shared_data)))
    assert {"train:401", "train:402", "train:403"} <= set(found)
    assert len(found) < 10
    assert found["train:401"].startswith("outliers: outlier (length of words: +")


def test_rows_about_something_else_are_far_from_the_middle(shared_data: Path) -> None:
    with (shared_data / "banking77" / "train.csv").open(newline="") as file:
        cards = [row["text"] for row in csv.DictReader(file) if row["category"] == "card_arrival"]
    odd = "Boil pasta until tender, drain, stir in butter with grated cheese"
    after = run_here(
        {"kind": "outliers", "by": {"kind": "distance", "threshold": 2.0}, "action": "note"}, texts(*cards, odd)
    )
    assert after[-1].notes["outlier"].startswith("distance from the middle: +")
    assert sum(bool(record.notes) for record in after) < 0.05 * len(after)


def test_scores_are_not_moved_by_the_outliers_themselves() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(10, 2, 1000), np.full(50, 1e6)])
    assert robust_z(values)[:1000].std() == pytest.approx(1.0, abs=0.1)
    assert robust_z(np.array([1.0] * 9 + [2.0]))[-1] > 5
    assert robust_z(np.ones(4)).tolist() == [0.0] * 4
