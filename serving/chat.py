"""The other side of the endpoint: a conversation with it through the ordinary `openai` client."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from cluster.exceptions import ResourceError, UserError


class Conversation:
    """Keeps what was said and asks a causal model for the next answer."""

    def __init__(self, client: openai.OpenAI, card: Any, system: str | None, **sampling: Any) -> None:
        self.model: str = card.id
        system = system or (getattr(card, "metadata", None) or {}).get("system")
        self._client, self._sampling = client, sampling
        self._opening: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self.messages = list(self._opening)

    def reply(self, text: str) -> Iterator[str]:
        """Say `text` and yield the answer as it comes. An answer that breaks off is not kept, nor is the question."""
        asked: list[Any] = [*self.messages, {"role": "user", "content": text}]
        parts = []
        with plain_errors(str(self._client.base_url)):
            chunks: Any = self._client.chat.completions.create(
                model=self.model, messages=asked, stream=True, **self._sampling
            )
            for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    parts.append(chunk.choices[0].delta.content)
                    yield parts[-1]
        self.messages = [*asked, {"role": "assistant", "content": "".join(parts)}]

    def reset(self) -> None:
        """Forget what was said, the system message excepted."""
        self.messages = list(self._opening)


class Labelling:
    """Asks a classifier for the label of each text; there is nothing to remember."""

    def __init__(self, client: openai.OpenAI, card: Any, system: str | None, **sampling: Any) -> None:
        self.model: str = card.id
        self._client = client

    def reply(self, text: str) -> Iterator[str]:
        """Yield the label of `text` with its probability, and the next ones behind it."""
        with plain_errors(str(self._client.base_url)):
            answer: Any = self._client.post("/classify", body={"model": self.model, "input": text}, cast_to=object)
        ranked = sorted(answer["data"][0]["probabilities"].items(), key=lambda pair: -pair[1])
        yield "  ".join(f"{label} {probability:.3f}" for label, probability in ranked[:3])

    def reset(self) -> None:
        """Nothing to forget."""


KINDS: dict[str, type[Conversation | Labelling]] = {"causal_lm": Conversation, "classification": Labelling}
"""Kind of model, as its card at `/v1/models` says -> how one talks to it."""


def connect(url: str, model: str | None = None, system: str | None = None, **sampling: Any) -> Conversation | Labelling:
    """A conversation with the endpoint at `url` (with or without `/v1`).

    Args:
        model: one of its models; the first if not given.
        system: system message; the one the model was trained with if not given.
        sampling: `temperature`, `max_tokens` and the like.

    Raises:
        ResourceError: if nothing answers there.
        UserError: if it does not serve `model`.
    """
    base_url = url.rstrip("/") if url.rstrip("/").endswith("/v1") else f"{url.rstrip('/')}/v1"
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
    with plain_errors(base_url):
        cards = list(client.models.list())
    card = next((card for card in cards if model in (None, card.id)), None)
    if card is None:
        raise UserError(f"{url} does not serve {model!r}; it has {', '.join(card.id for card in cards)}")
    kind = (getattr(card, "metadata", None) or {}).get("kind", "causal_lm")
    return KINDS[kind](client, card, system, **sampling)


@contextmanager
def plain_errors(url: str) -> Iterator[None]:
    """Say what the client's exceptions mean in one sentence."""
    try:
        yield
    except openai.APIConnectionError as error:
        raise ResourceError(
            f"nothing answers at {url} ({type(error.__cause__).__name__}); start it with `mobula serve`, or give --url"
        ) from error
    except openai.APIError as error:
        raise UserError(f"{url} refused: {error.message}") from error
