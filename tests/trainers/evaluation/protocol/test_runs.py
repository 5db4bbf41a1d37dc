"""Claims about what trainings leave behind for evaluation: looks, seen rows, suites, folds. These train tiny models."""

import json
from pathlib import Path

import pytest
import yaml

from cluster.cli import run
from trainers.evaluation.protocol.seen import SEEN_ROWS, seen_rows
from trainers.evaluation.store import load
from trainers.folder import ModelFolder

pytestmark = pytest.mark.usefixtures("ray_cluster")
WORDS = {"card": "my card is lost", "rate": "what is the exchange rate"}


def rows(path: Path, numbers: range) -> str:
    lines = [f"{text} {n},{label},{n % 2},{n}" for n in numbers for label, text in WORDS.items()]
    path.write_text("text,label,user,day\n" + "\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run.yaml, trained, with everything beside it."""
    folder = tmp_path_factory.mktemp("protocol")
    easy, odd = rows(folder / "easy.csv", range(20, 24)), folder / "odd.csv"
    odd.write_text("text,label\nhello,greeting\n")
    config = {
        "name": "tiny",
        "model": {"kind": "scratch", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 300},
        "data": {
            "train": rows(folder / "train.csv", range(12)),
            "validation": rows(folder / "validation.csv", range(12, 15)),
            "test": rows(folder / "test.csv", range(15, 20)),
            "max_length": 32,
        },
        "train": {"objective": {"kind": "classification"}, "max_steps": 2, "per_device_train_batch_size": 8},
        "evaluate": {
            "num_resamples": 200,
            "errors": {"enabled": False},
            "suites": {
                "easy": {"kind": "regression", "data": easy, "minimum": {"accuracy": 0.01, "loss": 50.0}},
                "hard": {"kind": "regression", "data": easy, "minimum": {"accuracy": 1.01, "loss": 0.001, "bleu": 0.1}},
                "elsewhere": {"data": easy},
                "odd": {"data": str(odd)},
            },
        },
        "cluster": {"storage_path": str(folder / "runs")},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    assert run(["train", str(folder / "run.yaml")]) == 0
    return folder


def evaluate(folder, capsys, *arguments: str, status: int = 0) -> dict:
    capsys.readouterr()
    found = run(["evaluate", str(folder / "run.yaml"), "--storage-path", str(folder / "runs"), "--json", *arguments])
    printed = capsys.readouterr()
    assert found == status, printed.err
    return json.loads(printed.out) if printed.out else {"said": printed.err}


def test_a_training_scores_its_test_rows_and_suites_and_leaves_what_it_has_seen(folder):
    model = ModelFolder.open(folder / "runs" / "tiny" / "model")
    assert {"test_accuracy", "suite_easy_accuracy", "suite_hard_loss"} <= model.metrics.keys()
    described = json.loads((folder / "runs" / "tiny" / "evaluation.json").read_text())
    assert described["sections"]["seen"] | {"sentence": ""} == {
        "n": 10,
        "learnt": 0,
        "selected": 0,
        "is_known": True,
        "sentence": "",
    }
    suites = described["suites"]
    assert suites.keys() == {"easy", "hard", "elsewhere"}, "a suite that cannot be scored stops nothing"
    assert suites["elsewhere"]["gaps"]["accuracy"] == pytest.approx(
        described["metrics"]["accuracy"] - suites["elsewhere"]["metrics"]["accuracy"]
    )
    learnt = load(f"{folder}/runs/evaluations/{described['fingerprint']}")
    assert (model.path / SEEN_ROWS).exists() and seen_rows(model, learnt.predictions).learnt == 0


def test_the_same_test_rows_are_answered_at_once_and_the_look_is_counted(folder, capsys):
    found = evaluate(folder, capsys)
    assert found["sections"]["cached"] == {"is_cached": True}
    looks = found["sections"]["looks"]
    assert looks["count"] == 1 and looks["looks"][0]["purpose"] == "training"
    assert set(found["intervals"]) >= {"accuracy", "macro_f1", "loss"}
    assert found["cost"]["train_s"] > 0 and found["cost"]["model_bytes"] > 0


def test_validation_rows_are_refused_as_a_test_and_learnt_rows_are_told(folder, capsys):
    said = evaluate(folder, capsys, "--data", str(folder / "validation.csv"), status=2)["said"]
    assert "this is the run's validation file, which picked its checkpoint" in said
    lines = (folder / "validation.csv").read_text().splitlines()
    (folder / "copied.csv").write_text("\n".join([*lines, "one more,card,0,1"]) + "\n")
    said = evaluate(folder, capsys, "--data", str(folder / "copied.csv"), status=2)["said"]
    assert "6 of 7 rows are validation rows of the run" in said
    flagged = evaluate(folder, capsys, "--data", str(folder / "copied.csv"), "evaluate.seen_rows=flag")
    assert flagged["sections"]["seen"]["selected"] == 6
    learnt = evaluate(folder, capsys, "--data", str(folder / "train.csv"))
    assert learnt["sections"]["seen"]["sentence"] == "24 of 24 rows were learnt from: scores on them are too good"


def test_a_regression_suite_that_is_missed_has_a_status_of_its_own(folder, capsys):
    assert evaluate(folder, capsys, "--suite", "easy")["suites"]["easy"]["passed"]
    missed = evaluate(folder, capsys, "--suite", "hard", "--suite", "easy", status=3)["suites"]["hard"]["misses"]
    assert {miss["metric"]: miss["value"] is None for miss in missed} == {
        "accuracy": False,
        "loss": False,
        "bleu": True,
    }
    assert "did you mean 'easy'" in evaluate(folder, capsys, "--suite", "esy", status=2)["said"]


def test_folds_are_trained_and_scored_as_runs_of_their_own(folder, capsys):
    found = evaluate(folder, capsys, "--folds", "2", "--fold-groups", "user")
    scores = {score["metric"]: score for score in found["scores"]}
    assert len(scores["accuracy"]["values"]) == 2 and len(found["runs"]) == 2
    low, high = scores["loss"]["interval"]
    assert low < scores["loss"]["mean"] < high
    pooled = load(found["directory"])
    assert pooled.n == 24 and {one.columns["user"] for one in pooled.predictions} == {"0", "1"}
    assert not (folder / "runs" / "tiny-0-0").exists(), "a fold is no run of the user's"
    again = evaluate(folder, capsys, "--folds", "2", "--fold-groups", "user")
    assert again["scores"] == found["scores"]


def test_what_needs_another_target_is_refused(folder, capsys):
    model = str(folder / "runs" / "tiny" / "model")
    assert run(["evaluate", model, "--folds", "3"]) == 2
    assert "it needs a run.yaml" in capsys.readouterr().err
    assert run(["evaluate", model, "--model", "other", "--data", "x.csv"]) == 2
    assert "--model is for endpoints" in capsys.readouterr().err
    assert run(["evaluate", model, "data.max_length=3"]) == 2
    assert "override evaluate.* keys only" in capsys.readouterr().err
    assert run(["evaluate", model, "evaluate.num_sample=3"]) == 2
    assert "did you mean num_samples" in capsys.readouterr().err
