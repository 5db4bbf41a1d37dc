"""A LoRA adapter behind the endpoint: its own tokens under the model's name, the base's under `-base`."""

import openai
import pytest

from cluster.exceptions import ModelFolderError
from serving.deploy import deploy
from tests.serving.conftest import write_folder_copy
from tests.serving.reference import chat_ids, continuations
from tests.serving.tiny_models import TEXTS, edit_json
from trainers.folder import ModelFolder

MAX_TOKENS = 24


@pytest.fixture(scope="module")
def client(ray_cluster, adapter_folder, serve_config):
    endpoint = deploy(adapter_folder, serve_config, "tuned")
    yield openai.OpenAI(base_url=endpoint.api_url, api_key="none", max_retries=0)
    endpoint.shutdown()


def served(client, text, **named):
    body = {"return_token_ids": True, "messages": [{"role": "user", "content": text}], **named}
    body |= {"temperature": 0, "max_tokens": MAX_TOKENS}
    return client.post("/chat/completions", body=body, cast_to=object)["choices"][0]["token_ids"]


def test_adapter_and_base_are_listed(client):
    assert [(model.id, model.parent) for model in client.models.list()] == [
        ("tuned", "tuned-base"),
        ("tuned-base", None),
    ]


def test_served_tokens_of_the_adapter_equal_pefts_generate(client, adapter_folder, causal_folder):
    prompts = [chat_ids(adapter_folder, text) for text in TEXTS]
    tuned = continuations(adapter_folder, prompts, MAX_TOKENS)
    assert tuned != continuations(causal_folder, prompts, MAX_TOKENS)
    assert [served(client, text, model="tuned") for text in TEXTS] == tuned


def test_a_request_that_names_no_model_gets_the_adapter(client):
    assert served(client, TEXTS[0]) == served(client, TEXTS[0], model="tuned")


def test_the_base_still_answers_as_itself(client, causal_folder):
    expected = continuations(causal_folder, [chat_ids(causal_folder, text) for text in TEXTS], MAX_TOKENS)
    assert [served(client, text, model="tuned-base") for text in TEXTS] == expected


def test_an_adapter_streams_what_it_says(client):
    asked = {"model": "tuned", "messages": [{"role": "user", "content": TEXTS[1]}], "temperature": 0, "max_tokens": 24}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


@pytest.mark.parametrize(
    ("change", "words"),
    [({"use_dora": True}, "use_dora"), ({"r": 1024}, "rank 1024"), ({"modules_to_save": ["x"]}, "Merge")],
)
def test_an_adapter_that_vllm_cannot_serve_is_refused_before_it_starts(adapter_folder, tmp_path, change, words):
    from serving.causal import adapter_kwargs

    path = write_folder_copy(adapter_folder.path, tmp_path / "adapter")
    edit_json(path / "adapter_config.json", **change)
    with pytest.raises(ModelFolderError, match=words):
        adapter_kwargs(ModelFolder.open(path), "tuned")


def test_the_rank_is_rounded_up_to_one_that_vllm_has(adapter_folder):
    from serving.causal import adapter_kwargs

    assert adapter_kwargs(adapter_folder, "tuned")["max_lora_rank"] == 8
