"""A causal model's answer tells how sure it is, where its tokens' probabilities were asked for."""

import json
import math

import pytest

from serving.confidence import with_confidence

CHAT = {"logprobs": {"content": [{"token": "a", "logprob": math.log(0.9)}, {"token": "b", "logprob": math.log(0.4)}]}}
TEXT = {"logprobs": {"token_logprobs": [None, math.log(0.9), math.log(0.4)]}}


@pytest.mark.parametrize("choice", [CHAT, TEXT], ids=["chat", "completion"])
def test_confidence_is_that_of_the_tokens(choice):
    [found] = json.loads(with_confidence(json.dumps({"choices": [choice]})))["choices"]
    assert found["confidence"] == pytest.approx({"geometric_mean": 0.6, "mean": 0.65, "min": 0.4, "product": 0.36})
    assert found["logprobs"] == choice["logprobs"]


@pytest.mark.parametrize(
    "answer", ['{"choices": [{"text": "hi", "logprobs": null}]}', '{"data":  []}', '{"logprobs": 1}']
)
def test_an_answer_without_token_probabilities_stays_as_it_is(answer):
    assert with_confidence(answer) == answer
