"""The report of a study: what it advises, what its page and JSON hold, and the same in MLflow and in Optuna's storage."""

import dataclasses
import json
import re
from xml.etree import ElementTree

import pytest

from cluster.cli import run as mobula
from cluster.config.load import dump_config, load_config
from cluster.config.tune import FloatRange
from cluster.runs import Record
from cluster.storage import Storage
from cluster.tracking import mlflow_client
from tests.tuning.report.studies import SPACE, planted, study_of
from tuning.report import write_report
from tuning.report.facts import Objective, TrialFacts
from tuning.report.plots import parallel_coordinates
from tuning.report.reading import StudyFolder
from tuning.report.tracking import record_study
from tuning.report.understand import understand
from tuning.study import TrialOutcome

RUN_YAML = """\
name: study
model: {kind: scratch, hidden_size: 32, num_hidden_layers: 2, vocab_size: 320}
data: {train: train.csv, val_size: 0.2}
train: {objective: {kind: classification}, max_steps: 12, eval_steps: 4}
cluster: {storage_path: runs}
tune:
  metric: eval_accuracy
  num_trials: 12
  space:
    train.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}
    train.weight_decay: {low: 0.0, high: 0.2}
"""


def advice_of(study):
    return {(one.kind, one.setting): one.sentence for one in understand(study).advice}


# -- what to try next -----------------------------------------------------------------------------


def test_a_best_at_the_edge_of_its_range_is_to_be_widened():
    found = advice_of(study_of(lambda learning_rate, **rest: learning_rate, 40))
    told = found["widen", "train.learning_rate"]
    assert "upper end" in told and "Move `high` from 0.1 to about 10" in told
    assert not any(kind == "widen" and key != "train.learning_rate" for kind, key in found)


def test_settings_without_importance_are_to_be_fixed_and_poor_choices_dropped():
    found = advice_of(study_of(planted, 80))
    assert {key for kind, key in found if kind == "fix"} == {"train.weight_decay", "train.num_train_epochs"}
    assert "sgd" in found["drop", "train.optimizer"]
    assert not any(kind == "widen" for kind, _ in found)


def test_a_study_that_no_longer_gains_is_to_be_stopped_and_one_that_gains_to_go_on():
    flat = dataclasses.replace(study_of(planted, 60, noise=0.0), num_validation_rows=1000)
    assert ("stop", "") in advice_of(flat)
    space = {"train.learning_rate": FloatRange(low=0.0, high=1.0)}
    rising = study_of(lambda learning_rate: learning_rate, 20, space=space, noise=0.0)
    ordered = sorted(rising.trials, key=lambda trial: trial.value("eval_accuracy"))
    assert ("continue", "") in advice_of(dataclasses.replace(rising, trials=ordered))


def test_few_trials_get_no_conclusions():
    found = understand(study_of(planted, 4))
    assert ("more", "") in {(one.kind, one.setting) for one in found.advice}
    assert not found.importances and set(found.missing) >= {"model of the study", "regression", "lead"}


def test_failures_are_told_with_the_setting_that_brings_them():
    study = study_of(planted, 30)
    trials = [
        TrialFacts(TrialOutcome(one.name, one.outcome.values, {}, error="DivergedError: the loss became nan"))
        if one.outcome.values["train.learning_rate"] > 0.01
        else one
        for one in study.trials
    ]
    told = advice_of(dataclasses.replace(study, trials=trials))["failures", "train.learning_rate"]
    assert "the loss became nan" in told and "higher values of train.learning_rate" in told


# -- the page -------------------------------------------------------------------------------------


def test_the_page_and_the_json_hold_every_part(tmp_path):
    study = study_of(planted, 30)
    evil = TrialFacts(TrialOutcome("bad", dict(study.trials[0].outcome.values), {}, error="<script>alert(1)</script>"))
    costly = [
        dataclasses.replace(
            one, outcome=dataclasses.replace(one.outcome, result=one.outcome.result | {"train_s": 10.0 + at % 7})
        )
        for at, one in enumerate(study.trials)
    ]
    objectives = [study.objective, Objective.named("train_s")]
    storage = Storage.open(str(tmp_path))
    write_report(storage, dataclasses.replace(study, trials=[*costly, evil], objectives=objectives))
    page, figures = storage.read_text("report.html"), storage.read_json("report.json")
    for heading in ("What to try next", "History", "Settings together", "Sensitivity", "Several objectives", "Budget"):
        assert f"<h2>{heading}</h2>" in page
    assert "<script>" not in page and not re.search(r"""(src|href)=["']?http""", page)
    assert figures["importance"][0]["setting"] == "train.learning_rate"
    assert figures["pareto"]["names"] and figures["sensitivity"]["whole_space"]["morris"]
    assert "Energy is not compared" in figures["energy"] and "Energy is not compared" in page


def test_parallel_coordinates_are_well_formed_and_name_every_trial():
    drawn = ElementTree.fromstring(parallel_coordinates(study_of(planted, 12)))
    lines = drawn.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 12 and all(len(line.get("points").split()) == len(SPACE) + 1 for line in lines)
    assert "trial-3: eval_accuracy" in "".join(drawn.itertext())


