"""The HTTP side by itself: an engine handle that is played, no Ray and no model."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI, Request

from serving.errors import ApiError, speak_openai
from serving.ingress import Front
from serving.parts import Part

CARDS = [{"id": "tuned"}, {"id": "tuned-base"}]


class PlayedServer:
    """Stands where the handle of the engine deployment stands and yields what a test wants."""

    def __init__(self, *parts, pause_s=0.0):
        self.parts, self.pause_s, self.calls = parts, pause_s, []
        self.respond = self

    def options(self, stream):
        assert stream
        return self

    async def remote(self, method, body, headers):
        self.calls.append((method, body, headers))
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part
            await asyncio.sleep(self.pause_s)


def ask(server, body, timeout_s=5.0, **options):
    """One request to the chat route of an ingress in front of `server`."""
    front = Front(server, CARDS, timeout_s)
    api = speak_openai(FastAPI())

    @api.post("/v1/chat/completions")
    async def chat(request: Request):
        return await front.answer("chat", request)

    async def post():
        transport = httpx.ASGITransport(api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            content = body if isinstance(body, bytes) else json.dumps(body)
            return await client.post("/v1/chat/completions", content=content, **options)

    return asyncio.run(post())


def test_a_whole_answer_is_passed_on_as_it_is():
    answer = ask(PlayedServer(Part("json", '{"a": 1}')), {"model": "tuned"})
    assert (answer.status_code, answer.json()) == (200, {"a": 1})


def test_a_stream_is_passed_on_piece_by_piece():
    answer = ask(PlayedServer(Part("events", "data: 1\n\n"), Part("events", "data: [DONE]\n\n")), {})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "data: 1\n\ndata: [DONE]\n\n"


def test_the_first_model_answers_when_none_is_named():
    server = PlayedServer(Part("json", "{}"))
    ask(server, {"messages": []})
    assert server.calls[0][1]["model"] == "tuned"


def test_an_unknown_model_never_reaches_the_engine():
    server = PlayedServer(Part("json", "{}"))
    error = ask(server, {"model": "nobody"}).json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "tuned, tuned-base" in error["message"]
    assert not server.calls


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b""])
def test_a_body_that_is_no_json_object_is_refused(body):
    answer = ask(PlayedServer(), body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_refusal_of_the_engine_keeps_its_status_code_and_field():
    refusal = Part.refusal(ApiError(400, "too long", code="context_length_exceeded", param="messages"))
    answer = ask(PlayedServer(refusal), {})
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }


def test_a_crash_says_nothing_about_the_inside():
    answer = ask(PlayedServer(RuntimeError("secret path /etc")), {})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"


def test_an_answer_that_takes_too_long_is_504_and_not_to_be_repeated():
    class Silent(PlayedServer):
        async def remote(self, method, body, headers):
            await asyncio.sleep(60)
            yield

    answer = ask(Silent(), {}, timeout_s=0.05)
    assert answer.status_code == 504
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "timeout"


def test_a_stream_that_takes_too_long_ends_with_an_error_event():
    server = PlayedServer(Part("events", "data: 1\n\n"), Part("events", "data: 2\n\n"), pause_s=60)
    answer = ask(server, {}, timeout_s=0.05)
    assert '"code": "timeout"' in answer.text
    assert "[DONE]" not in answer.text


def test_a_stream_that_breaks_off_ends_with_an_error_event():
    answer = ask(PlayedServer(Part("events", "data: 1\n\n"), ConnectionError("replica died")), {})
    assert answer.text.startswith("data: 1\n\n")
    assert json.loads(answer.text.split("data: ")[2])["error"]["type"] == "server_error"
    assert "replica died" not in answer.text
