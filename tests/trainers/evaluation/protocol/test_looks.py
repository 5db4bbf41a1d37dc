"""Claims about looks at test sets and rows that were seen."""

import dataclasses
import json

import numpy as np
import pytest

from cluster.exceptions import DataError
from trainers.evaluation.protocol.looks import MANY_MODELS, describe_looks, looks_at, record_look
from trainers.evaluation.protocol.seen import SEEN_ROWS, Seen, refuse_selecting_files, seen_rows, short_key
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.folder import ModelFolder

RESULT = EvaluationResult(
    kind="classification",
    n=2,
    metrics={"accuracy": 0.5},
    baseline={},
    baseline_answer=None,
    slices={},
    classes={},
    predictions=[],
    duration_s=1.0,
    subject="support",
    data=["test.csv"],
    data_fingerprint="abc",
)


def test_looks_at_one_set_are_counted_with_their_models_and_others_apart(tmp_path):
    for model, cached in (("a", False), ("b", False), ("b", True)):
        record_look(str(tmp_path), RESULT, model, "evaluate", cached)
    record_look(str(tmp_path), dataclasses.replace(RESULT, data_fingerprint="other"), "a", "training", False)
    found = describe_looks(looks_at(str(tmp_path), "abc"))
    assert (found["count"], found["models"], len(found["looks"])) == (2, 2, 3)
    assert found["sentence"] == "these rows were scored 2 times with 2 models"
    assert {"who", "when", "subject", "purpose"} <= found["looks"][0].keys()
    assert looks_at(str(tmp_path), "abc")[0].when.endswith("+00:00")


def test_picking_the_best_of_many_models_on_one_set_is_warned_of(tmp_path):
    for model in range(MANY_MODELS):
        record_look(str(tmp_path), RESULT, str(model), "evaluate", False)
    assert "confirm it on rows that nobody has looked at" in describe_looks(looks_at(str(tmp_path), "abc"))["sentence"]


def rows(*keys: str) -> list[Prediction]:
    return [Prediction(f"x:{key}", "a", "a", key=f"{int(key):024x}") for key in keys]


def folder_that_saw(tmp_path, learnt, selected) -> ModelFolder:
    keys = {
        name: np.array([short_key(row.key) for row in rows(*found)], np.uint64)
        for name, found in (("train", learnt), ("validation", selected))
    }
    np.savez(tmp_path / SEEN_ROWS, **keys)
    return ModelFolder(tmp_path)


def big(*numbers: int) -> list[str]:
    return [str(number << 40) for number in numbers]


def test_rows_that_were_learnt_from_are_counted(tmp_path):
    folder = folder_that_saw(tmp_path, big(1, 2, 3), big(4))
    seen = seen_rows(folder, rows(*big(2, 3, 5, 6)))
    assert (seen.learnt, seen.selected) == (2, 0)
    assert seen.sentence == "2 of 4 rows were learnt from: scores on them are too good"
    seen.refuse("test.csv")


def test_rows_that_picked_the_checkpoint_are_refused_as_a_test(tmp_path):
    folder = folder_that_saw(tmp_path, big(1), big(4, 5, 6))
    with pytest.raises(DataError, match=r"test\.csv: 2 of 3 rows are validation rows.*evaluate\.seen_rows=flag"):
        seen_rows(folder, rows(*big(4, 5, 7))).refuse("test.csv")
    seen_rows(folder, rows(*big(4, 7, 8))).refuse("test.csv")


def test_a_folder_that_does_not_say_what_it_saw_is_not_taken_for_clean(tmp_path):
    assert "not known" in seen_rows(ModelFolder(tmp_path), rows("1")).sentence
    assert not seen_rows(None, rows("1")).is_known
    assert Seen(3).sentence == "none of the rows was seen in training"


def test_the_validation_file_is_refused_before_anything_runs(tmp_path):
    from trainers.data.sources import locate

    (tmp_path / "validation.csv").write_text("text,label\nhello,greeting\n")
    (tmp_path / "copy.csv").write_text("text,label\nhello,greeting\n")
    (tmp_path / "test.csv").write_text("text,label\nbye,greeting\n")
    (file,) = locate(str(tmp_path / "validation.csv"), "test").files
    inputs = {"validation": [{"name": file.name, "bytes": file.size, "hash": file.stamp}]}
    (tmp_path / "lineage.json").write_text(json.dumps({"data": {"inputs": inputs}}))
    folder = ModelFolder(tmp_path)
    with pytest.raises(DataError, match=r"copy\.csv: this is the run's validation file"):
        refuse_selecting_files(folder, locate(str(tmp_path / "copy.csv"), "test"))
    refuse_selecting_files(folder, locate(str(tmp_path / "test.csv"), "test"))
    refuse_selecting_files(None, locate(str(tmp_path / "copy.csv"), "test"))
