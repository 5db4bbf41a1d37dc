"""How sure a causal model is of an answer, told to whoever asks for `logprobs` (OpenAI's own field; not in streams)."""

import json
from typing import Any

from trainers.evaluation.confidence.responses import confidence_of_tokens


def with_confidence(answer: str) -> str:
    """A chat or text completion as JSON, each choice that has token probabilities with its `confidence` beside them.

    That is the `geometric_mean`, `mean`, `min` and `product` of the probabilities of the tokens written. An answer without
    token probabilities stays as it is, to the letter.
    """
    if '"logprobs"' not in answer:
        return answer
    body = json.loads(answer)
    sure = [(choice, confidence_of_tokens(found)) for choice in body.get("choices", []) if (found := _tokens(choice))]
    for choice, confidence in sure:
        choice["confidence"] = confidence
    return json.dumps(body, ensure_ascii=False) if sure else answer


def _tokens(choice: dict[str, Any]) -> list[float]:
    """Log-probabilities of the tokens of a choice, in the form of chats or of completions."""
    found = choice.get("logprobs") or {}
    given = [one["logprob"] for one in found.get("content") or []] or found.get("token_logprobs") or []
    return [float(one) for one in given if one is not None]
