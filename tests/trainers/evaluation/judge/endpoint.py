"""An endpoint that speaks OpenAI's chat completions and judges by counting the word `good`, or misbehaves on purpose."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cluster.config import JudgeConfig

Behaviour = Callable[[list[dict[str, str]], int], str | None]
"""Messages and number of the request to the answer; None for the endpoint's error."""


class Endpoint(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.error = 503
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def engine(self, **more: Any) -> dict[str, Any]:
        """This endpoint as an `engine` section."""
        return {"kind": "openai", "base_url": self.url, "model": "m", "retries": 0, "concurrency": 2, **more}

    def judge(self, **what: Any) -> JudgeConfig:
        """This endpoint as a judge."""
        return JudgeConfig.model_validate({"engine": self.engine(), **what})


class Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(body)
        said = self.server.behaviour(body["messages"], number)
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        sent = json.dumps({"error": {"message": "shutting down"}} if said is None else answer).encode()
        self.send_response(self.server.error if said is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args: object) -> None:
        """Not on stderr."""


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Endpoint]:
    """An endpoint that answers while the block runs."""
    server = Endpoint(behaviour)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def material(messages: list[dict[str, str]]) -> dict[str, Any]:
    """What a judge was given to judge."""
    asked = next(one["content"] for one in messages if "Material:" in one["content"])
    return json.loads(asked.partition("Material:\n")[2])


def sensible(messages: list[dict[str, str]], number: int) -> str:
    """The more often an answer says `good`, the better it is; a claim is supported if the sources hold it."""
    given = material(messages)
    if "reference" in given:
        verdict = {"grade": "correct" if given["reference"] == given["answer"] else "wrong"}
    elif "answer_A" in given:
        first, second = (given[name].count("good") for name in ("answer_A", "answer_B"))
        verdict = {"winner": "tie" if first == second else "A" if first > second else "B"}
    elif "sources" in given:
        claims = [claim for claim in given["answer"].split(". ") if claim]
        known = ["supported" if claim in given["sources"] else "not_found" for claim in claims]
        verdict = {"claims": [{"claim": one, "verdict": told} for one, told in zip(claims, known, strict=True)]}
    else:
        verdict = {"scores": {"help": min(1 + given["answer"].count("good"), 5), "tone": 3}}
    return f"```json\n{json.dumps({'reason': 'counted', **verdict})}\n```"


def always_first(messages: list[dict[str, str]], number: int) -> str:
    """Prefers whatever stands first."""
    return json.dumps({"reason": "it came first", "winner": "A"})


def nonsense(messages: list[dict[str, str]], number: int) -> str:
    """Says how nice the question is."""
    return "What a great question! I would give it a solid 4."


def nonsense_at_first(messages: list[dict[str, str]], number: int) -> str:
    """Needs to be told twice."""
    return sensible(messages, number) if messages[-2]["role"] == "assistant" else nonsense(messages, number)


def dying_after(answers: int) -> Behaviour:
    """Sensible at first, then gone."""
    return lambda messages, number: sensible(messages, number) if number < answers else None
