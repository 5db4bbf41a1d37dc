"""A model folder behind OpenAI's completions, echoing prompts with their log-probabilities: what vLLM does, in a few lines."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from trainers.folder import ModelFolder


class Endpoint(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokenizer, self.model = folder.tokenizer(), folder.load()
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.lock = threading.Lock()
        self.answers = 10**9

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The choices for a prompt (or several) of texts or tokens."""
        prompts = body["prompt"]
        prompts = [prompts] if isinstance(prompts, str) or isinstance(prompts[0], int) else prompts
        tokens = [self.tokenizer(one)["input_ids"] if isinstance(one, str) else one for one in prompts]
        choose = self.echo if body.get("echo") else self.write
        with torch.inference_mode(), self.lock:
            choices = [choose(one, body["max_tokens"]) for one in tokens]
        return {"choices": [{"index": at, **choice} for at, choice in enumerate(choices)]}

    def echo(self, tokens: list[int], max_tokens: int) -> dict[str, Any]:
        scores = self.model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
        known = [float(scores[at - 1, token]) for at, token in enumerate(tokens) if at]
        best = [float(scores[at].max()) for at in range(len(tokens))]
        top = [{"best": one} for one in best]
        return {"text": "", "logprobs": {"token_logprobs": [None, *known, best[-1]], "top_logprobs": [None, *top]}}

    def write(self, tokens: list[int], max_tokens: int) -> dict[str, Any]:
        made = self.model.generate(torch.tensor([tokens]), max_new_tokens=max_tokens, do_sample=False)
        return {"text": self.tokenizer.decode(made[0, len(tokens) :], skip_special_tokens=True)}


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        listed = {"data": [{"id": "tiny", "max_model_len": 256}]}
        self.reply(*((200, listed) if self.path == "/v1/models" else (404, {})))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        self.server.keys.add(self.headers["authorization"])
        if len(self.server.requests) > self.server.answers:
            return self.reply(503, {"error": {"message": "shutting down"}})
        return self.reply(200, self.server.complete(body))

    def reply(self, status: int, body: dict[str, Any]) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args: object) -> None:
        """Not on stderr."""


@contextmanager
def serving(folder: ModelFolder) -> Iterator[Endpoint]:
    """An endpoint that answers while the block runs."""
    server = Endpoint(folder)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
