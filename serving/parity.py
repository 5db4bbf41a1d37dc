"""What is served is what was trained: fixed messages must give the same token ids in training's code and at the endpoint.

Another chat template, a tokenizer that adds a token at the front, or one from another version each make a good model
answer badly without any error. So a deployment is asked before it counts as ready, and refused on any difference.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from cluster.exceptions import DataError, ParityError
from trainers.folder import ModelFolder

Tokenize = Callable[[dict[str, Any]], list[int]]
"""Asks the endpoint: body of `POST /tokenize` -> token ids."""


def endpoint_tokenizer(url: str, model: str, timeout_s: float = 60.0) -> Tokenize:
    """The tokenizer of the running endpoint at `url`."""

    def tokenize(body: dict[str, Any]) -> list[int]:
        answer = httpx.post(f"{url}/tokenize", json={"model": model, **body}, timeout=timeout_s)
        if answer.is_error:
            raise ParityError(
                f"{url}/tokenize answered {answer.status_code} to a probe ({answer.text[:200]}); the endpoint cannot be "
                "checked against training, so it is not used"
            )
        return list(answer.json()["tokens"])

    return tokenize


def check_as_trained(folder: ModelFolder) -> None:
    """See that the folder's own tokenizer and template are still those of its training.

    Raises:
        ParityError: if they turn the probes into other tokens than they did then.
    """
    from trainers.data.template import rendering_fingerprint

    trained = folder.lineage.get("rendering")
    if trained is None:  # a foreign folder, or one from before this was written down
        return
    found = rendering_fingerprint(folder.tokenizer())
    if found != trained:
        raise ParityError(
            f"{folder.path}: its tokenizer or chat template turns the probe messages into other tokens than in training "
            f"(fingerprint {found}, in lineage.json {trained}). Put the files of the training back, or train again with "
            "the new ones"
        )


def check(folder: ModelFolder, tokenize: Tokenize) -> int:
    """Compare the probes and say how many agreed.

    Raises:
        ParityError: showing the first probe that differs and where.
    """
    probes = CASES[folder.kind](folder)
    for body, expected in probes:
        found = tokenize(body)
        if found != expected:
            raise ParityError(_difference(folder, body, expected, found))
    return len(probes)


def _conversations(folder: ModelFolder) -> list[tuple[dict[str, Any], list[int]]]:
    from trainers.data.template import render, renderable_probes

    tokenizer = folder.tokenizer()
    probes = renderable_probes(tokenizer)
    cases = [
        (
            {"messages": messages, "add_generation_prompt": prompt},
            render(tokenizer, messages, add_generation_prompt=prompt),
        )
        for messages in probes
        for prompt in (True, False)
    ]
    with suppress(DataError):  # a template may know no tools
        expected = render(tokenizer, probes[0], tools=[TOOL], add_generation_prompt=True)
        cases.append(({"messages": probes[0], "tools": [TOOL], "add_generation_prompt": True}, expected))
    return cases


def _texts(folder: ModelFolder) -> list[tuple[dict[str, Any], list[int]]]:
    from serving.classify import max_length
    from trainers.data.template import PROBES

    tokenizer, longest = folder.tokenizer(), max_length(folder)
    texts = [message["content"] for messages in PROBES for message in messages]
    return [
        ({"prompt": text}, list(tokenizer(text, truncation=True, max_length=longest)["input_ids"])) for text in texts
    ]


TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Look an order up.",
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
    },
}
"""What a conversation with tools is probed with, where the template takes any."""

CASES = {"causal_lm": _conversations, "classification": _texts}
"""Kind of folder -> what is asked and what training's code makes of it."""


def _difference(folder: ModelFolder, body: dict[str, Any], expected: list[int], found: list[int]) -> str:
    tokenizer = folder.tokenizer()
    pairs = zip(expected, found, strict=False)
    at = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(expected), len(found)))
    trained, served = (tokenizer.decode(ids[at : at + 12]) for ids in (expected, found))
    return (
        f"{folder.path}: the endpoint does not see what training saw. Of {body.get('messages') or body.get('prompt')!r} "
        f"token {at} and what follows is {trained!r} in training ({len(expected)} tokens) and {served!r} at the endpoint "
        f"({len(found)} tokens). Look for a chat_template or tokenizer in serve.engine_kwargs, or a changed "
        "tokenizer file in the folder"
    )
