"""From members to a registered, scored folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.cli import run
from cluster.exceptions import ConfigError
from cluster.registry import Registry
from tests.serving.tiny_models import LABELS, TEXTS
from tests.trainers.ensembles.made import causal_models, classifiers
from trainers.ensembles.folder import EnsembleFolder
from trainers.folder import ModelFolder
from tuning.ensemble.settings import settings_of


def shortest(questions: list[str], answers: list[str]) -> list[float]:
    """A reward: the shorter the better."""
    return [-float(len(answer)) for answer in answers]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def labelled(start: int, count: int) -> list[dict[str, str]]:
    return [{"text": f"{TEXTS[at % 7]} {at}", "label": LABELS[at % 3]} for at in range(start, start + count)]


def built(
    capsys: pytest.CaptureFixture[str], members: list[ModelFolder], path: Path, *overrides: str
) -> dict[str, Any]:
    places = [str(one.path) for one in members]
    assert run(["ensemble", *places, *overrides, "--storage-path", str(path), "--name", "trio", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_classifiers_become_a_folder_that_is_scored_and_registered(ray_cluster, tmp_path: Path, capsys) -> None:
    members = classifiers(tmp_path)
    validation = write_rows(tmp_path / "validation.jsonl", labelled(0, 30))
    test = write_rows(tmp_path / "test.jsonl", labelled(100, 20))
    found = built(capsys, members, tmp_path / "runs", f"ensemble.validation={validation}", f"data.test={test}")
    folder = ModelFolder.open(found["model_path"])
    assert isinstance(folder, EnsembleFolder)
    assert Registry(str(tmp_path / "runs")).version("models:/trio@champion").folder == found["model_path"]
    report = found["report"]
    assert set(report["tried"]) >= {"soft_vote", "greedy, loss"}
    assert report["best_single"] in {one["name"] for one in report["members"]}
    assert [point["size"] for point in report["curve"]] == [1, 2, 3]
    assert set(report["scores"]) == {"validation", "test"} and len(report["sentences"]) == 2
    assert report["looks"]["models"] == 2  # the ensemble and the best single member, nothing else
    assert report["cost"]["relative_bytes"] == pytest.approx(len(folder.members))
    for name in ("README.md", "metrics.json", "lineage.json", "run.yaml"):
        assert (folder.path / name).exists()
    assert (tmp_path / "runs" / "trio" / "report.html").read_text().startswith("<!doctype html>")


def test_answers_of_an_ensemble_are_those_that_its_members_give(ray_cluster, tmp_path: Path, capsys) -> None:
    from cluster.config import EvaluateConfig
    from trainers.evaluation import evaluate_folder

    members = classifiers(tmp_path)
    rows = write_rows(tmp_path / "rows.jsonl", labelled(0, 20))
    settings = (f"ensemble.validation={rows}", "ensemble.combine.kind=soft_vote", "ensemble.copy_members=false")
    found = built(capsys, members, tmp_path / "runs", *settings)
    quick = EvaluateConfig(num_resamples=200)
    each = [evaluate_folder(one, [rows], quick).predictions for one in members]
    whole = evaluate_folder(ModelFolder.open(found["model_path"]), [rows], quick).predictions
    for at, one in enumerate(whole):
        logits = np.array([predictions[at].logits for predictions in each])
        mean = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).mean(0)
        assert np.exp(one.logits) == pytest.approx(mean, abs=1e-4)
        assert one.notes["entropy"] == pytest.approx(one.notes["aleatoric"] + one.notes["epistemic"])


@pytest.mark.parametrize("rule", ["token_mean", "best_of_n", "router"])
def test_causal_models_answer_together(ray_cluster, tmp_path: Path, capsys, rule: str) -> None:
    members = causal_models(tmp_path, 2)
    rows = write_rows(tmp_path / "rows.jsonl", [{"prompt": text, "completion": "yes"} for text in TEXTS])
    reward = [f"ensemble.combine.reward={__name__}:shortest"] if rule == "best_of_n" else []
    settings = [f"ensemble.validation={rows}", f"ensemble.combine.kind={rule}", "evaluate.max_new_tokens=4", *reward]
    found = built(capsys, members, tmp_path / "runs", *settings)
    assert found["report"]["kind"] == "causal_lm"
    assert found["metrics"]["eval_loss"] > 0
    assert ModelFolder.open(found["model_path"]).spec.rule == rule


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["ensemble.combine.kind=token_mean"], "token_mean is for causal models"),
        (["ensemble.combine.kind=mc_dropout"], "mc_dropout takes one classifier; found 3 members"),
        (["ensemble.combine.kind=nonsense"], "nonsense"),
    ],
)
def test_a_rule_that_does_not_suit_is_refused(ray_cluster, tmp_path: Path, capsys, overrides, said: str) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", labelled(0, 12))
    places = [str(one.path) for one in classifiers(tmp_path)]
    given = [*places, f"ensemble.validation={rows}", *overrides, "--storage-path", str(tmp_path / "runs")]
    assert run(["ensemble", *given]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_combine_is_said() -> None:
    with pytest.raises(ConfigError, match="found no members"):
        settings_of([], [], None)
