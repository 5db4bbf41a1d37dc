"""Tiny model folders, and a place to serve them."""

import socket
from pathlib import Path

import pytest

from cluster.config import ServeConfig
from tests.serving import tiny_models
from trainers.folder import ModelFolder


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory) -> ModelFolder:
    return ModelFolder.open(tiny_models.tiny_causal_folder(tmp_path_factory.mktemp("models") / "parrot"))


@pytest.fixture(scope="session")
def adapter_folder(causal_folder) -> ModelFolder:
    path = causal_folder.path.parent / "parrot-lora"
    return ModelFolder.open(tiny_models.tiny_adapter_folder(path, causal_folder.path))


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory) -> ModelFolder:
    return ModelFolder.open(tiny_models.tiny_classifier_folder(tmp_path_factory.mktemp("models") / "desk"))


@pytest.fixture(scope="session")
def serve_config() -> ServeConfig:
    """Small and quick to start: no compilation, little memory, a port that nobody uses."""
    return ServeConfig(port=free_port(), kv_cache_gib=0.125, max_num_seqs=8, engine_kwargs={"enforce_eager": True})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_folder_copy(source: Path, target: Path) -> Path:
    """A copy of a model folder that a test may damage."""
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target
