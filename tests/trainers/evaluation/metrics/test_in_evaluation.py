"""Claims about metrics inside an evaluation of a model: asked for by name, with notes taken and intervals given."""

import json

import pytest

from cluster.config import EvaluateConfig
from tests.trainers.evaluation.tiny_folders import ANSWERS, conversation, write_jsonl
from trainers.evaluation import evaluate_folder

ASKED = [
    "bleu",
    "chrf",
    "rouge",
    "token_f1",
    "length",
    "distinct",
    "readability",
    "roc_auc",
    {"name": "multi_label", "label": "products", "args": {"field": "product"}},
    {"name": "json_schema", "args": {"schema": {"type": "object", "required": ["intent"]}}},
    {"name": "pass_at_k", "args": {"tests": "check"}},
    {"name": "consistency", "args": {"group": "source"}},
]


@pytest.fixture(scope="module")
def answered(ray_cluster, answering_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {"messages": conversation(question, json.dumps(answer)), "source": source, "check": "assert True"}
        for source, (question, answer) in zip("aabb", ANSWERS.items(), strict=True)
    ]
    novelty = {"name": "novelty", "args": {"against": write_jsonl(folder / "train.jsonl", rows), "n": 2}}
    config = EvaluateConfig.model_validate({"max_new_tokens": 40, "batch_size": 2, "metrics": [*ASKED, novelty]})
    return evaluate_folder(answering_folder, [write_jsonl(folder / "rows.jsonl", rows)], config, slices=["source"])


def test_a_model_that_answers_rightly_scores_the_most_there_is(answered):
    best = {
        "bleu": 100.0,
        "chrf": 100.0,
        "rougeL": 1.0,
        "token_f1": 1.0,
        "products.subset_accuracy": 1.0,
        "json_schema": 1.0,
        "length.ratio": 1.0,
    }
    assert {name: answered.metrics[name] for name in best} == pytest.approx(best)


def test_answers_are_run_and_compared_with_training_rows(answered):
    notes = answered.predictions[0].notes
    assert (notes["code_runs"], notes["code_passed"]) == (1, 1), "a JSON object is Python too"
    assert answered.metrics["pass@1"] == 1.0
    assert answered.metrics["novelty.new"] == answered.metrics["novelty.unseen"] == 0.0


def test_every_metric_has_its_interval_and_slices_their_own(answered):
    assert {"bleu", "rouge1", "pass@1", "distinct.1"} <= set(answered.intervals)
    assert answered.slices["source"]["b"]["chrf"] == pytest.approx(100)


def test_what_is_not_defined_is_left_out_with_the_reason(answered):
    assert "logits" in answered.sections["left_out"]["roc_auc"]
    assert "roc_auc" not in answered.metrics
