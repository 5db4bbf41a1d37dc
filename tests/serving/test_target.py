"""What `mobula serve` accepts, and the one sentence for what it does not."""

import socket

import pytest

from cluster.cli import run
from cluster.config.load import dump_config, load_config
from cluster.exceptions import ConfigError, ModelFolderError
from cluster.registry import Registry
from cluster.runs import Record, RunDirectory
from serving.target import resolve
from tests.serving.conftest import write_folder_copy
from tests.serving.tiny_models import without
from trainers.folder import ModelFolder

RUN = """
name: desk
model: {kind: scratch}
data: {train: rows.jsonl}
serve: {port: 8123, model_name: helper}
cluster: {storage_path: STORAGE}
"""


@pytest.fixture
def run_yaml(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(RUN.replace("STORAGE", str(tmp_path / "runs")))
    return path


@pytest.fixture
def finished(run_yaml, causal_folder):
    """A run directory whose record names a model folder."""
    directory = RunDirectory.open(load_config(run_yaml))
    directory.write_record(Record("running").finished(model_path=str(causal_folder.path)))
    return directory


def test_the_yaml_of_a_finished_run_serves_its_model(run_yaml, finished, causal_folder):
    target = resolve(str(run_yaml), ["serve.port=8124"])
    assert (target.folder.path, target.name) == (causal_folder.path, "desk")
    assert (target.serve.port, target.serve.model_name) == (8124, "helper")


def test_a_run_directory_serves_its_model(finished, causal_folder):
    assert resolve(finished.storage.url).folder.path == causal_folder.path


def test_a_folder_of_a_run_brings_its_serve_section(run_yaml, causal_folder, tmp_path):
    path = write_folder_copy(causal_folder.path, tmp_path / "copy")
    (path / "run.yaml").write_text(dump_config(load_config(run_yaml)))
    target = resolve(str(path))
    assert (target.name, target.serve.port) == ("desk", 8123)


def test_a_foreign_folder_serves_under_its_own_name(causal_folder):
    target = resolve(str(causal_folder.path), ["serve.port=8125"])
    assert (target.name, target.serve.port) == ("parrot", 8125)


def test_a_registered_version_serves_under_its_name(causal_folder, tmp_path):
    storage = str(tmp_path / "runs")
    Registry(storage).register("desk", str(causal_folder.path))
    for reference in ("models:/desk@champion", "models:/desk/1"):
        target = resolve(reference, storage_path=storage)
        assert (target.folder.path, target.name) == (causal_folder.path, "desk")


def test_a_run_that_never_started_says_how_to_start_it(run_yaml):
    with pytest.raises(ModelFolderError, match=r"'desk' was never started .* run `mobula train"):
        resolve(str(run_yaml))


@pytest.mark.parametrize(
    ("record", "words"),
    [(Record("running"), "'running'"), (Record("running").failed("out of memory"), "out of memory")],
)
def test_a_run_that_did_not_finish_says_how_it_stands(run_yaml, record, words):
    RunDirectory.open(load_config(run_yaml)).write_record(record)
    with pytest.raises(ModelFolderError, match=words):
        resolve(str(run_yaml))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.learning_rate=1", "serve.* or cluster.* keys only"),
        ("serve.prt=1", "did you mean port"),
        ("serve.port=99999", "less than or equal to 65535"),
    ],
)
def test_an_override_that_means_nothing_is_refused(causal_folder, override, words):
    with pytest.raises(ConfigError, match=words.replace("*", r"\*")):
        resolve(str(causal_folder.path), [override])


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["tokenizer.json", "tokenizer_config.json"], "tokenizer is missing"),
        (["chat_template.jinja"], "no chat template"),
        (["model.safetensors"], "weights must be safetensors"),
        (["config.json"], "no config.json"),
    ],
)
def test_a_folder_that_lacks_something_is_one_sentence_and_exit_status_2(
    causal_folder, tmp_path, capsys, missing, words
):
    path = without(write_folder_copy(causal_folder.path, tmp_path / "broken"), *missing)
    assert run(["serve", str(path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_folder_that_is_not_there_is_exit_status_2(tmp_path, capsys):
    assert run(["serve", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_port_that_is_taken_is_exit_status_2_and_names_who_has_it(ray_cluster, causal_folder, capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert run(["serve", str(causal_folder.path), f"serve.port={port}"]) == 2
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port} is taken" in said
    assert f"serve.port={port + 1}" in said


def test_more_replicas_than_the_cluster_holds_is_exit_status_2(ray_cluster, causal_folder, capsys):
    assert run(["serve", str(causal_folder.path), "serve.num_replicas=99"]) == 2
    assert "the cluster has 4" in capsys.readouterr().err


def test_opening_the_copy_of_a_folder_keeps_it_servable(causal_folder, tmp_path):
    assert ModelFolder.open(write_folder_copy(causal_folder.path, tmp_path / "copy")).kind == "causal_lm"
