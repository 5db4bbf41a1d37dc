"""Claims about answers that vLLM writes, on a real engine: what transformers would write, and kept while it writes."""

import importlib.util
import json

import pytest

from cluster.config import EvaluateConfig
from cluster.exceptions import ConfigError
from tests.serving.tiny_models import tiny_causal_folder
from tests.trainers.evaluation.tiny_folders import ANSWERS, conversation, write_jsonl
from trainers.evaluation import How, evaluate_subject
from trainers.evaluation.store import EvaluationDirectory
from trainers.evaluation.subjects import FolderSubject, Job, vllm_answers
from trainers.evaluation.subjects.folder import VLLM_PAYS_TOKENS
from trainers.folder import ModelFolder

pytestmark = [
    pytest.mark.usefixtures("ray_cluster"),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM, which is not installed"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    rows = [{"messages": conversation(question, json.dumps(answer))} for question, answer in ANSWERS.items()]
    return write_jsonl(tmp_path_factory.mktemp("vllm") / "rows.jsonl", [*rows, {"text": "nothing is asked here"}])


def test_vllm_writes_what_transformers_would_and_keeps_it_until_the_rows_are_scored(
    answering_folder, data, tmp_path, monkeypatch
):
    subject = FolderSubject(answering_folder)
    settings = EvaluateConfig(engine="vllm", max_new_tokens=40, num_resamples=200)

    def stop(*args):
        raise RuntimeError("the machine is taken away")

    monkeypatch.setattr("trainers.evaluation.subjects.folder.scored", stop)
    with pytest.raises(RuntimeError, match="taken away"):
        evaluate_subject(subject, [data], settings, how=How(str(tmp_path)))
    monkeypatch.undo()
    monkeypatch.setattr(vllm_answers, "_written", lambda folder, job: iter(()))
    result = evaluate_subject(subject, [data], settings, how=How(str(tmp_path)))
    monkeypatch.undo()
    assert not EvaluationDirectory.of(tmp_path, result.fingerprint).storage.exists(vllm_answers.ANSWERS)
    same = evaluate_subject(
        subject, [data], EvaluateConfig(engine="transformers", max_new_tokens=40, num_resamples=200)
    )
    assert [one.output for one in result.predictions] == [one.output for one in same.predictions]
    assert [one.output_tokens for one in result.predictions] == [one.output_tokens for one in same.predictions]
    assert result.metrics == pytest.approx(same.metrics)
    assert result.predictions[4].output is None and result.predictions[4].loss_units > 0
    assert result.cost["output_tokens_per_s"] > 0


def test_what_vllm_cannot_run_is_refused_and_auto_goes_without_it(tmp_path, data):
    odd = ModelFolder.open(tiny_causal_folder(tmp_path / "odd", hidden_size=48, num_attention_heads=2))
    with pytest.raises(ConfigError, match=r"vLLM has no attention on CPU for heads of 24.*set engine: transformers"):
        evaluate_subject(FolderSubject(odd), [data], EvaluateConfig(engine="vllm"))
    subject = FolderSubject(odd)
    much = Job(None, None, EvaluateConfig(max_new_tokens=100), num_rows=VLLM_PAYS_TOKENS["cpu"])  # type: ignore[arg-type]
    assert not subject.uses_vllm(much)
    fine = FolderSubject(ModelFolder.open(tiny_causal_folder(tmp_path / "fine")))
    assert fine.uses_vllm(much)
    assert not fine.uses_vllm(Job(None, None, EvaluateConfig(max_new_tokens=100), num_rows=10))  # type: ignore[arg-type]
