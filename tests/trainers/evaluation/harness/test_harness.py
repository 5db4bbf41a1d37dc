"""Claims about lm-evaluation-harness on our folders, with tasks and data of one's own and no hub."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
import yaml

from cluster.cli import run
from cluster.config.endpoint import EndpointConfig
from cluster.exceptions import ConfigError, DataError, ResourceError
from tests.serving.tiny_models import tiny_adapter_folder, tiny_causal_folder, tiny_classifier_folder
from tests.trainers.evaluation.harness import endpoint
from trainers.evaluation.harness import HarnessSettings, evaluate_with_harness
from trainers.evaluation.harness.run import scores_of
from trainers.evaluation.store import EVALUATIONS
from trainers.evaluation.subjects import FolderSubject
from trainers.evaluation.subjects.endpoint import EndpointSubject
from trainers.folder import ModelFolder

if importlib.util.find_spec("lm_eval") is None:
    pytest.skip("lm-evaluation-harness is not installed", allow_module_level=True)

ROWS = [
    {"question": "where is my parcel", "choices": ["delivery", "refund"], "answer": 0},
    {"question": "I want my money back", "choices": ["delivery", "refund"], "answer": 1},
    {"question": "the lamp arrived broken", "choices": ["delivery", "refund"], "answer": 1},
]
TASK = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "shop.jsonl"}},
    "test_split": "test",
    "doc_to_text": "{{question}}",
}
TASKS = {
    "shop": {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "shop_words": {
        "output_type": "generate_until",
        "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
    "shop_lost": {"dataset_kwargs": {"data_files": {"test": "nowhere.jsonl"}}, "output_type": "multiple_choice"},
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> str:
    return str(write_tasks(tmp_path_factory.mktemp("tasks")))


def write_tasks(folder: Path) -> Path:
    (folder / "shop.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, task in TASKS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **TASK, **task}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_causal_folder(tmp_path_factory.mktemp("model"))


def likelier(folder: Path) -> list[bool]:
    """Whether the model itself finds the right choice of each row likelier, token by token."""
    opened = ModelFolder.open(folder)
    model, tokenizer = opened.load(), opened.tokenizer()

    def likelihood(question: str, choice: str) -> float:
        before, whole = (tokenizer(text)["input_ids"] for text in (question, f"{question} {choice}"))
        with torch.inference_mode():
            scores = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
        return sum(float(scores[at - 1, whole[at]]) for at in range(len(before), len(whole)))

    found = [[likelihood(row["question"], choice) for choice in row["choices"]] for row in ROWS]
    return [max(range(2), key=one.__getitem__) == row["answer"] for one, row in zip(found, ROWS, strict=True)]


def test_a_folder_is_scored_on_local_tasks_kept_and_answered_from_there(ray_cluster, folder, tasks, tmp_path):
    settings = HarnessSettings(("shop", "shop_w*"), tasks, max_new_tokens=4)
    subject = FolderSubject(ModelFolder.open(folder))
    found = evaluate_with_harness(subject, settings, str(tmp_path))
    scores = {(one.task, one.metric): one for one in found.scores}
    expected = likelier(folder)
    accuracy = scores["shop", "acc"]
    assert accuracy.value == pytest.approx(sum(expected) / 3)
    assert (accuracy.n, accuracy.higher_is_better) == (3, True)
    assert 0 <= accuracy.low < accuracy.value < accuracy.high <= 1 or sum(expected) in (0, 3)
    assert ("shop_words", "exact_match") in scores
    kept = tmp_path / EVALUATIONS / found.fingerprint
    assert json.loads((kept / "harness.json").read_text())["scores"][0]["value"] == found.scores[0].value
    rows = [json.loads(line) for line in (kept / "samples" / "shop.jsonl").read_text().splitlines()]
    assert [row["acc"] for row in rows] == [float(right) for right in expected]
    again = evaluate_with_harness(subject, settings, str(tmp_path))
    assert again.is_cached and again.scores == found.scores


def test_an_adapter_is_scored_with_its_own_weights(ray_cluster, folder, tasks, tmp_path):
    adapter = tiny_adapter_folder(tmp_path / "adapter", folder)
    settings = HarnessSettings(("shop",), tasks)
    samples = []
    for path in (folder, adapter):
        found = evaluate_with_harness(FolderSubject(ModelFolder.open(path)), settings, str(tmp_path))
        samples.append((tmp_path / EVALUATIONS / found.fingerprint / "samples" / "shop.jsonl").read_text())
        assert found.scores[0].value == pytest.approx(sum(likelier(path)) / 3)
    assert samples[0] != samples[1]


def test_a_task_whose_data_is_not_there_is_named(ray_cluster, folder, tasks, tmp_path):
    settings = HarnessSettings(("shop_lost",), tasks)
    with pytest.raises(
        DataError, match=r"--harness shop_lost: .*cannot be loaded \(FileNotFoundError: .*--tasks-folder"
    ):
        evaluate_with_harness(FolderSubject(ModelFolder.open(folder)), settings, str(tmp_path))


def test_what_the_harness_cannot_score_is_refused_at_once(tmp_path, tasks, folder, monkeypatch):
    classifier = FolderSubject(ModelFolder.open(tiny_classifier_folder(tmp_path / "classifier")))
    with pytest.raises(ConfigError, match="is a classifier, and the harness scores models that write text"):
        evaluate_with_harness(classifier, HarnessSettings(("shop",), tasks), str(tmp_path))
    with pytest.raises(ConfigError, match="names no task"):
        HarnessSettings(())
    with pytest.raises(ConfigError, match="no such folder"):
        HarnessSettings(("shop",), str(tmp_path / "none"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"not installed; pip install 'mobula\[harness\]'"):
        evaluate_with_harness(FolderSubject(ModelFolder.open(folder)), HarnessSettings(("shop",), tasks), str(tmp_path))


def test_a_metric_that_is_no_mean_has_the_interval_of_its_standard_error():
    raw = {
        "results": {
            "t": {"bleu,none": 20.0, "bleu_stderr,none": 2.0, "acc,strict": 0.5, "alias": "t", "sample_len": 2}
        },
        "groups": {"g": {"acc,none": 0.5, "acc_stderr,none": "N/A"}},
        "higher_is_better": {"t": {"bleu": True}},
    }
    samples = {"t": [{"filter": "strict", "acc": 1.0, "bleu": ["a", "b"]}, {"filter": "strict", "acc": 0.0}]}
    bleu, strict, group = scores_of(raw, samples, 0.95)
    assert (bleu.low, bleu.high) == pytest.approx((20 - 1.96 * 2, 20 + 1.96 * 2), abs=0.001)
    assert strict.metric == "acc,strict" and 0 < strict.low < 0.5 < strict.high < 1
    assert (group.task, group.low, group.stderr) == ("g", None, None)


def test_the_command_prints_scores_with_intervals(ray_cluster, folder, tasks, tmp_path, capsys):
    near = os.path.relpath(tasks)
    arguments = ["--harness", "shop", "--tasks-folder", near, "--max-rows", "2", "--few-shot", "0"]
    assert run(["evaluate", str(folder), *arguments, "--storage-path", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task", "metric", "value", "interval", "rows"]
    assert lines[1].split()[:2] == ["shop", "acc"] and lines[1].split()[-1] == "2"


# -- endpoints ------------------------------------------------------------------------------------

needs_clients = pytest.mark.skipif(
    importlib.util.find_spec("tenacity") is None,
    reason="the harness asks endpoints through tenacity, which is not installed",
)


@needs_clients
def test_an_endpoint_gets_the_scores_of_the_folder_behind_it(ray_cluster, folder, tasks, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    opened = ModelFolder.open(folder)
    settings = HarnessSettings(("shop", "shop_words"), tasks, tokenizer=str(folder))
    of_folder = evaluate_with_harness(FolderSubject(opened), settings, str(tmp_path))
    with endpoint.serving(opened) as served:
        subject = EndpointSubject(served.url, None, EndpointConfig(concurrency=1))
        of_endpoint = evaluate_with_harness(subject, settings, str(tmp_path))
        assert served.keys == {"Bearer secret"}
    assert [one.value for one in of_endpoint.scores] == [one.value for one in of_folder.scores]
    assert "secret" not in (tmp_path / EVALUATIONS / of_endpoint.fingerprint / "harness.json").read_text()


@needs_clients
def test_an_endpoint_that_cannot_be_asked_a_task_or_goes_away_is_named(ray_cluster, folder, tasks, tmp_path):
    opened = ModelFolder.open(folder)
    with endpoint.serving(opened) as served:
        subject = EndpointSubject(served.url, None, EndpointConfig(concurrency=1, retries=0))
        with pytest.raises(ConfigError, match=r"--harness shop: compares likelihoods.*--tokenizer"):
            evaluate_with_harness(subject, HarnessSettings(("shop",), tasks), str(tmp_path))
        with pytest.raises(ConfigError, match=r"--harness shop: .*chats do not tell; leave out --chat-template"):
            evaluate_with_harness(subject, HarnessSettings(("shop",), tasks, chat_template=True), str(tmp_path))
        served.requests.clear()
        served.answers = 2
        with pytest.raises(ResourceError, match=r"tiny at http://127.*stopped answering or refuses"):
            evaluate_with_harness(subject, HarnessSettings(("shop_words",), tasks), str(tmp_path))
        served.answers = 10**9
        found = evaluate_with_harness(subject, HarnessSettings(("shop_words",), tasks), str(tmp_path))
        assert found.scores[0].n == 3
