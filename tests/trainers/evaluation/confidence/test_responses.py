"""Claims about the confidence of a causal model's answers: it is made of the probabilities of the tokens that were written."""

import json

import pytest
import torch

from cluster.config import DataConfig, EvaluateConfig
from tests.trainers.evaluation.tiny_folders import ANSWERS, conversation, write_jsonl
from trainers.data.sources import locate
from trainers.data.template import render
from trainers.evaluation.subjects.scorers import CausalScorer, Task


def test_an_answers_confidence_is_that_of_its_tokens(answering_folder, tmp_path):
    rows = [{"messages": conversation(question, json.dumps(answer))} for question, answer in ANSWERS.items()]
    sources = locate([write_jsonl(tmp_path / "rows.jsonl", rows)], "test")
    settings = EvaluateConfig(max_new_tokens=40, batch_size=3)
    scorer = CausalScorer(Task(answering_folder, sources, DataConfig(train="-"), settings))
    [window] = sources.plans[0].blocks()
    with torch.inference_mode():
        predictions = scorer.predictions(window)
    tokenizer, model = answering_folder.tokenizer(), answering_folder.load()
    for question, prediction in zip(ANSWERS, predictions, strict=True):
        prompt = render(tokenizer, [{"role": "user", "content": question}], add_generation_prompt=True)
        ids = torch.tensor([prompt])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False)
        with torch.inference_mode():
            scores = model(input_ids=written).logits[0].float().log_softmax(-1)
        taken = scores[torch.arange(len(prompt) - 1, written.shape[1] - 1), written[0, len(prompt) :]]
        assert prediction.probability == pytest.approx(float(taken.mean().exp()), abs=1e-4)
        assert prediction.notes["token_probability_min"] == pytest.approx(float(taken.min().exp()), abs=1e-4)
        assert prediction.notes["token_probability_mean"] == pytest.approx(float(taken.exp().mean()), abs=1e-4)
        assert prediction.notes["answer_probability"] == pytest.approx(float(taken.sum().exp()), abs=1e-4)
