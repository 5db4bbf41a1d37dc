"""Claims about scoring models behind endpoints."""

import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cluster.config import EvaluateConfig
from cluster.config.endpoint import EndpointConfig
from cluster.exceptions import ConfigError, DataError, ResourceError
from tests.trainers.evaluation.stub_endpoint import StubEndpoint
from tests.trainers.evaluation.tiny_folders import conversation, write_jsonl
from trainers.evaluation import How, evaluate_subject
from trainers.evaluation.store import EvaluationDirectory
from trainers.evaluation.subjects.endpoint import EndpointSubject

SETTINGS = EndpointConfig(concurrency=2, retries=0, timeout_s=5, api_key_env="STUB_KEY")
pytestmark = pytest.mark.usefixtures("ray_cluster")


def questions(tmp_path, number=6) -> str:
    rows = [{"messages": conversation(f"word {n}", f"WORD {n}" if n % 2 else "no")} for n in range(number)]
    return write_jsonl(tmp_path / "rows.jsonl", rows)


def evaluate(stub, data, how=None, **settings):
    subject = EndpointSubject(stub.url, None, SETTINGS)
    return evaluate_subject(subject, [data], EvaluateConfig(**settings), how=how)


def test_answers_of_an_endpoint_are_scored_with_their_latency_and_tokens(tmp_path):
    with StubEndpoint() as stub:
        result = evaluate(stub, questions(tmp_path))
    assert result.metrics["exact_match"] == 0.5
    assert result.intervals["exact_match"][0] < 0.5 < result.intervals["exact_match"][1]
    assert "loss" not in result.metrics
    assert [one.output for one in result.predictions] == [f"WORD {n}" for n in range(6)]
    assert all(one.output_tokens == 2 and 0 < one.latency_s < 5 for one in result.predictions)
    assert result.cost["output_tokens_per_s"] > 0 and result.cost["latency_p95_s"] >= result.cost["latency_p50_s"]
    assert {body["max_tokens"] for body in stub.seen} == {128} and {body["temperature"] for body in stub.seen} == {0.0}


def test_several_samples_are_drawn_for_each_question(tmp_path):
    with StubEndpoint() as stub:
        result = evaluate(stub, questions(tmp_path, 2), num_samples=3, temperature=0.8)
    assert [one.samples for one in result.predictions] == [["WORD 0"] * 2, ["WORD 1"] * 2]
    assert {body["n"] for body in stub.seen} == {3}


def test_a_text_is_continued_and_asked_as_a_chat_where_that_is_not_offered(tmp_path):
    data = write_jsonl(tmp_path / "rows.jsonl", [{"prompt": "the end", "completion": "THE END"}])
    with StubEndpoint() as stub:
        assert evaluate(stub, data).metrics["exact_match"] == 1.0
        assert stub.seen[0]["prompt"] == "the end"
    no_completions = StubEndpoint()
    no_completions.fails = lambda question: 404 if "prompt" in no_completions.seen[-1] else None
    with no_completions as stub:
        assert evaluate(stub, data).metrics["exact_match"] == 1.0
        assert stub.seen[-1]["messages"] == [{"role": "user", "content": "the end"}]


def test_labels_of_an_endpoint_are_scored_with_probabilities_and_loss(tmp_path):
    card = {"metadata": {"kind": "classification", "labels": ["cat", "dog"]}}
    rows = [{"text": "meow", "label": "cat"}, {"text": "woof", "label": "cat"}]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    with StubEndpoint(
        lambda text: {"cat": 0.8, "dog": 0.2} if text == "meow" else {"cat": 0.1, "dog": 0.9}, card=card
    ) as stub:
        result = evaluate(stub, data)
        assert result.metrics["accuracy"] == 0.5
        assert result.metrics["loss"] == pytest.approx(-(math.log(0.8) + math.log(0.1)) / 2)
        assert [one.probability for one in result.predictions] == [0.8, 0.9]
        odd = write_jsonl(tmp_path / "odd.jsonl", [{"text": "moo", "label": "cow"}])
        with pytest.raises(DataError, match=r"odd\.jsonl:1: the label 'cow' is none of the endpoint's 2"):
            evaluate(stub, odd)


