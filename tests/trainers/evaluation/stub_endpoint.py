"""An endpoint that speaks as much of OpenAI's API as a test asks for, and misbehaves on request."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StubEndpoint:
    """Answers `answer(question)`; refuses other keys than `key`; dies after `dies_after` answers.

    Attributes:
        asked: every question, in the order in which they came.
        seen: bodies of the requests.
    """

    def __init__(self, answer=str.upper, *, key=None, dies_after=None, delay_s=0.0, card=None, fails=None):
        self.answer, self.key, self.dies_after, self.delay_s = answer, key, dies_after, delay_s
        self.card = {"id": "stub", "object": "model", "created": 1, **(card or {})}
        self.fails = fails or (lambda question: None)
        self.asked, self.seen = [], []
        self.lock = threading.Lock()

    def __enter__(self):
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                if stub.dead:
                    return self.close_connection_now()
                if stub.key and self.headers.get("Authorization") != f"Bearer {stub.key}":
                    return self.reply(401, {"error": {"message": "wrong key"}})
                if self.path != "/v1/models":
                    return self.reply(404, {"error": {"message": "no such page"}})
                self.reply(200, {"object": "list", "data": [{**stub.card, "created": time.time()}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if stub.dead:
                    return self.close_connection_now()
                question = body.get("prompt") or body.get("input") or body["messages"][-1]["content"]
                with stub.lock:
                    stub.asked.append(question)
                    stub.seen.append(body)
                time.sleep(stub.delay_s)
                if (status := stub.fails(question)) is not None:
                    return self.reply(status, {"error": {"message": f"cannot answer {question!r}"}})
                self.reply(200, stub.respond(self.path, body, question))

            def close_connection_now(self):
                self.connection.close()

            def reply(self, status, value):
                raw = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    @property
    def dead(self):
        return self.dies_after is not None and len(self.asked) >= self.dies_after

    def respond(self, path, body, question):
        if path == "/v1/classify":
            chances = self.answer(question)
            label = max(chances, key=chances.get)
            return {"data": [{"label": label, "probabilities": chances, "truncated": False}]}
        answers = [self.answer(question)] * body.get("n", 1)
        usage = {"completion_tokens": 2 * len(answers)}
        if path == "/v1/completions":
            return {"choices": [{"text": text} for text in answers], "usage": usage}
        return {"choices": [{"message": {"role": "assistant", "content": text}} for text in answers], "usage": usage}
