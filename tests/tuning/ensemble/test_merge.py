"""Several models made one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cluster.config import RunConfig
from cluster.config.ensemble import LoraMerge
from cluster.exceptions import ConfigError
from cluster.storage import Storage
from tests.serving.tiny_models import TEXTS, tiny_adapter_folder, tiny_causal_folder
from tests.trainers.ensembles.made import classifiers
from trainers.folder import ModelFolder
from tuning.ensemble.members import Candidate
from tuning.ensemble.merge import Pot, merge_adapters, whole_weights


def workshop(path: Path, combine: object):
    """As far as merging needs one."""
    config = RunConfig.model_validate(
        {
            "name": "merged",
            "model": {"name_or_path": "x"},
            "data": {"train": "x.csv"},
            "cluster": {"storage_path": str(path)},
        }
    )
    run = SimpleNamespace(storage=Storage.open(path).child("merged"), config=config)
    return SimpleNamespace(run=run, settings=SimpleNamespace(combine=combine))


def candidates(folders: list[ModelFolder]) -> list[Candidate]:
    return [Candidate(one.path.name, one, str(one.path)) for one in folders]


def test_a_soup_is_the_mean_of_weights_and_an_ordinary_folder(tmp_path: Path) -> None:
    members = classifiers(tmp_path, 3)
    pot = Pot(workshop(tmp_path, None), candidates(members))
    folder = ModelFolder.open(pot.serve([0.5, 0.5, 0.0]))
    assert folder.kind == "classification" and not (folder.path / "ensemble.json").exists()
    first, second, found = (whole_weights(one) for one in (members[0], members[1], folder))
    for name, tensor in found.items():
        assert torch.allclose(tensor.float(), (first[name].float() + second[name].float()) / 2, atol=1e-6), name
    assert [one["name"] for one in folder.lineage["members"]] == ["member-0", "member-1", "member-2"]


def test_models_of_other_shapes_make_no_soup(tmp_path: Path) -> None:
    small = ModelFolder.open(tiny_causal_folder(tmp_path / "small"))
    large = ModelFolder.open(tiny_causal_folder(tmp_path / "large", hidden_size=32))
    with pytest.raises(ConfigError, match="large has other layers or labels than small"):
        Pot(workshop(tmp_path, None), candidates([small, large]))


@pytest.mark.parametrize("how", ["linear", "cat", "svd", "ties", "dare_ties", "dare_linear"])
def test_adapters_are_merged_into_one_that_opens_and_answers(tmp_path: Path, how: str) -> None:
    base = tiny_causal_folder(tmp_path / "base")
    members = [ModelFolder.open(tiny_adapter_folder(tmp_path / f"lora-{seed}", base, seed=seed)) for seed in (1, 2)]
    shop = workshop(tmp_path, LoraMerge(how=how))
    folder = ModelFolder.open(merge_adapters(shop, candidates(members)).place)
    assert folder.is_adapter
    given = folder.tokenizer()(TEXTS[0], return_tensors="pt")
    ids = {"input_ids": given["input_ids"]}
    with torch.inference_mode():
        merged, plain = folder.load()(**ids).logits, ModelFolder.open(base).load()(**ids).logits
    assert not torch.allclose(merged, plain, atol=1e-3)


def test_cat_keeps_the_mean_of_the_updates_exactly(tmp_path: Path) -> None:
    base = tiny_causal_folder(tmp_path / "base")
    members = [ModelFolder.open(tiny_adapter_folder(tmp_path / f"lora-{seed}", base, seed=seed)) for seed in (1, 2)]
    folder = ModelFolder.open(merge_adapters(workshop(tmp_path, LoraMerge(how="cat")), candidates(members)).place)
    merged, first, second = (whole_weights(one) for one in (folder, *members))
    name = next(name for name in merged if name.endswith("q_proj.weight"))
    assert torch.allclose(merged[name], (first[name] + second[name]) / 2, atol=1e-5)


def test_whole_models_are_no_adapters(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes LoRA adapters on one base model"):
        merge_adapters(workshop(tmp_path, LoraMerge()), candidates(classifiers(tmp_path, 2)))
