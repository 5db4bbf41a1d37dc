"""The engine deployment of a causal model: `ray.serve.llm`'s, asked in JSON and answering in JSON.

Requests are parsed and answers written here, next to the engine. So the ingress need not import vLLM, which saves its
start-up and half a gigabyte, and what travels between the two is text instead of pickled objects.
"""

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import ValidationError
from ray.llm._internal.serve.core.configs.openai_api_models import (  # ray.serve.llm exports only some of them
    ChatCompletionRequest,
    CompletionRequest,
    DetokenizeRequest,
    ErrorResponse,
    TokenizeChatRequest,
    TokenizeCompletionRequest,
)
from ray.llm._internal.serve.core.protocol import RawRequestInfo
from ray.serve.llm.deployment import LLMServer

from serving.confidence import with_confidence
from serving.errors import ApiError, invalid
from serving.parts import Part


class Server(LLMServer):
    """One replica: a vLLM engine with its weights."""

    async def respond(self, method: str, body: dict[str, Any], headers: dict[str, str]) -> AsyncGenerator[Part, None]:
        """Run one request: yields its JSON answer, or the events of a stream, or why it is refused."""
        try:
            request = parse(method, body)
            batch = method in ("chat", "completions")
            raw = RawRequestInfo(headers=headers)
            answer = await self._run_request(
                request, engine_method=method, batch_output_stream=batch, raw_request_info=raw
            )
            async for chunk in answer:
                yield written(chunk)
        except ApiError as error:
            yield Part.refusal(error)

    async def _start_engine(self) -> None:
        # Without ray.serve.llm's usage report, for which it starts one more process.
        assert self.engine is not None
        await self.engine.start()


REQUESTS: dict[str, Any] = {
    "chat": ChatCompletionRequest,
    "completions": CompletionRequest,
    "detokenize": DetokenizeRequest,
}


def parse(method: str, body: dict[str, Any]) -> Any:
    """The engine's request object; ApiError names the field that is wrong."""
    if method == "tokenize":
        kind: Any = TokenizeChatRequest if "messages" in body else TokenizeCompletionRequest
    else:
        kind = REQUESTS[method]
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise invalid(error.errors()) from error
    except ValueError as error:  # vLLM's validators raise subclasses that pydantic passes through
        raise ApiError(400, str(error)) from error


def written(chunk: Any) -> Part:
    """What the engine yielded as text: an answer, a batch of events or an error."""
    head = chunk[0] if isinstance(chunk, list) else chunk
    if isinstance(head, ErrorResponse):
        return Part.refusal(_engine_error(head))
    if isinstance(head, str):
        return Part("events", "".join(chunk))
    return Part("json", with_confidence(head.model_dump_json()))


def _engine_error(answer: ErrorResponse) -> ApiError:
    error = answer.error
    too_long = "context length" in error.message or "max_model_len" in error.message
    code = "model_not_found" if error.code == 404 else "context_length_exceeded" if too_long else None
    return ApiError(error.code, error.message, code=code, param=error.param)
