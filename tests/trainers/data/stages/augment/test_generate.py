"""Rows written by a model: by vLLM in the cluster, and by an endpoint that speaks OpenAI's protocol."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster.config.engine import VllmEngine
from cluster.config.stages import Stage
from cluster.exceptions import ConfigError, DataError, ResourceError
from tests.serving.tiny_models import tiny_causal_folder
from tests.trainers.data.stages import whole_data
from tests.trainers.data.stages.augment.rows import QUESTIONS, chat, labelled, made, texts
from trainers.chat_engines import Sampling, build_engine
from trainers.data.stages.augment.generate import clean_answer, finish

pytestmark = pytest.mark.usefixtures("ray_cluster")


class Endpoint(ThreadingHTTPServer):
    """Answers chat completions in capitals; the first request of each text fails, as busy endpoints do."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict] = []
        self.seen: set[str] = set()
        self.busy = 0
        self.status = 429


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append({**body, "key": self.headers["authorization"]})
        said = body["messages"][-1]["content"]
        if said not in self.server.seen:
            self.server.seen.add(said)
            return self.reply(self.server.status, {"error": {"message": "come back later"}})
        text = said.rpartition("\n")[2]
        message = {"role": "assistant", "content": "" if "cheque" in text else f'"{text.upper()}"'}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return self.reply(200, body)

    def reply(self, status: int, body: dict) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args: object) -> None:
        """Not on stderr."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def settings(endpoint: Endpoint, **more):
    url = f"http://127.0.0.1:{endpoint.server_port}/v1"
    engine = {"kind": "openai", "base_url": url, "model": "m", **more.pop("engine", {})}
    return {"kind": "generate", "engine": engine, **more}


def test_an_endpoint_paraphrases_and_is_asked_again_when_busy(endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_KEY", "secret")
    rows = whole_data.run(
        settings(endpoint, engine={"api_key_env": "THE_KEY"}, copies=2, system="Be brief."),
        labelled(*QUESTIONS[:3]),
        tmp_path,
    )
    originals, copies = [row for row in rows if row.origin is None], made(rows)
    assert texts(originals) == QUESTIONS[:3]
    assert [row.text() for row in copies if row.rejected is None] == [QUESTIONS[0].upper(), QUESTIONS[1].upper()]
    assert [row.place for row in rows] == [f"rows:{number}" for number in (0, 0, 0, 1, 1, 1, 2, 2, 2)]
    assert all(row.notes == {"augmented": "generate"} and row.changes == ["generate"] for row in copies)
    assert [row.rejected for row in copies if row.rejected] == [
        "generate: the model said what is there already",
        "generate: the model said what is there already",
        "generate: an empty answer",
        "generate: an empty answer",
    ]
    assert {request["key"] for request in endpoint.requests} == {"Bearer secret"}
    assert endpoint.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len(endpoint.requests) == 3 + 6


def test_a_translation_goes_there_and_back(endpoint, tmp_path):
    rows = [*labelled(QUESTIONS[0]), chat("Where is it?", "Here.")]
    found = made(whole_data.run(settings(endpoint, mode="back_translation", language="Hindi"), rows, tmp_path))
    assert [row.texts() for row in found] == [[QUESTIONS[0].upper()], ["WHERE IS IT?", "Here."]]
    asked = [request["messages"][-1]["content"].splitlines()[0] for request in endpoint.requests]
    assert sum("from English into Hindi" in line for line in asked) == 4
    assert sum("from Hindi into English" in line for line in asked) == 4


def test_an_endpoint_that_refuses_is_named_or_its_rows_are_rejected(endpoint, tmp_path):
    endpoint.status = 401
    with pytest.raises(DataError, match=r"generate got no answer \(http://127.*AuthenticationError.*come back later"):
        whole_data.run(settings(endpoint), labelled(QUESTIONS[0]), tmp_path)
    endpoint.seen.clear()
    [row, copy] = whole_data.run(settings(endpoint, on_error="reject"), labelled(QUESTIONS[0]), tmp_path / "again")
    assert row.rejected is None and copy.rejected.startswith("generate: no answer (http://127")
    absent = settings(endpoint, engine={"api_key_env": "NO_SUCH_KEY"})
    with pytest.raises(ConfigError, match="NO_SUCH_KEY: this environment variable is not set"):
        whole_data.run(absent, labelled(QUESTIONS[0]), tmp_path)


def test_vllm_writes_rows_in_the_cluster(tmp_path):
    folder = str(tiny_causal_folder(tmp_path / "model"))
    engine = {"kind": "vllm", "model": folder, "kv_cache_gib": 0.05, "max_model_len": 200}
    engine["engine_kwargs"] = {"enforce_eager": True}  # compiling takes longer than all the rest
    stage = {"kind": "generate", "mode": "template", "prompt": "{label}: {text}", "engine": engine, "max_tokens": 8}
    rows = [*labelled("where is my parcel", "where is my order", label="delivery"), *labelled("cut " * 200)]
    found = whole_data.run({**stage, "copies": 2, "on_error": "reject"}, rows, tmp_path)
    copies = made(found)
    assert len(found) == 9 and texts(row for row in found if row.origin is None) == texts(rows)
    assert [row.rejected is None for row in copies] == [True] * 4 + [False] * 2
    assert "no answer" in copies[-1].rejected
    assert len(set(texts(copies[:4]))) == 4 and not set(texts(copies[:4])) & set(texts(rows))


def test_vllm_on_too_few_cpus_is_refused_before_it_would_wait_for_ever(monkeypatch):
    monkeypatch.setattr("cluster.session.resources", lambda: (1.0, 0.0))
    with pytest.raises(ResourceError, match="keeps 2 logical CPUs busy, and the cluster has 1;"):
        build_engine(VllmEngine(model="x"), Sampling())


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('  "Where is it?" ', "Where is it?"),
        ("<think>Hm, another way...</think>\n\nWhere is it?", "Where is it?"),
        ('"One" and "two"', '"One" and "two"'),
    ],
)
def test_only_the_text_of_an_answer_is_kept(said, text):
    assert clean_answer(said) == text


def test_only_the_drawn_text_of_a_conversation_is_rewritten():
    row = chat("one", "two")
    row.row["messages"] += [{"role": "user", "content": "three"}]
    finish(row, 1, ["user"], "drei", "")
    assert row.texts() == ["one", "two", "drei"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"mode": "template"}, "prompt is for mode=template"),
        ({"mode": "template", "prompt": "Hello"}, "has no {text}"),
        ({"copies": 2, "temperature": 0}, "raise temperature"),
    ],
)
def test_settings_that_cannot_give_new_rows_are_refused(more, words):
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(Stage).validate_python({"kind": "generate", "engine": {"kind": "vllm", "model": "x"}, **more})
