"""A space is settled before anything runs, and a trial is the file with some keys replaced."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cluster.config import RunConfig
from cluster.config.tune import TuneConfig
from cluster.exceptions import ConfigError
from tuning.space import check_space, distributions, grid, trial_config, trial_name


def config_of(**tune: Any) -> RunConfig:
    return RunConfig.model_validate(
        {"name": "study", "model": {"kind": "scratch"}, "data": {"train": "rows.jsonl"}, "tune": tune}
    )


SPACE = {
    "train.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "train.adaptation": [{"kind": "lora", "rank": 4}, {"kind": "full"}],
    "data.max_length": {"low": 64, "high": 256, "step": 64},
}


def test_bounds_written_as_whole_numbers_are_whole_numbers() -> None:
    found = distributions(TuneConfig.model_validate({"space": SPACE}).space)
    assert [type(one).__name__ for one in found.values()] == [
        "FloatDistribution",
        "CategoricalDistribution",
        "IntDistribution",
    ]


def test_a_grid_has_every_combination_once() -> None:
    combinations = list(grid(TuneConfig.model_validate({"space": SPACE}).space, points=3))
    assert len(combinations) == len({str(one) for one in combinations}) == 3 * 2 * 3
    rates = sorted({one["train.learning_rate"] for one in combinations})
    assert rates == pytest.approx([1e-5, 1e-4, 1e-3])
    assert {one["data.max_length"] for one in combinations} <= {64, 128, 192, 256}


def test_a_trial_is_the_file_with_its_values_in_the_folder_of_the_study() -> None:
    config = config_of(space=SPACE)
    values = next(grid(config.tune.space, points=2))
    trial = trial_config(config, values)
    assert trial.train.learning_rate == pytest.approx(1e-5)
    assert trial.train.adaptation.kind == "lora" and trial.train.adaptation.rank == 4
    assert trial.tune is None
    assert trial.cluster.storage_path.endswith("study/trials")
    assert trial.name == trial_name("study", values) != trial_name("study", values | {"data.max_length": 128})


def test_the_same_values_in_another_order_are_the_same_trial() -> None:
    assert trial_name("study", {"a.b": 1, "a.c": 2}) == trial_name("study", {"a.c": 2, "a.b": 1})


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"train.learning_rat": [1e-4]}, r"tune\.space\.train\.learning_rat.*did you mean learning_rate"),
        ({"train.learning_rate": {"low": -1.0, "high": 1.0}}, r"tune\.space\.train\.learning_rate=-1"),
        ({"train.adaptation": [{"kind": "lora", "rank": 0}]}, "greater than or equal to 1"),
    ],
)
def test_a_corner_that_is_no_valid_run_is_named_before_anything_starts(space: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_space(config_of(space=space))


@pytest.mark.parametrize(
    ("tune", "sentence"),
    [
        ({"space": {}}, "at least 1"),
        ({"space": {"train.learning_rate": {"low": 1e-3, "high": 1e-5}}}, "low below high"),
        ({"space": {"train.learning_rate": {"low": 0.0, "high": 1.0, "log": True}}}, "low above 0"),
        ({"space": {"train.learning_rate": []}}, "at least 1"),
        ({"space": {"cluster.num_workers": [1, 2]}}, "expected keys such as"),
        ({"space": {"data.max_length": [64, 128]}, "scheduler": {"kind": "pbt"}}, "cannot change within a run"),
        ({"space": {"train.weight_decay": [0.0, 0.1]}, "scheduler": {"kind": "pb2"}}, "ranges only"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(tune: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        TuneConfig.model_validate(tune)
