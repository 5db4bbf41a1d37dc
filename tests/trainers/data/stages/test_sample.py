"""Some of the rows."""

from __future__ import annotations

import collections

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster.config.stages import Stage
from tests.trainers.data.stages.whole_data import rejected, run_here, texts
from trainers.data.record import Record


def kept(records: list[Record]) -> list[str]:
    return [record.place for record in records if record.rejected is None]


def test_a_share_or_a_number_of_rows_is_drawn_by_seed() -> None:
    rows = texts(*(f"text {number}" for number in range(200)))
    drawn = [kept(run_here({"kind": "sample", "share": 0.25}, rows, seed)) for seed in (1, 1, 2)]
    assert len(drawn[0]) == 50 and drawn[0] == drawn[1] != drawn[2]
    after = run_here({"kind": "sample", "count": 7}, rows)
    assert len(kept(after)) == 7
    assert set(rejected(after).values()) == {"sample: not in the sample"}
    assert len(kept(run_here({"kind": "sample", "count": 1000}, rows))) == 200


def test_the_first_rows_of_each_split() -> None:
    rows = [*texts("a", "b", "c"), *texts("d", "e", split="test"), *texts("f", "g", split="validation")]
    settings = {"kind": "sample", "count": 1, "by": {"kind": "first"}, "splits": ["train", "test"]}
    assert kept(run_here(settings, rows)) == ["train:1", "test:1", "validation:1", "validation:2"]


def test_a_stratified_sample_keeps_the_shares_of_classes() -> None:
    rows = texts(*((f"text {number}", "rare" if number % 5 == 0 else "common") for number in range(100)))
    after = run_here({"kind": "sample", "count": 20, "by": {"kind": "stratified"}}, rows)
    assert collections.Counter(record.label for record in after if record.rejected is None) == {"common": 16, "rare": 4}


def test_the_size_is_said_once() -> None:
    for settings in ({}, {"share": 0.5, "count": 3}):
        with pytest.raises(ValidationError, match="set one of them"):
            TypeAdapter(Stage).validate_python({"kind": "sample", **settings})
