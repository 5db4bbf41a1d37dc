"""Rows whose label is likely wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cluster.exceptions import DataError
from tests.trainers.data.stages.whole_data import rejected, run_here, texts
from trainers.data.record import Record
from trainers.data.stages.label_errors import NOTHING, confident


def rows_of(shared_data: Path) -> list[Record]:
    """Rows of four intents of BANKING77."""
    wanted = ["card_arrival", "exchange_rate", "lost_or_stolen_card", "top_up_limits"]
    with (shared_data / "banking77" / "train.csv").open(newline="") as file:
        return texts(*((row["text"], row["category"]) for row in csv.DictReader(file) if row["category"] in wanted))


def test_labels_swapped_on_purpose_are_found_and_mended(shared_data: Path) -> None:
    rows = rows_of(shared_data)
    classes = sorted({record.label or "" for record in rows})
    right = {}
    for record in rows[::17]:
        assert record.label is not None
        right[record.place] = record.label
        record.row["label"] = classes[(classes.index(record.label) + 1) % 4]
    found = {record.place: record for record in run_here({"kind": "label_errors"}, rows) if record.notes}
    hits = found.keys() & right.keys()
    assert len(hits) >= 0.6 * len(right)
    assert len(hits) >= 0.7 * len(found)
    assert sum(found[place].notes["suggested_label"] == right[place] for place in hits) >= 0.9 * len(hits)
    mended = run_here({"kind": "label_errors", "action": "relabel"}, rows)
    assert {record.place: record.label for record in mended if "label_before" in record.notes} == {
        place: record.notes["suggested_label"] for place, record in found.items()
    }
    gone = rejected(run_here({"kind": "label_errors", "action": "reject", "min_margin": 0.8}, rows))
    assert 0 < len(gone) < len(found)
    assert all(reason.startswith("label_errors: its label is likely wrong (") for reason in gone.values())


def test_classes_with_fewer_rows_than_folds_are_not_judged(shared_data: Path) -> None:
    rows = [
        *rows_of(shared_data)[:100],
        *texts(("Why was my card lost?", "rare"), ("Where is it?", "rare"), first=1000),
    ]
    assert [record.notes for record in run_here({"kind": "label_errors"}, rows)[-2:]] == [{}, {}]


def test_a_class_is_suggested_only_where_it_is_as_likely_as_usual() -> None:
    probable = np.array([[0.9, 0.1], [0.7, 0.3], [0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], np.float16)
    suggested, margin = confident(probable, np.array([0, 0, 1, 1, 1]))
    assert suggested.tolist() == [0, NOTHING, 0, 1, 1]  # usual: 0.8 for class 0, 0.47 for class 1
    assert margin[2] == pytest.approx(0.8, abs=0.01)


def test_there_must_be_classes() -> None:
    with pytest.raises(DataError, match="finds 1 class in 2 rows"):
        run_here({"kind": "label_errors"}, texts(("a", "x"), ("b", "x")))
    with pytest.raises(DataError, match="train:1: no label, which the stage label_errors needs"):
        run_here({"kind": "label_errors"}, texts("a"))