# -- folders, MLflow, Optuna ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a study of twelve trials, as `mobula tune` leaves it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "train.csv").write_text("text,label\na,x\n")
    (tmp_path / "run.yaml").write_text(RUN_YAML)
    config = load_config("run.yaml")
    study = study_of(lambda learning_rate, weight_decay: learning_rate, 12, space=config.tune.space)
    storage = Storage.open("runs/study")
    storage.write_text("study.yaml", dump_config(config))
    for at, trial in enumerate(study.trials):
        ended = Record("finished", "2026-01-01T00:00:00+00:00", f"2026-01-01T00:00:{at + 10}+00:00")
        known = {"values": trial.outcome.values, "result": trial.outcome.result, "stopped": at == 1}
        failed = {"state": "failed", "error": "OOM", "details": {"values": trial.outcome.values}}
        more = failed if at == 2 else {"details": known | ({"data": {"validation": {"rows": 50}}} if at == 0 else {})}
        record = dataclasses.replace(ended, **more)
        storage.write_json(f"trials/{trial.name}/record.json", dataclasses.asdict(record))
        rows = [{"step": 4, "eval_accuracy": 0.1}, {"step": 8, "eval_accuracy": trial.value("eval_accuracy")}]
        storage.write_text(f"trials/{trial.name}/metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    storage.write_json("trials/running/record.json", dataclasses.asdict(Record("running")))
    return storage


def test_a_study_is_read_from_its_file_and_from_its_folder(folder):
    one, other = StudyFolder.find("run.yaml").facts(), StudyFolder.find("runs/study").facts(["train_s"])
    assert [trial.name for trial in one.trials] == [trial.name for trial in other.trials]
    assert (len(one.trials), len(one.failed), one.num_validation_rows) == (12, 1, 50)
    assert [objective.name for objective in other.objectives] == ["eval_accuracy", "train_s"]
    assert len(one.best.evaluations("eval_accuracy")) == 2


def test_the_command_prints_the_best_and_says_where_the_page_is(folder, capsys):
    assert mobula(["tune", "report", "runs/study"]) == 0
    told = capsys.readouterr().out
    assert "eval_accuracy" in told and told.rstrip().endswith("report.html")
    assert folder.exists("report.html") and folder.exists("report.json")


def test_mistakes_are_told_in_one_sentence(folder, tmp_path, capsys):
    assert mobula(["tune", "report", str(tmp_path)]) == 2
    assert "found no study.yaml; expected a run.yaml, or the folder of a study" in capsys.readouterr().err
    assert mobula(["tune", "report", "run.yaml", "name=other"]) == 2
    assert "nothing was tried yet; run `mobula tune run.yaml` first" in capsys.readouterr().err
    assert mobula(["tune", "report", "runs/study", "tune.metric=eval_f1"]) == 2
    assert "keys can be changed of a run.yaml only" in capsys.readouterr().err
    assert mobula(["tune", "report", "run.yaml", "tune.metric=eval_f1"]) == 2
    assert "none of 12 trials has a score called eval_f1" in capsys.readouterr().err
    assert mobula(["tune", "report", "runs/study", "--rows", "2"]) == 2
    assert "found 0 trials whose checkpoints are there" in capsys.readouterr().err


def test_what_names_no_verb_is_a_file_to_run(capsys):
    assert mobula(["tune", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err
    assert mobula(["tune", "--json", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_mlflow_holds_one_run_of_the_study_and_one_below_it_for_each_trial_however_often_it_is_told(folder):
    found = StudyFolder.find("runs/study")
    files = {"study.yaml": folder.place("study.yaml")}
    first = record_study("runs", found.config, found.facts(), files)
    assert first is not None and first == record_study("runs", found.config, found.facts(), files)
    client = mlflow_client("runs")
    experiment = client.get_experiment_by_name("study").experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{first}'")
    assert sorted(run.info.status for run in children) == ["FAILED", "FINISHED", *["FINISHED"] * 9, "KILLED"]
    best = next(run for run in children if run.info.run_name == found.facts().best.name)
    assert set(best.data.params) == {"train.learning_rate", "train.weight_decay"}
    assert best.data.metrics["final/eval_accuracy"] == pytest.approx(found.facts().best.value("eval_accuracy"))
    assert [point.step for point in client.get_metric_history(best.info.run_id, "eval_accuracy")] == [4, 8]
    assert len(client.get_metric_history(first, "best/eval_accuracy")) == 11


def test_optuna_opens_the_storage_of_a_study_and_finds_what_matters(tmp_path, monkeypatch):
    import optuna

    from tuning.search import build_searcher

    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("text,label\na,x\n")
    (tmp_path / "run.yaml").write_text(RUN_YAML)
    settings = load_config("run.yaml").tune
    place = f"sqlite:///{tmp_path}/optuna.db"
    searcher = build_searcher(settings, optuna.storages.RDBStorage(place), "study", 0)
    for number in range(12):
        values = searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), {"eval_accuracy": 0.5 + 4 * values["train.weight_decay"]})
    study = optuna.load_study(study_name="study", storage=place)
    assert len(study.trials) == 12 and study.direction.name == "MAXIMIZE"
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    assert next(iter(found)) == "train.weight_decay"
