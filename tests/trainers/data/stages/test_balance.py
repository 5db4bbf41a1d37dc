"""As many rows of every class."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import pytest

from cluster.exceptions import DataError
from tests.trainers.data.stages.whole_data import rejected, run, run_here, texts
from trainers.data.record import Record

SIZES = {"large": 12, "middle": 6, "small": 2}


def rows() -> list[Record]:
    return texts(*((f"{name} {number}", name) for name, count in SIZES.items() for number in range(count)))


def sizes(records: list[Record]) -> dict[str | None, int]:
    return dict(collections.Counter(record.label for record in records if record.rejected is None))


@pytest.mark.usefixtures("ray_cluster")
def test_copies_follow_their_row_and_are_tagged(tmp_path: Path) -> None:
    after = run({"kind": "balance", "target": "median"}, [*rows(), *texts(("t", "small"), split="test")], tmp_path)
    assert sizes(after) == {"large": 6, "middle": 6, "small": 7}
    assert len(rejected(after)) == 6
    assert set(rejected(after).values()) == {"balance: more rows of its class than wanted (label large)"}
    copies = [record for record in after if record.origin is not None]
    assert [(record.origin, record.changes) for record in copies] == [
        (f"train:{line}", ["balance"]) for line in (19, 19, 20, 20)
    ]
    assert [record.split for record in after].count("test") == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"target": "max"}, [12, 12, 12]),
        ({"target": "min"}, [2, 2, 2]),
        ({"target": 8}, [8, 8, 8]),
        ({"target": 8, "smaller": "keep"}, [8, 6, 2]),
        ({"target": 8, "larger": "keep"}, [12, 8, 8]),
        ({"target": "max", "max_copies": 2}, [12, 12, 6]),
    ],
)
def test_classes_reach_the_target_as_far_as_they_may(settings: dict[str, Any], expected: list[int]) -> None:
    assert sizes(run_here({"kind": "balance", **settings}, rows())) == dict(zip(SIZES, expected, strict=True))


def test_classes_may_come_from_another_column() -> None:
    records = rows()
    for number, record in enumerate(records):
        record.columns["country"] = "FR" if number < 5 else "DE"
    after = run_here({"kind": "balance", "column": "country", "target": "min"}, records)
    assert collections.Counter(one.columns["country"] for one in after if one.rejected is None) == {"FR": 5, "DE": 5}
    with pytest.raises(DataError, match="train:1: no column town, which the stage balance needs"):
        run_here({"kind": "balance", "column": "town"}, records)
