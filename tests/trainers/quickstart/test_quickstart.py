"""Claims about what `mobula quickstart` writes and refuses. The whole story is told by `make quickstart`."""

import socket
from pathlib import Path

import pytest

from cluster.cli.quickstart import Choices, free_port, write_inputs
from cluster.config import Lora, Pretrained, Scratch
from cluster.config.load import load_config
from cluster.exceptions import UserError


def choices(folder: Path, model: str | None = None) -> Choices:
    return Choices(folder, model, rows=100, port=8765)


def test_the_run_yaml_trains_a_small_model_with_two_workers_under_zero2(tmp_path):
    files, config = write_inputs(choices(tmp_path / "qs"))
    assert isinstance(config.model, Scratch)
    assert (config.cluster.num_workers, config.train.deepspeed) == (2, "zero2")
    assert config.data.test == [str(files.test), str(files.unseen)]
    assert config.evaluate.slices == ["slice"]
    assert config.serve.port == 8765
    assert config.cluster.storage_path == str(tmp_path / "qs" / "runs")


@pytest.mark.parametrize("model", ["Qwen/Qwen3-0.6B", '/a folder/with "quotes": #'])
def test_a_model_that_is_named_is_fine_tuned_with_lora(tmp_path, model):
    _, config = write_inputs(choices(tmp_path, model))
    assert isinstance(config.model, Pretrained)
    assert config.model.name_or_path == model
    assert isinstance(config.train.adaptation, Lora)


def test_running_it_again_overwrites_its_own_files(tmp_path):
    write_inputs(choices(tmp_path))
    first = (tmp_path / "data" / "train.jsonl").read_bytes()
    write_inputs(choices(tmp_path))
    assert (tmp_path / "data" / "train.jsonl").read_bytes() == first


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "run.yaml").write_text("name: mine\n")
    with pytest.raises(UserError, match="was not written by `mobula quickstart`"):
        write_inputs(choices(tmp_path))
    assert (tmp_path / "run.yaml").read_text() == "name: mine\n"
    assert not (tmp_path / "data").exists()


def test_a_taken_port_is_passed_over_and_named(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port
        assert f"port {port} is taken" in capsys.readouterr().err


def test_the_recipe_trains_what_the_quickstart_trains(tmp_path):
    _, config = write_inputs(choices(tmp_path))
    recipe = load_config(Path(__file__).parents[3] / "recipes" / "quickstart.yaml")
    for section in ("name", "model", "train", "evaluate"):
        assert getattr(recipe, section) == getattr(config, section), section
    assert recipe.data.max_length == config.data.max_length
