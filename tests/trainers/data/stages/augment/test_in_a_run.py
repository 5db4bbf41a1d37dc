"""Augmenting stages in a run: what the report counts, and that no row to measure on is touched."""

import csv

import pytest

from cluster.config import RunConfig
from cluster.storage import Storage
from tests.trainers.data.stages.augment.rows import QUESTIONS, made, texts
from trainers.data.staging import stage_rows

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_copies_are_counted_guarded_and_made_of_training_rows_only(tmp_path):
    for name in ("train", "test"):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([("text", "label"), *((f"{text} ({n})", n % 2) for n, text in enumerate(QUESTIONS * 5))])
    noise = {"kind": "noise", "delete": 0.6, "swap": 0, "typos": 0}
    stages = [{"kind": "policy", "stages": [noise], "copies": 3}, {"kind": "meaning_guard", "min_similarity": 0.6}]
    data = {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv"), "stages": stages}
    config = {
        "name": "x",
        "model": {"kind": "scratch"},
        "data": data,
        "train": {"objective": {"kind": "classification"}},
    }
    rows = stage_rows(RunConfig.model_validate(config), Storage.open(tmp_path / "rows"))
    policy, guard = (stage for stage in rows.report["stages"] if stage["stage"] in ("policy", "meaning_guard"))
    assert policy["added"] == 60 and policy["changed"] == 0
    assert set(guard["reasons"]) == {"meaning changed"} and 0 < guard["rejected"] < 60
    train = list(rows.records("train"))
    assert len(train) == 80 - guard["rejected"] and len(train) - len(made(train)) == 20
    assert all(row.notes["augmented"] == "noise" and row.notes["similarity"] >= 0.6 for row in made(train))
    assert texts(rows.records("test")) == [f"{text} ({n})" for n, text in enumerate(QUESTIONS * 5)]
    assert all(row.before and row.origin for row in rows.rejected())
