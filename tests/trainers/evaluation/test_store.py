"""Claims about evaluations in storage."""

import dataclasses

import pytest

from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.store import EvaluationDirectory, Part, load, order_of, save


def prediction(name: str, **more) -> Prediction:
    columns = {"channel": "mail", "words": [1, 2]}
    return Prediction(name, "a", "b", 0.5, 2, slices={"channel": "mail"}, columns=columns, **more)


def result(predictions: list[Prediction]) -> EvaluationResult:
    return EvaluationResult(
        kind="causal_lm",
        n=len(predictions),
        metrics={"exact_match": 0.5},
        baseline={},
        baseline_answer=None,
        slices={"channel": {"mail": {"n": 2, "exact_match": 0.5}}},
        classes={},
        predictions=predictions,
        duration_s=1.0,
        intervals={"exact_match": (0.1, 0.9)},
        slice_intervals={"channel": {"mail": {"exact_match": (0.0, 1.0)}}},
        sections={"looks": {"count": 1}},
    )


def test_a_stored_evaluation_is_read_back_as_it_was(tmp_path):
    original = result([prediction("x:1", logits=[0.5, 1.0], samples=["c", "d"]), prediction("x:2", latency_s=0.25)])
    save(original, str(tmp_path / "one"))
    assert load(str(tmp_path / "one")) == original
    save(dataclasses.replace(original, n=1, predictions=original.predictions[:1]), str(tmp_path / "one"))
    assert len(load(Storage.open(tmp_path / "one")).predictions) == 1


def test_an_unfinished_evaluation_is_not_read(tmp_path):
    directory = EvaluationDirectory.of(tmp_path, "abc")
    directory.write_part(Part([0], [prediction("x:1")]))
    with pytest.raises(DataError, match=r"evaluations/abc: no finished evaluation"):
        load(directory.storage)


def test_parts_come_back_in_the_order_of_the_rows_and_each_row_once(tmp_path):
    directory = EvaluationDirectory.of(tmp_path, "abc")
    late, early = order_of(1, 5), order_of(0, 1 << 33)
    directory.write_part(Part([late], [prediction("b:5")], [{"peak_memory_bytes": 7}]))
    directory.write_part(Part([early, late], [prediction("a:9"), prediction("b:5")]))
    assert list(directory.predictions()) == [early, late]
    assert [one.place for one in directory.predictions().values()] == ["a:9", "b:5"]
    assert sorted(len(part.facts) for part in directory.parts()) == [0, 1]


def test_notes_of_the_annotators_that_were_used_are_read_with_the_predictions(tmp_path):
    directory = EvaluationDirectory.of(tmp_path, "abc")
    directory.write_part(Part([3, 4], [prediction("x:3", notes={"rating": 2}), prediction("x:4")]))
    directory.write_notes("judge-1", {3: {"score": 0.5}})
    directory.write_notes("judge-2", {4: {"score": 1.0}})
    directory.write_summary(result([prediction("x:3"), prediction("x:4")]), annotators=["judge-1"])
    assert [one.notes for one in load(directory.storage).predictions] == [{"rating": 2, "score": 0.5}, {}]
