"""A whole model behind `ray.serve.llm` on vLLM, asked through the real `openai` client. One engine serves all claims."""

import math
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from cluster.cli import run
from cluster.exceptions import ParityError, ResourceError
from serving.deploy import deploy
from serving.parity import check, endpoint_tokenizer
from tests.serving.conftest import write_folder_copy
from tests.serving.reference import chat_ids, continuations
from tests.serving.tiny_models import TEXTS
from trainers.folder import ModelFolder

MAX_TOKENS = 24
GREEDY = {"temperature": 0, "max_tokens": MAX_TOKENS}
IDS = {"extra_body": {"return_token_ids": True}}


@pytest.fixture(scope="module")
def endpoint(ray_cluster, causal_folder, serve_config):
    endpoint = deploy(causal_folder, serve_config, "parrot")
    yield endpoint
    endpoint.shutdown()


@pytest.fixture
def client(endpoint):
    return openai.OpenAI(base_url=endpoint.api_url, api_key="none", max_retries=0)


def say(text):
    return [{"role": "user", "content": text}]


def test_deploying_checks_every_probe(endpoint):
    assert endpoint.probes == 13
    assert endpoint.healthy() is None


def test_the_model_is_listed_under_its_name(client):
    assert [model.id for model in client.models.list()] == ["parrot"]
    assert client.models.retrieve("parrot").metadata["kind"] == "causal_lm"


def test_served_chat_tokens_equal_generate(client, causal_folder):
    expected = continuations(causal_folder, [chat_ids(causal_folder, text) for text in TEXTS], MAX_TOKENS)
    for text, tokens in zip(TEXTS, expected, strict=True):
        answer = client.chat.completions.create(model="parrot", messages=say(text), **GREEDY, **IDS)
        assert answer.choices[0].token_ids == tokens
        assert answer.prompt_token_ids == chat_ids(causal_folder, text)
        assert answer.usage.completion_tokens == len(tokens)


def test_served_completion_tokens_equal_generate(client, causal_folder):
    prompts = [causal_folder.tokenizer()(text)["input_ids"] for text in TEXTS]
    expected = continuations(causal_folder, prompts, MAX_TOKENS)
    for text, tokens in zip(TEXTS, expected, strict=True):
        assert client.completions.create(model="parrot", prompt=text, **GREEDY, **IDS).choices[0].token_ids == tokens


def test_requests_served_together_answer_as_when_served_alone(client, causal_folder):
    expected = continuations(causal_folder, [chat_ids(causal_folder, text) for text in TEXTS], MAX_TOKENS)

    def ask(text):
        return client.chat.completions.create(model="parrot", messages=say(text), **GREEDY, **IDS).choices[0].token_ids

    with ThreadPoolExecutor(len(TEXTS)) as pool:
        assert list(pool.map(ask, TEXTS)) == expected


@pytest.mark.parametrize("route", ["chat", "completions"])
def test_a_stream_says_what_the_whole_answer_says(client, route):
    for text in TEXTS[:3]:
        if route == "chat":
            whole = client.chat.completions.create(model="parrot", messages=say(text), **GREEDY).choices[0]
            chunks = list(client.chat.completions.create(model="parrot", messages=say(text), stream=True, **GREEDY))
            pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
            expected = whole.message.content
        else:
            whole = client.completions.create(model="parrot", prompt=text, **GREEDY).choices[0]
            chunks = list(client.completions.create(model="parrot", prompt=text, stream=True, **GREEDY))
            pieces = [chunk.choices[0].text for chunk in chunks]
            expected = whole.text
        assert "".join(pieces) == expected
        assert len(chunks) > 1
        assert chunks[-1].choices[0].finish_reason == whole.finish_reason


def test_an_answer_whose_token_probabilities_are_asked_for_says_how_sure_it_is(client):
    choice = client.chat.completions.create(model="parrot", messages=say(TEXTS[0]), logprobs=True, **GREEDY).choices[0]
    sure = [math.exp(token.logprob) for token in choice.logprobs.content]
    assert choice.confidence["min"] == pytest.approx(min(sure))
    assert choice.confidence["mean"] == pytest.approx(sum(sure) / len(sure))


def test_a_stream_ends_with_usage_when_asked(client):
    options = {"include_usage": True}
    chunks = client.chat.completions.create(
        model="parrot", messages=say("hi"), stream=True, stream_options=options, **GREEDY
    )
    assert list(chunks)[-1].usage.completion_tokens == MAX_TOKENS


def test_a_conversation_may_carry_content_parts(client, causal_folder):
    parts = [{"role": "user", "content": [{"type": "text", "text": TEXTS[0]}]}]
    answer = client.chat.completions.create(model="parrot", messages=parts, **GREEDY, **IDS)
    assert answer.prompt_token_ids == chat_ids(causal_folder, TEXTS[0])


@pytest.mark.parametrize(
    ("error", "code", "param", "request_"),
    [
        (openai.NotFoundError, "model_not_found", "model", {"model": "nobody"}),
        (openai.BadRequestError, "context_length_exceeded", "max_tokens", {"max_tokens": 100_000}),
        (openai.BadRequestError, "invalid_request", "temperature", {"temperature": -1}),
        (openai.BadRequestError, "invalid_value", "messages", {"messages": "not a list"}),
    ],
)
def test_a_bad_request_gets_openais_error(client, error, code, param, request_):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": "parrot", "messages": say("hi"), **request_})
    assert (caught.value.code, caught.value.param.split(".")[0]) == (code, param)


def test_unknown_routes_answer_in_the_same_shape(endpoint):
    answer = httpx.get(f"{endpoint.api_url}/nothing-here")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_a_folder_whose_template_was_changed_after_deploying_is_refused(endpoint, causal_folder, tmp_path):
    tampered = write_folder_copy(causal_folder.path, tmp_path / "tampered")
    template = (tampered / "chat_template.jinja").read_text()
    (tampered / "chat_template.jinja").write_text(template.replace("assistant\n", "assistant:"))
    assert check(causal_folder, endpoint_tokenizer(endpoint.url, "parrot")) == 13
    with pytest.raises(ParityError, match="does not see what training saw"):
        check(ModelFolder.open(tampered), endpoint_tokenizer(endpoint.url, "parrot"))


def test_a_second_model_on_the_same_port_is_refused(endpoint, causal_folder, serve_config):
    with pytest.raises(ResourceError, match="mobula-parrot already answers"):
        deploy(causal_folder, serve_config, "other")


def test_mobula_chat_prints_the_answer(endpoint, client, capsys):
    answer = client.chat.completions.create(model="parrot", messages=say(TEXTS[0]), **GREEDY).choices[0].message.content
    options = ["--url", endpoint.url, "--message", TEXTS[0], "--temperature", "0", "--max-tokens", str(MAX_TOKENS)]
    assert run(["chat", *options]) == 0
    assert capsys.readouterr().out == f"{answer}\n"
