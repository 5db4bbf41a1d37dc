"""Classification behind `/v1/classify`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from cluster.cli import run
from serving.classify import Classifier, max_length
from serving.deploy import deploy
from tests.serving.tiny_models import LABELS, TEXTS


def torch_probabilities(folder, texts):
    """Each text by itself through transformers."""
    import torch

    model, tokenizer = folder.load(), folder.tokenizer()
    with torch.inference_mode():
        return [
            model(**tokenizer(text, truncation=True, max_length=64, return_tensors="pt")).logits.softmax(-1)[0].tolist()
            for text in texts
        ]


class CountingClassifier(Classifier):
    """The folder's classifier, which writes down how many texts each forward pass had."""

    def __init__(self, path, device):
        super().__init__(path, device)
        self._batches = batches_file(path)

    def __call__(self, texts):
        with self._batches.open("a") as file:
            file.write(f"{len(texts)}\n")
        return super().__call__(texts)


def batches_file(folder_path):
    return Path(folder_path).parent / "batches.txt"


@pytest.fixture
def batches(classifier_folder):
    return batches_file(classifier_folder.path)


@pytest.fixture(scope="module")
def endpoint(ray_cluster, classifier_folder, serve_config):
    serve = serve_config.model_copy(update={"engine_kwargs": {}, "max_batch_size": 16})
    endpoint = deploy(classifier_folder, serve, "desk", engine=CountingClassifier)
    yield endpoint
    endpoint.shutdown()


@pytest.fixture
def client(endpoint):
    return openai.OpenAI(base_url=endpoint.api_url, api_key="none", max_retries=0)


def classify(client, **body):
    return client.post("/classify", body=body, cast_to=object)


def test_a_batch_equals_the_forward_pass_of_each_text(client, classifier_folder):
    answer = classify(client, input=TEXTS)
    assert [row["index"] for row in answer["data"]] == list(range(len(TEXTS)))
    for row, expected in zip(answer["data"], torch_probabilities(classifier_folder, TEXTS), strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
        assert row["label"] == LABELS[max(range(3), key=expected.__getitem__)]
        assert row["probability"] == max(row["probabilities"].values())


def test_one_text_needs_no_list(client):
    whole = classify(client, input=TEXTS)
    alone = classify(client, input=TEXTS[2], model="desk")
    assert alone["data"][0]["label"] == whole["data"][2]["label"]
    assert len(alone["data"]) == 1


def test_requests_that_meet_are_scored_as_if_alone(client, classifier_folder):
    expected = torch_probabilities(classifier_folder, TEXTS)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda index: classify(client, input=TEXTS[index % len(TEXTS)]), range(64)))
    for index, answer in enumerate(answers):
        found = list(answer["data"][0]["probabilities"].values())
        assert found == pytest.approx(expected[index % len(TEXTS)], abs=1e-5)


def test_a_text_that_was_cut_says_so(client):
    rows = classify(client, input=["short", "where is my parcel " * 40])["data"]
    assert [row["truncated"] for row in rows] == [False, True]


def test_the_model_is_listed_with_its_labels(client):
    [card] = client.models.list()
    assert (card.id, card.metadata["labels"]) == ("desk", LABELS)


@pytest.mark.parametrize(
    ("body", "param"),
    [({"input": []}, "input"), ({"input": ["fine", " "]}, "input"), ({"input": 3}, "input.str"), ({}, "input")],
)
def test_a_bad_request_gets_openais_error(client, body, param):
    with pytest.raises(openai.BadRequestError) as caught:
        classify(client, **body)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_a_model_that_is_not_there_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="this endpoint has desk"):
        classify(client, input="hi", model="nobody")


def test_chat_routes_do_not_exist_for_a_classifier(endpoint):
    assert httpx.post(f"{endpoint.api_url}/chat/completions", json={}).json()["error"]["code"] == "not_found"


def test_mobula_chat_answers_with_labels(endpoint, client, capsys):
    label = classify(client, input=TEXTS[0])["data"][0]["label"]
    assert run(["chat", "--url", endpoint.url, "--message", TEXTS[0]]) == 0
    assert capsys.readouterr().out.startswith(label)


def test_texts_of_many_requests_share_forward_passes(client, batches):
    before = len(batches.read_text().split()) if batches.exists() else 0
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda text: classify(client, input=text), TEXTS * 8))
    sizes = [int(size) for size in batches.read_text().split()[before:]]
    assert sum(sizes) == len(TEXTS) * 8
    assert 1 < max(sizes) <= 16
    assert len(sizes) < sum(sizes)


def test_texts_are_cut_where_the_positions_end(classifier_folder):
    assert max_length(classifier_folder) == 64
