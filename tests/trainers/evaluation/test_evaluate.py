"""Claims about scoring model folders."""

import json
import math

import pytest
import torch

from cluster.config import DataConfig, EvaluateConfig
from cluster.exceptions import DataError
from tests.trainers.evaluation.tiny_folders import ANSWERS, LABELS, conversation, write_jsonl
from trainers.data.sources import locate
from trainers.data.template import render, tokenize_conversation
from trainers.evaluation import Prediction, evaluate_folder
from trainers.evaluation.figures import summarise
from trainers.evaluation.rows import Rows
from trainers.evaluation.subjects.scorers import CausalScorer, ClassificationScorer, Task

SHORT = EvaluateConfig(max_new_tokens=40, batch_size=2)


def rows_with_one_wrong_reference() -> list[dict]:
    rows = [
        {"messages": conversation(question, json.dumps(answer)), "source": "mail" if "lamp" in question else "chat"}
        for question, answer in ANSWERS.items()
    ]
    rows[-1]["messages"] = conversation("refund the watch now", '{"intent": "refund", "product": "lamp"}')
    return rows


@pytest.fixture(scope="module")
def answered(ray_cluster, answering_folder, tmp_path_factory):
    data = write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", rows_with_one_wrong_reference())
    return evaluate_folder(answering_folder, [data], SHORT, slices=["source"])


def test_json_answers_are_compared_as_objects_field_by_field(answered):
    assert answered.n == 4
    assert answered.metrics["exact_match"] == 0.75
    assert answered.metrics["json_valid"] == 1.0
    assert answered.metrics["field.intent"] == 1.0
    assert answered.metrics["field.product"] == 0.75


def test_the_majority_baseline_is_the_most_common_reference(answered):
    assert json.loads(answered.baseline_answer) == {"intent": "refund", "product": "lamp"}
    assert answered.baseline["exact_match"] == 0.5
    assert answered.baseline["field.intent"] == 0.5


def test_slices_are_scored_one_by_one(answered):
    by_source = answered.slices["source"]
    assert {name: scores["n"] for name, scores in by_source.items()} == {"chat": 3, "mail": 1}
    assert by_source["mail"]["exact_match"] == 1.0
    assert by_source["chat"]["exact_match"] == pytest.approx(2 / 3)


def test_predictions_keep_the_order_and_the_place_of_the_rows(answered):
    assert [prediction.place.rsplit(":", 1)[1] for prediction in answered.predictions] == ["1", "2", "3", "4"]
    assert json.loads(answered.predictions[1].output) == ANSWERS["cancel my watch"]


def test_loss_is_that_of_the_assistants_tokens(answered, answering_folder):
    tokenizer, model = answering_folder.tokenizer(), answering_folder.load()
    total, units = 0.0, 0
    for row in rows_with_one_wrong_reference():
        ids, mask = tokenize_conversation(tokenizer, row["messages"])
        with torch.inference_mode():
            scores = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        for position in range(1, len(ids)):
            if mask[position]:
                total -= float(scores[position - 1, ids[position]])
                units += 1
    assert answered.metrics["loss"] == pytest.approx(total / units, rel=1e-3)
    assert answered.metrics["perplexity"] == pytest.approx(math.exp(total / units), rel=1e-3)


def test_answers_are_those_of_generate_on_the_single_row(answered, answering_folder):
    tokenizer, model = answering_folder.tokenizer(), answering_folder.load()
    for question, prediction in zip(ANSWERS, answered.predictions, strict=True):
        prompt = render(tokenizer, [{"role": "user", "content": question}], add_generation_prompt=True)
        output = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=40, do_sample=False
        )
        assert prediction.output == tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True)


def test_labels_are_scored_with_accuracy_f1_and_classes(ray_cluster, classifying_folder, tmp_path):
    rows = [{"text": question, "label": LABELS[question.split()[0]]} for question in ANSWERS]
    beyond = {"text": "not reached", "label": "unknown"}
    data = write_jsonl(tmp_path / "rows.jsonl", [*rows, beyond])
    result = evaluate_folder(classifying_folder, [data], EvaluateConfig(max_rows=4))
    right = [prediction.output == row["label"] for prediction, row in zip(result.predictions, rows, strict=True)]
    assert result.metrics["accuracy"] == sum(right) / 4
    assert result.baseline == pytest.approx({"accuracy": 0.5, "macro_f1": 2 / 9})
    assert result.baseline_answer == "money"
    assert result.classes["money"]["n"] == 2
    assert all(1 / 3 <= prediction.probability <= 1 for prediction in result.predictions)


def test_a_label_that_training_never_saw_is_named_with_its_line(classifying_folder, tmp_path):
    rows = [{"text": "refund the lamp", "label": "money"}, {"text": "hello", "label": "greeting"}]
    sources = locate([write_jsonl(tmp_path / "rows.jsonl", rows)], "test")
    scorer = ClassificationScorer(Task(classifying_folder, sources, DataConfig(train="-"), SHORT))
    with pytest.raises(DataError, match=r"rows\.jsonl:2: the label 'greeting'.*money"):
        for block in sources.plans[0].blocks():
            scorer(block)


def test_a_slice_column_that_no_row_has_is_named():
    rows = [Prediction("rows.jsonl:1", "a", "a", 0.1, 1, columns={"source": "mail"})]
    with pytest.raises(DataError, match="slice column 'sauce'"):
        summarise("causal_lm", Rows(rows), SHORT, ["sauce"])


def test_a_prompt_longer_than_the_model_is_cut_and_counted(answering_folder, tmp_path):
    rows = [{"messages": conversation("refund the lamp please " * 30, "{}")}]
    sources = locate([write_jsonl(tmp_path / "rows.jsonl", rows)], "test")
    scorer = CausalScorer(Task(answering_folder, sources, DataConfig(train="-", max_length=128), SHORT))
    (block,) = sources.plans[0].blocks()
    assert scorer.predictions(block)[0].was_cut
