"""Rows through the stages: counted, kept, never silent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from cluster.config import RunConfig
from cluster.exceptions import ConfigError, DataError
from cluster.storage import Storage
from trainers.data.prepare import prepare
from trainers.data.staging import StagedRows, stage_rows

pytestmark = pytest.mark.usefixtures("ray_cluster")

MODULE = """
def shout(row, mark="!"):
    return row | {"text": row["text"].upper() + mark}

def drop_text(row):
    return row | {"text": " "}

def drop_short(row, at_least):
    return row if len(row["text"]) >= at_least else None

def twice(row):
    return [row, row | {"text": row["text"] + " again"}]

def weigh(row):
    return row | {"weight": 3.0 if row["label"] == "odd" else 0.5}

def raises(row):
    if "3" in row["text"]:
        raise KeyError("nothing here")
    return row
"""


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module of the user's, importable in this process; the workers are told where it lies."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_stages.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def config_of(folder: Path, stages: list[dict[str, Any]], **data: Any) -> RunConfig:
    rows = [
        {"text": f"row {number}", "label": "even" if number % 2 == 0 else "odd", "user": number} for number in range(8)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + data.pop("more", ""))
    return RunConfig.model_validate(
        {
            "name": "staged",
            "model": {"kind": "scratch"},
            "data": {"train": str(folder / "train.jsonl"), "stages": stages, **data},
            "train": {"objective": {"kind": "classification"}},
        }
    )


def staged(folder: Path, stages: list[dict[str, Any]], **data: Any) -> StagedRows:
    return stage_rows(config_of(folder, stages, **data), Storage.open(folder))


def python(name: str, **more: Any) -> dict[str, Any]:
    arguments = more.pop("arguments", {})
    return {"kind": "python", "function": f"own_stages:{name}", "arguments": arguments, **more}


def texts(rows: StagedRows, split: str = "train") -> list[str]:
    return [record.row["text"] for record in rows.records(split)]


def test_a_users_functions_run_in_the_order_they_are_named(tmp_path: Path) -> None:
    rows = staged(tmp_path, [python("twice"), python("shout", arguments={"mark": "?"})])
    assert texts(rows)[:4] == ["ROW 0?", "ROW 0 AGAIN?", "ROW 1?", "ROW 1 AGAIN?"]
    [_, first, second] = rows.report["stages"]
    assert (first["stage"], first["added"]) == ("own_stages:twice", 8)
    assert (second["stage"], second["changed"]) == ("own_stages:shout", 8)


def test_what_a_stage_leaves_out_is_counted_and_kept_with_the_reason(tmp_path: Path) -> None:
    more = json.dumps({"text": "a much longer row", "label": "odd"}) + "\n"
    rows = staged(tmp_path, [python("drop_short", arguments={"at_least": 10})], more=more)
    assert texts(rows) == ["a much longer row"]
    assert rows.report["rows_read"] == 9 and rows.report["rows"] == {"train": 1}
    kept = parquet.read_table(Path(rows.url) / "rejected.parquet").to_pylist()
    assert len(kept) == 8
    assert {row["rejected"] for row in kept} == {"own_stages:drop_short: the function returned None"}
    assert kept[0]["place"] == f"{tmp_path}/train.jsonl:1"


def test_what_a_stage_changes_is_counted_and_sampled_with_what_it_was(tmp_path: Path) -> None:
    rows = staged(tmp_path, [python("shout")])
    assert rows.report["stages"][-1]["changed"] == 8
    sample = list(rows.changed())
    assert 0 < len(sample) < 8
    assert json.loads(sample[0].before or "")["text"] == "row 0" and sample[0].row["text"] == "ROW 0!"


def test_a_stage_that_raises_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.jsonl:4: the stage own_stages:raises raised KeyError: 'nothing here'"):
        staged(tmp_path, [python("raises")])


def test_a_stage_that_raises_may_reject_the_row_and_keep_the_rest(tmp_path: Path) -> None:
    rows = staged(tmp_path, [python("raises", on_error="reject")])
    assert texts(rows) == [f"row {number}" for number in range(8) if number != 3]
    [lost] = rows.rejected()
    assert lost.rejected == "own_stages:raises: raised KeyError ('nothing here')"


def test_rows_that_cannot_be_read_are_rejected_when_asked(tmp_path: Path) -> None:
    more = '{"text": "no label"}\n{broken\n'
    with pytest.raises(DataError, match=r"train.jsonl:9: found the columns text"):
        staged(tmp_path, [python("shout")], more=more)
    rows = staged(tmp_path, [], on_error="reject", more=more)
    assert len(texts(rows)) == 8
    assert [record.place for record in rows.rejected()] == [f"{tmp_path}/train.jsonl:{line}" for line in (9, 10)]


def test_columns_that_are_not_learnt_from_stay_known(tmp_path: Path) -> None:
    assert [record.columns for record in staged(tmp_path, [python("shout")]).records("train")][2] == {"user": 2}


def test_the_same_rows_are_staged_once_and_an_edited_function_again(tmp_path: Path, module: Path) -> None:
    first = staged(tmp_path, [python("shout")])
    assert staged(tmp_path, [python("shout")]).fingerprint == first.fingerprint
    assert staged(tmp_path, [python("shout", arguments={"mark": "."})]).fingerprint != first.fingerprint
    assert (
        staged(tmp_path, [python("shout")], more=json.dumps({"text": "x", "label": "odd"})).fingerprint
        != first.fingerprint
    )


def test_no_row_left_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no training row is left of 8 read .8 x own_stages:drop_short: the function returned None"
    ):
        staged(tmp_path, [python("drop_short", arguments={"at_least": 1000})])
    assert (tmp_path / "rows").is_dir()
    assert not any(path.is_file() for path in (tmp_path / "rows").rglob("*"))


def test_a_function_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="own_stages:nowhere: cannot be imported"):
        staged(tmp_path, [python("nowhere")])


def test_validation_rows_are_held_out_before_the_stages(tmp_path: Path) -> None:
    rows = staged(tmp_path, [python("twice", splits=["train"])], val_size=0.4)
    assert rows.report["rows"]["train"] % 2 == 0
    assert rows.report["rows"]["train"] // 2 + rows.report["rows"]["validation"] == 8


def test_prepared_rows_carry_the_weight_that_a_stage_gave_them_and_the_place_they_came_from(
    tmp_path: Path, tokenizer: Any
) -> None:
    config = config_of(tmp_path, [python("weigh")])
    prepared = prepare(config, tokenizer, Storage.open(tmp_path / "data"))
    rows = prepared.splits["train"].read(range(8))
    weights = {prepared.labels[row["label"]]: row["row_weights"] for row in rows.to_pylist()}
    assert weights == {"even": [0.5], "odd": [3.0]}
    config = config_of(tmp_path, [python("drop_text")])
    with pytest.raises(DataError, match=r"train.jsonl:1: an empty text"):
        prepare(config, tokenizer, Storage.open(tmp_path / "data"))


def test_rows_that_a_run_holds_out_after_stages_are_held_against_its_training_rows(
    tmp_path: Path, tokenizer: Any
) -> None:
    copy = json.dumps({"text": "row 0", "label": "even", "user": 9}) + "\n"
    config = config_of(tmp_path, [{"kind": "whitespace"}], val_size=0.4, more=copy * 4)
    prepared = prepare(config, tokenizer, Storage.open(tmp_path / "data"))
    assert next(iter(prepared.splits)) == "train"
    assert prepared.report["validation"]["rows"] > 0
    learnt, held = (
        [tuple(row["input_ids"]) for row in one.read(range(one.num_sequences)).to_pylist()]
        for one in (prepared.splits["train"], prepared.splits["validation"])
    )
    assert prepared.report["validation"]["rows_in_train"] == sum(row in set(learnt) for row in held)
