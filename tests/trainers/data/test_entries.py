"""Sources in their long form: each read in its own way, its tags on every row."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.config import DataConfig, RunConfig
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.data.shapes import Conversation, PromptCompletion, Text
from trainers.data.sources import examples, locate
from trainers.data.staging import StagedRows, fingerprint_of, locate_splits, stage_rows
from trainers.evaluation.subjects.folder import reading_config


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def three(tmp_path: Path) -> list[Any]:
    chat = write(tmp_path / "chat.jsonl", {"instruction": "Hi", "output": "Hello", "license": "own"})
    pairs = write(tmp_path / "pairs.jsonl", *({"frage": f"Q{number}", "antwort": "A"} for number in range(4)))
    plain = write(tmp_path / "plain.jsonl", {"text": "Once"})
    return [
        {"path": chat, "license": "mit", "consent": "survey", "name": "chats"},
        {"path": pairs, "columns": {"prompt": "frage", "completion": "antwort"}, "max_rows": 2},
        plain,
    ]


def config_of(train: Any, **data: Any) -> RunConfig:
    return RunConfig.model_validate(
        {"name": "entries", "model": {"kind": "scratch"}, "data": {"train": train, "on_error": "reject", **data}}
    )


def test_each_source_is_read_in_its_own_way(three: list[Any]) -> None:
    config = config_of(three).data
    read = list(examples(config.train, config, "train"))
    assert [type(one) for one in read] == [Conversation, PromptCompletion, PromptCompletion, Text]
    assert locate(config.train).files[0].source == "chats"


def test_one_source_needs_no_list(three: list[Any]) -> None:
    config = config_of(three[0]).data
    assert len(list(examples(config.train, config, "train"))) == 1


def test_a_short_form_and_its_long_form_are_the_same_rows(three: list[Any]) -> None:
    def fingerprint(train: Any) -> str:
        config = config_of(train)
        return fingerprint_of(config, locate_splits(config))

    plain = three[2]
    assert fingerprint(plain) == fingerprint([plain]) == fingerprint({"path": plain})
    changed = [{"license": "mit"}, {"max_rows": 1}, {"shape": "text"}, {"columns": {"text": "text"}}]
    assert len({fingerprint({"path": plain, **change}) for change in [{}, *changed]}) == 5


@pytest.mark.usefixtures("ray_cluster")
def test_tags_of_a_source_travel_with_each_row_beside_the_rows_own(three: list[Any], tmp_path: Path) -> None:
    rows = stage_rows(config_of(three), Storage.open(tmp_path))
    columns = [record.columns for record in rows.records("train")]
    assert columns == [{"license": "own", "consent": "survey", "source": "chats"}, {}, {}, {}]


@pytest.mark.usefixtures("ray_cluster")
def test_rows_that_nothing_learns_from_are_staged_to_be_looked_at_and_refused_for_training(tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.jsonl", {"prompt": "Hi", "chosen": "Hello", "rejected": "No", "score": 3})
    config = config_of(judged, on_error="fail")
    with pytest.raises(DataError, match=r"judged.jsonl:1: rows of shape preference can be looked at, but no objective"):
        stage_rows(config, Storage.open(tmp_path), to_learn=True)
    staged: StagedRows = stage_rows(config, Storage.open(tmp_path))
    [record] = staged.records("train")
    assert record.row == {"prompt": "Hi", "chosen": "Hello", "rejected": "No"} and record.columns == {"score": 3}


def test_a_weight_without_a_mix_is_refused(three: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"weight=2 of chats says how training rows are mixed; add data.mix"):
        DataConfig(train=[{**three[0], "weight": 2.0}])
    with pytest.raises(ValueError, match=r"weight=2 of chats"):
        DataConfig(train=three, test={**three[0], "weight": 2.0}, mix={})


def test_rows_are_scored_by_the_settings_of_the_run_but_for_its_mix(three: list[Any]) -> None:
    config = config_of(three, mix={"stop": "all_exhausted"}, test=three[1], shape="prompt_completion")
    folder: Any = SimpleNamespace(config=config)
    read = reading_config(folder, config.data.sources("test"))
    assert (read.mix, read.shape, read.sources("train")) == (None, "prompt_completion", config.data.sources("test"))
