"""Studies over real trainings: small ones, on warm workers of a real Ray cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.exceptions import MobulaError, ResourceError
from cluster.registry import Registry
from trainers.folder import ModelFolder
from tuning.study import Study, StudyOutcome

pytestmark = pytest.mark.usefixtures("ray_cluster")
INTENTS = {"card": "my card is lost", "rate": "what is the exchange rate", "top-up": "how do I add money"}
LEARNING_RATE = {"train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for name, start in (("train", 0), ("validation", 30), ("test", 40)):
        lines = [f"{text} please number {start + n},{label}" for n in range(8) for label, text in INTENTS.items()]
        (folder / f"{name}.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return folder


def config_of(folder: Path, name: str, *, train: dict[str, Any] | None = None, **tune: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": name,
            "model": {"kind": "scratch", "hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 300},
            "data": {key: str(folder / f"{key}.csv") for key in ("train", "validation", "test")} | {"max_length": 32},
            "train": {
                "objective": {"kind": "classification"},
                "max_steps": 6,
                "eval_steps": 2,
                "per_device_train_batch_size": 8,
                **(train or {}),
            },
            "cluster": {"storage_path": str(folder / "runs")},
            "tune": {"metric": "eval_loss", "space": LEARNING_RATE, **tune},
        }
    )


def records(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    places = (folder / "runs" / name / "trials").glob("*/record.json")
    return {place.parent.name: json.loads(place.read_text()) for place in places}


def groups_alive() -> int:
    from ray.util import placement_group_table

    return sum(group["state"] != "REMOVED" for group in placement_group_table().values())


@pytest.fixture(scope="module")
def searched(folder: Path, ray_cluster: None) -> StudyOutcome:
    return Study(config_of(folder, "random", num_trials=3, search={"kind": "random"})).run()


def test_the_best_trial_is_registered_and_its_test_rows_are_scored(searched: StudyOutcome, folder: Path) -> None:
    assert len(searched.trials) == 3
    assert searched.best.result["eval_loss"] == min(trial.result["eval_loss"] for trial in searched.trials)
    assert "test_accuracy" in searched.published["metrics"]
    [version] = Registry(str(folder / "runs")).versions("random")
    assert ModelFolder.open(version.folder).kind == "classification"
    scored = [name for name, record in records(folder, "random").items() if "test_accuracy" in record["metrics"]]
    assert scored == [searched.best.name]


def test_a_study_leaves_no_placement_group_and_its_memory_to_optuna(searched: StudyOutcome, folder: Path) -> None:
    import optuna

    assert groups_alive() == 0
    known = optuna.load_study(study_name="random", storage=f"sqlite:///{folder}/runs/random/optuna.db")
    expected = sorted(trial.result["eval_loss"] for trial in searched.trials)
    assert sorted(trial.value for trial in known.trials) == pytest.approx(expected)


def test_a_longer_study_trains_only_what_is_missing(searched: StudyOutcome, folder: Path) -> None:
    before = records(folder, "random")
    longer = Study(config_of(folder, "random", num_trials=4, search={"kind": "random"})).run()
    after = records(folder, "random")
    assert len(after) == len(longer.trials) == 4
    assert all(after[name]["finished_at"] == record["finished_at"] for name, record in before.items())


def test_trials_far_behind_are_stopped_early(folder: Path) -> None:
    asha = {"kind": "asha", "by": "step", "grace": 2, "reduction_factor": 2}
    tune = {"num_trials": 4, "max_concurrent": 1, "search": {"kind": "grid", "points": 4}, "scheduler": asha}
    outcome = Study(config_of(folder, "halving", **tune)).run()
    stopped = [trial for trial in outcome.trials if trial.stopped]
    assert stopped and all(trial.result["step"] < 6 for trial in stopped)
    assert not outcome.best.stopped


def test_a_population_takes_over_weights_from_complete_checkpoints(folder: Path) -> None:
    tune = {"num_trials": 4, "max_concurrent": 2, "scheduler": {"kind": "pbt"}, "seed": 1}
    outcome = Study(config_of(folder, "population", train={"max_steps": 12}, **tune)).run()
    assert len(outcome.trials) == 4
    assert all(trial.result["step"] == 12 for trial in outcome.trials)
    found = records(folder, "population")
    heirs = {name: record["details"]["parent"] for name, record in found.items() if record["details"].get("parent")}
    assert heirs
    for name, parent in heirs.items():
        rows = [json.loads(line) for line in (folder / "runs/population/trials" / name / "metrics.jsonl").open()]
        assert parent["run"] in found
        assert min(row["step"] for row in rows if "eval_loss" in row) <= parent["step"] + 2
    assert groups_alive() == 0


def test_trials_that_fail_for_the_same_reason_stop_the_study_with_it(folder: Path) -> None:
    config = config_of(folder, "hopeless", train={"eval_steps": 100, "save_steps": 100, "max_steps": 3}, num_trials=8)
    broken = config.model_copy(
        update={"data": config.data.model_copy(update={"validation": None})}
    )  # so that nothing is ever measured
    with pytest.raises(MobulaError, match=r"the last 3 trials failed for the same reason.*without an evaluation"):
        Study(broken).run()
    assert sum(record["state"] == "failed" for record in records(folder, "hopeless").values()) < 8
    assert groups_alive() == 0


def test_a_cluster_smaller_than_one_trial_is_refused(folder: Path) -> None:
    config = config_of(folder, "large", num_trials=1)
    wide = config.model_copy(update={"cluster": config.cluster.model_copy(update={"cpus_per_worker": 64})})
    with pytest.raises(ResourceError, match="a trial takes 1 workers of 64 CPUs"):
        Study(wide).run()
