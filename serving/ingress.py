"""The HTTP side of a causal model: OpenAI's routes in front of the engine deployment.

`ray.serve.llm` brings an ingress of its own. This one differs in what users meet: errors have OpenAI's shape and leak
nothing, a request has a deadline (streams too), `/tokenize` takes messages so that a deploy can be checked, an adapter
and its base are two names of one engine, and no foreign web page may read the answers (no CORS).
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI, Request
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response, StreamingResponse

from serving.errors import ApiError, out_of_time, speak_openai, unknown_model
from serving.parts import Part

logger = logging.getLogger("ray.serve")


class Front:
    """Passes requests to the engine and its answers back.

    Args:
        server: handle of the engine deployment, which has `respond(method, body, headers)`.
        cards: what `/v1/models` lists. The first is the model that answers when none is named.
        timeout_s: longest time for one answer.
    """

    def __init__(self, server: DeploymentHandle, cards: list[dict[str, Any]], timeout_s: float) -> None:
        self._server: Any = server.options(stream=True)
        self._cards = {card["id"]: card for card in cards}
        self._timeout_s = timeout_s

    def models(self) -> dict[str, Any]:
        """All that is served here, the usual one first."""
        return {"object": "list", "data": list(self._cards.values())}

    def card(self, model: str) -> dict[str, Any]:
        """One of them."""
        return self._cards[self._known(model)]

    def _known(self, model: Any) -> str:
        if model is None:
            return next(iter(self._cards))
        if model not in self._cards:
            raise unknown_model(model, list(self._cards))
        return str(model)

    async def answer(self, method: str, request: Request) -> Response:
        """Run one request, at once or as a stream of server-sent events."""
        body = read_body(await request.body())
        body["model"] = self._known(body.get("model"))  # the engine would take the base where an adapter is meant
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        parts: AsyncGenerator[Part, None] = self._server.respond.remote(method, body, dict(request.headers))
        try:
            async with asyncio.timeout_at(deadline):
                first = await anext(parts)
        except TimeoutError:
            raise out_of_time(self._timeout_s) from None
        if first.kind == "error":
            raise first.error()
        if first.kind == "events":
            return StreamingResponse(self._events(first, parts, deadline), media_type="text/event-stream")
        return Response(first.text, media_type="application/json")

    async def _events(
        self, first: Part, rest: AsyncGenerator[Part, None], deadline: float
    ) -> AsyncGenerator[str, None]:
        """The engine's events. A failure becomes an event: a stream that just ended would look like success."""
        yield first.text
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    part = await anext(rest, None)
                if part is None:
                    return
                yield part.text if part.kind == "events" else part.error().event()
        except TimeoutError:
            yield out_of_time(self._timeout_s).event()
        except Exception:  # whatever it is, the status line has gone out long ago; the client must still learn of it
            logger.exception("a stream broke off")
            yield ApiError(500, "The model stopped in the middle of its answer.").event()


def read_body(raw: bytes) -> dict[str, Any]:
    """The JSON object of a request."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise ApiError(400, f"The request body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise ApiError(400, f"The request body is a JSON {type(body).__name__}; send an object.")
    return body


api = speak_openai(FastAPI(title="Mobula", openapi_url=None))


@ray_serve.ingress(api)
class Ingress:
    """OpenAI's routes."""

    def __init__(self, server: DeploymentHandle, cards: list[dict[str, Any]], timeout_s: float) -> None:
        self._front = Front(server, cards, timeout_s)

    @api.get("/v1/models")
    async def models(self) -> dict[str, Any]:
        """What is served here."""
        return self._front.models()

    @api.get("/v1/models/{model:path}")
    async def model(self, model: str) -> dict[str, Any]:
        """The card of one model."""
        return self._front.card(model)

    @api.post("/v1/chat/completions")
    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        return await self._front.answer("chat", request)

    @api.post("/v1/completions")
    async def completions(self, request: Request) -> Response:
        """Continue a text."""
        return await self._front.answer("completions", request)

    @api.post("/tokenize")
    async def tokenize(self, request: Request) -> Response:
        """Token ids that the engine sees for a text, or for messages put through the chat template."""
        return await self._front.answer("tokenize", request)

    @api.post("/detokenize")
    async def detokenize(self, request: Request) -> Response:
        """The text behind token ids."""
        return await self._front.answer("detokenize", request)
