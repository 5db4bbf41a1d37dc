"""Model folders that several tests read."""

import pytest

from tests.trainers.evaluation import tiny_folders
from trainers.folder import ModelFolder


@pytest.fixture(scope="session")
def answering_folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folders.answering_folder(tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="session")
def classifying_folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folders.classifying_folder(tmp_path_factory.mktemp("classifying"))
