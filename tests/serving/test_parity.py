"""Deployments are refused when the endpoint does not see what training saw."""

import json

import pytest

from cluster.config import ServeConfig
from cluster.exceptions import ParityError
from serving.deploy import deploy, serve_address
from serving.parity import check, check_as_trained
from tests.serving.conftest import free_port, write_folder_copy
from tests.serving.tiny_models import CHATML, tiny_tokenizer
from trainers.data.template import PROBES, render, rendering_fingerprint
from trainers.folder import ModelFolder


def played_endpoint(tokenizer):
    """`/tokenize` of an endpoint that has this tokenizer."""

    def tokenize(body):
        if "prompt" in body:
            return tokenizer(body["prompt"])["input_ids"]
        return render(tokenizer, body["messages"], body.get("tools"), body["add_generation_prompt"])

    return tokenize


def test_the_same_tokenizer_passes_every_probe_with_and_without_generation_prompt_and_one_with_tools(causal_folder):
    assert check(causal_folder, played_endpoint(causal_folder.tokenizer())) == 2 * len(PROBES) + 1


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace("assistant\n", "assistant"),
        CHATML.replace("<|im_end|>\n", "<|im_end|>"),
        "{{ 'You are helpful. ' }}" + CHATML,
        CHATML.replace("message['content']", "message['content'] | trim"),
        CHATML.replace("tool | tojson", "tool"),
    ],
)
def test_any_other_template_is_refused(causal_folder, template):
    with pytest.raises(ParityError, match="does not see what training saw"):
        check(causal_folder, played_endpoint(tiny_tokenizer(template)))


def test_a_token_put_in_front_is_refused_and_shown(causal_folder):
    good = played_endpoint(causal_folder.tokenizer())
    with pytest.raises(ParityError, match=r"token 0 .* 'user|token 0 "):
        check(causal_folder, lambda body: [0, *good(body)])


def test_an_end_that_is_cut_off_is_refused(causal_folder):
    good = played_endpoint(causal_folder.tokenizer())
    with pytest.raises(ParityError):
        check(causal_folder, lambda body: good(body)[:-1])


def test_a_template_that_was_edited_after_training_is_refused_before_anything_starts(causal_folder, tmp_path):
    folder = ModelFolder.open(write_folder_copy(causal_folder.path, tmp_path / "edited"))
    (folder.path / "lineage.json").write_text(json.dumps({"rendering": rendering_fingerprint(folder.tokenizer())}))
    check_as_trained(folder)
    template = folder.path / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    with pytest.raises(ParityError, match="other tokens than in training"):
        deploy(ModelFolder.open(folder.path), ServeConfig(port=free_port()), "edited")


class LowercaseClassifier:
    """A classifier whose tokenizer differs from the folder's."""

    max_length = 64

    def __init__(self, path, device):
        folder = ModelFolder.open(path)
        self.labels, self._tokenizer = folder.labels, folder.tokenizer()

    def tokenize(self, text):
        return self._tokenizer(text.lower())["input_ids"]


def test_a_deployment_that_fails_the_check_leaves_nothing_running(ray_cluster, classifier_folder):
    serve = ServeConfig(port=free_port())
    with pytest.raises(ParityError):
        deploy(classifier_folder, serve, "desk", engine=LowercaseClassifier)
    assert serve_address() is None


def test_a_folder_is_compared_as_it_lies_there_now(causal_folder, tmp_path):
    path = write_folder_copy(causal_folder.path, tmp_path / "edited")
    (path / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(ParityError):
        check(ModelFolder.open(path), played_endpoint(causal_folder.tokenizer()))
