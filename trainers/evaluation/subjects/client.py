"""How an endpoint is asked, and what its failures mean: one row's problem, or the end."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from cluster.config import EvaluateConfig
from cluster.config.endpoint import EndpointConfig
from cluster.exceptions import ConfigError, ResourceError, UserError

KNOCK_TIMEOUT_S = 10.0
_SHOWN = 300


class Failed(Exception):
    """A request that brought no answer.

    Attributes:
        problem: what the user is told if it is the end of the evaluation; None if it is this row's problem alone.
    """

    def __init__(self, message: str, problem: UserError | None = None) -> None:
        super().__init__(message)
        self.problem = problem

    @property
    def is_fatal(self) -> bool:
        """Whether the next row would fare no better."""
        return self.problem is not None


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back: fields of a prediction, and when."""

    fields: dict[str, Any]
    facts: dict[str, Any]


class Client:
    """One endpoint. Its methods may be called by several threads.

    Args:
        url: up to and with `/v1`.
    """

    def __init__(self, url: str, settings: EndpointConfig) -> None:
        self.url, self.settings = url, settings
        self._length_name = "max_tokens"
        self._asks_by_chat = False
        self._lock = threading.Lock()

    @functools.cached_property
    def _openai(self) -> Any:
        import openai

        settings = self.settings
        return openai.OpenAI(
            base_url=self.url, api_key=self._key() or "none", timeout=settings.timeout_s, max_retries=settings.retries
        )

    def _key(self) -> str | None:
        return os.environ.get(self.settings.api_key_env) or None

    # -- who is there -----------------------------------------------------------------------------

    def card(self, model: str | None) -> dict[str, Any]:
        """What the endpoint says of a model.

        Args:
            model: its name; None for the only one.

        Raises:
            ResourceError: if nobody answers.
            ConfigError: if it is no such endpoint, refuses the key, or lacks the model.
        """
        listed = self._listed()
        if listed is None:  # not every endpoint lists its models
            if model is None:
                raise ConfigError(
                    f"{self.url}: the endpoint does not list its models; say which one is meant with --model"
                )
            return {"id": model}
        names = [str(one.get("id")) for one in listed]
        if model is None and len(names) == 1:
            return listed[0]
        if model not in names:
            found = f"no model {model!r}" if model else f"{len(names)} models, and --model names none"
            raise ConfigError(f"{self.url}: the endpoint has {found}; it lists {', '.join(names[:20]) or 'none'}")
        return listed[names.index(model)]

    def _listed(self) -> list[dict[str, Any]] | None:
        import httpx

        try:
            answer = httpx.get(
                f"{self.url}/models", headers=self._headers(), timeout=KNOCK_TIMEOUT_S, follow_redirects=True
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ResourceError(
                f"{self.url}: no endpoint answers there ({_said(error)}); start it, or correct the URL (up to and with /v1)"
            ) from error
        if answer.status_code in (401, 403):
            raise self._refused(answer.status_code)
        if answer.status_code in (404, 405, 501):
            return None
        try:
            listed = answer.json()["data"]
            return [dict(one) for one in listed]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.url}: what answers there speaks not OpenAI's API (GET {self.url}/models gave status "
                f"{answer.status_code} and no list of models); correct the URL, up to and with /v1"
            ) from error

    def _headers(self) -> dict[str, str]:
        key = self._key()
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _refused(self, status: int) -> ConfigError:
        name = self.settings.api_key_env
        what = f"the key in {name} is refused" if self._key() else f"it asks for a key, and {name} is not set"
        return ConfigError(
            f"{self.url}: {what} (status {status}); put the right one there, or name another variable in "
            "evaluate.endpoint.api_key_env"
        )

    def check_key(self) -> None:
        """Refuse a key that cannot be sent at all."""
        key = self._key()
        if key is not None and not key.isascii():
            raise ConfigError(f"{self.settings.api_key_env} holds characters that no key has; put the right one there")

    # -- asking -----------------------------------------------------------------------------------

    def classify(self, model: str, text: str, labels: Sequence[str]) -> Reply:
        """Label and probabilities of a text, from our `/v1/classify`; raises `Failed`."""
        began, answer = time.time(), self._post("/classify", {"model": model, "input": text})
        try:
            (one,) = answer.body["data"]
            probabilities = {str(name): float(value) for name, value in one["probabilities"].items()}
            label = str(one["label"])
        except (KeyError, TypeError, ValueError) as error:
            self._no_such_answer("classify", answer.body, error)
        fields = {
            "output": label,
            "probability": probabilities.get(label),
            "was_cut": bool(one.get("truncated")),
            "logits": _logits(probabilities, labels),
            "latency_s": answer.elapsed_s,
        }
        return Reply(fields, {"began_unix_s": began, "ended_unix_s": time.time()})

    def generate(self, model: str, asked: dict[str, Any], evaluate: EvaluateConfig) -> Reply:
        """The answers to a question, as many as `num_samples` says; raises `Failed`."""
        began = time.time()
        texts: list[str] = []
        tokens, latency_s = 0, 0.0
        while len(texts) < evaluate.num_samples:  # not every endpoint gives several at once
            answer = self._answers(model, asked, evaluate, evaluate.num_samples - len(texts), len(texts))
            texts += answer.body["texts"]
            tokens += answer.body["tokens"]
            latency_s = max(latency_s, answer.elapsed_s)
        fields = {
            "output": texts[0],
            "samples": texts[1 : evaluate.num_samples],
            "output_tokens": tokens,
            "latency_s": latency_s,
        }
        return Reply(fields, {"began_unix_s": began, "ended_unix_s": time.time()})

    def _answers(
        self, model: str, asked: dict[str, Any], evaluate: EvaluateConfig, number: int, sample: int
    ) -> _Answer:
        body = {
            "model": model,
            "temperature": evaluate.temperature,
            self._length_name: evaluate.max_new_tokens,
            **({"top_p": evaluate.top_p, "seed": evaluate.seed + sample} if evaluate.temperature else {}),
            **({"n": number} if number > 1 else {}),
            **({"tools": asked["tools"]} if asked.get("tools") else {}),
            **self.settings.extra_body,
        }
        answer = self._completed(body, asked)
        try:
            choices = answer.body["choices"]
            texts = [one["message"]["content"] if "message" in one else one["text"] for one in choices]
            tokens = (answer.body.get("usage") or {}).get("completion_tokens") or 0
        except (KeyError, TypeError) as error:
            self._no_such_answer("chat/completions", answer.body, error)
        if not texts:
            raise Failed("the answer has no choices")
        return _Answer({"texts": [text or "" for text in texts], "tokens": int(tokens)}, answer.elapsed_s)

    def _completed(self, body: dict[str, Any], asked: dict[str, Any]) -> _Answer:
        """Ask for a continuation where the row is a text, else in a chat."""
        if "prompt" not in asked or self._asks_by_chat:
            messages = asked.get("messages") or [{"role": "user", "content": asked["prompt"]}]
            return self._sized("/chat/completions", {**body, "messages": messages})
        try:
            return self._sized("/completions", {**body, "prompt": asked["prompt"]})
        except Failed as failed:
            if not isinstance(failed.problem, _NoSuchRoute):
                raise
        with self._lock:
            self._asks_by_chat = True  # an endpoint of chat models only
        return self._completed(body, asked)

    def _sized(self, route: str, body: dict[str, Any]) -> _Answer:
        """Newer models of OpenAI's want the length under another name, and say so."""
        try:
            return self._post(route, body)
        except Failed as failed:
            if "max_tokens" not in body or "max_completion_tokens" not in str(failed):
                raise
        with self._lock:
            self._length_name = "max_completion_tokens"
        renamed = {"max_completion_tokens" if name == "max_tokens" else name: value for name, value in body.items()}
        return self._post(route, renamed)

    def _post(self, route: str, body: dict[str, Any]) -> _Answer:
        """One request, tried again by the client where that may help; the time is that of the last attempt."""
        import httpx
        import openai

        try:
            response: httpx.Response = self._openai.post(route, body=body, cast_to=httpx.Response)
            found = response.json()
        except openai.APIStatusError as error:
            raise self._status(route, error) from error
        except openai.APIConnectionError as error:
            raise self._unreachable(error) from error
        except ValueError as error:
            raise Failed("no JSON", self._speaks_not(route)) from error
        return _Answer(found, response.elapsed.total_seconds())

    # -- what failures mean -----------------------------------------------------------------------

    def _status(self, route: str, error: Any) -> Failed:
        status, said = error.status_code, _said(error)
        if status in (401, 403):
            return Failed(said, self._refused(status))
        if status in (404, 405):
            return Failed(
                said,
                _NoSuchRoute(f"{self.url}: POST {route} gave status {status} ({said}); correct the URL or --model"),
            )
        if status == 429:
            return Failed(
                said, ResourceError(f"{self.url}: the endpoint asks to be left in peace (status 429: {said})")
            )
        if status >= 500 and not self._is_alive():
            return Failed(said, ResourceError(f"{self.url}: the endpoint stopped answering (status {status}: {said})"))
        return Failed(f"status {status}: {said}")

    def _unreachable(self, error: Any) -> Failed:
        """No answer at all: if the endpoint answers something simple, it was this row that took too long."""
        if self._is_alive():
            return Failed(f"{type(error).__name__}: {_said(error)}")
        return Failed(_said(error), ResourceError(f"{self.url}: the endpoint stopped answering ({_said(error)})"))

    def _is_alive(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.url}/models", headers=self._headers(), timeout=KNOCK_TIMEOUT_S).status_code < 500
        except httpx.HTTPError:
            return False

    def _speaks_not(self, route: str) -> ConfigError:
        return ConfigError(
            f"{self.url}: what POST {route} answers has not OpenAI's form; correct the URL, up to and with /v1"
        )

    def _no_such_answer(self, route: str, body: Any, error: Exception) -> NoReturn:
        raise Failed(f"an answer of another form: {str(body)[:_SHOWN]}", self._speaks_not(f"/{route}")) from error


class _NoSuchRoute(ConfigError):
    """The endpoint does not offer what was asked, or does not have the model."""


@dataclasses.dataclass(frozen=True)
class _Answer:
    """The JSON of an answer, and the time from request to its end."""

    body: Any
    elapsed_s: float


def _logits(probabilities: dict[str, float], labels: Sequence[str]) -> list[float] | None:
    """Log-probabilities in the order of the labels: scores that give these probabilities back."""
    if not labels or any(label not in probabilities for label in labels):
        return None
    return [math.log(max(probabilities[label], 1e-30)) for label in labels]


def _said(error: Any) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_SHOWN]