def test_an_endpoint_that_dies_half_way_keeps_what_is_done_and_the_next_call_asks_only_for_the_rest(tmp_path):
    data, how = questions(tmp_path, 20), How(str(tmp_path / "runs"))
    with StubEndpoint(dies_after=9) as stub:
        with pytest.raises(ResourceError, match=r"stopped answering.*rows answered in this call are kept"):
            evaluate(stub, data, how)
        first = list(stub.asked)
        (fingerprint,) = (name for name in (tmp_path / "runs" / "evaluations").iterdir() if name.name != "looks")
        kept = EvaluationDirectory.of(tmp_path / "runs", fingerprint.name).predictions()
        assert 7 <= len(kept) <= len(first) == 9
        stub.dies_after = None
        result = evaluate(stub, data, how)
        assert len(stub.asked) == len(first) + 20 - len(kept)
        assert result.n == 20 and [one.output for one in result.predictions] == [f"WORD {n}" for n in range(20)]
        asked = len(stub.asked)
        again = evaluate(stub, data, how)
        assert len(stub.asked) == asked and again.metrics == result.metrics
        assert again.sections["cached"]["is_cached"] and again.sections["looks"]["count"] == 1
        evaluate(stub, data, How(str(tmp_path / "runs"), fresh=True))
        assert len(stub.asked) == asked + 20


def test_a_row_that_the_endpoint_refuses_is_counted_and_asked_again_next_time(tmp_path):
    data, how = questions(tmp_path, 4), How(str(tmp_path / "runs"))
    with StubEndpoint(fails=lambda question: 400 if question == "word 1" else None) as stub:
        result = evaluate(stub, data, how)
        assert result.metrics["failed_rows"] == 1
        assert "status 400" in result.predictions[1].error and result.predictions[1].output is None
        stub.fails = lambda question: None
        asked = len(stub.asked)
        result = evaluate(stub, data, how)
        assert stub.asked[asked:] == ["word 1"] and "failed_rows" not in result.metrics


def test_an_endpoint_that_fails_on_everything_is_not_asked_for_ever(tmp_path):
    with (
        StubEndpoint(fails=lambda question: 500) as stub,
        pytest.raises(ResourceError, match="the last 7 requests failed"),
    ):
        evaluate(stub, questions(tmp_path, 40))


def test_a_wrong_key_is_told_without_showing_it(tmp_path, monkeypatch):
    with StubEndpoint(key="right") as stub:
        with pytest.raises(ConfigError, match=r"asks for a key, and STUB_KEY is not set"):
            EndpointSubject(stub.url, None, SETTINGS)
        monkeypatch.setenv("STUB_KEY", "wrong-secret")
        with pytest.raises(ConfigError, match=r"the key in STUB_KEY is refused \(status 401\)") as caught:
            EndpointSubject(stub.url, None, SETTINGS)
        assert "wrong-secret" not in str(caught.value)
        monkeypatch.setenv("STUB_KEY", "right")
        assert EndpointSubject(stub.url, None, SETTINGS).model == "stub"


def test_what_is_no_endpoint_is_told(tmp_path):
    with StubEndpoint() as stub:
        url = stub.url
        with pytest.raises(ConfigError, match=r"no model 'other'; it lists stub"):
            EndpointSubject(url, "other", SETTINGS)
        with pytest.raises(ConfigError, match="does not list its models"):
            EndpointSubject(f"{url}/elsewhere", None, SETTINGS)
    with pytest.raises(ResourceError, match="no endpoint answers there"):
        EndpointSubject(url, None, SETTINGS)
    with pytest.raises(ConfigError, match="is no endpoint; expected such as http"):
        EndpointSubject("ftp://127.0.0.1/v1", None, SETTINGS)


def test_a_web_page_is_no_endpoint(tmp_path):
    class Page(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ConfigError, match="speaks not OpenAI's API"):
            EndpointSubject(f"http://127.0.0.1:{server.server_port}/v1", None, SETTINGS)
    finally:
        server.shutdown()
        server.server_close()


def test_plain_text_cannot_be_asked(tmp_path):
    data = write_jsonl(tmp_path / "rows.jsonl", [{"text": "nothing is asked"}])
    with StubEndpoint() as stub, pytest.raises(DataError, match="no row asks anything"):
        evaluate(stub, data)
