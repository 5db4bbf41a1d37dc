"""The folder of an ensemble, and its members as one module."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from cluster.exceptions import ModelFolderError
from tests.serving.tiny_models import TEXTS, edit_json
from tests.trainers.ensembles.made import causal_models, classifiers, ensemble_of
from trainers.causal_loss import RowLoss
from trainers.data.encode import Tokens
from trainers.ensembles.folder import DropoutFolder
from trainers.folder import ModelFolder


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[ModelFolder]:
    return classifiers(tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> list[ModelFolder]:
    return causal_models(tmp_path_factory.mktemp("writers"), 2)


def inputs(folder: ModelFolder) -> dict[str, torch.Tensor]:
    found = folder.tokenizer()(TEXTS, padding=True, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def test_an_ensemble_opens_as_a_classifier_and_its_logits_are_those_of_the_mean(members, tmp_path: Path) -> None:
    folder = ensemble_of(tmp_path / "ensemble", members, "soft_vote", {"weights": [1, 1, 1]})
    assert folder.kind == "classification" and folder.labels == members[0].labels
    given = inputs(folder)
    with torch.inference_mode():
        mixed = folder.load()(**given).logits.softmax(-1)
        each = torch.stack([one.load()(**given).logits.softmax(-1) for one in members])
    assert torch.allclose(mixed, each.mean(0), atol=1e-6)


def test_members_with_labels_in_another_order_count_for_the_right_class(members, tmp_path: Path) -> None:
    shutil.copytree(members[1].path, tmp_path / "turned")
    labels = members[1].labels
    turned = {str(at): label for at, label in enumerate(reversed(labels))}
    edit_json(
        tmp_path / "turned" / "config.json", id2label=turned, label2id={label: int(at) for at, label in turned.items()}
    )
    folder = ensemble_of(
        tmp_path / "e", [members[0], ModelFolder.open(tmp_path / "turned")], "soft_vote", {"weights": [0, 1]}
    )
    given = inputs(folder)
    with torch.inference_mode():
        expected = members[1].load()(**given).logits.softmax(-1).flip(-1)
        assert torch.allclose(folder.load()(**given).logits.softmax(-1), expected, atol=1e-6)


def test_a_member_that_was_changed_is_refused(members, tmp_path: Path) -> None:
    shutil.copytree(members[0].path, tmp_path / "one")
    ensemble_of(tmp_path / "e", [ModelFolder.open(tmp_path / "one"), members[1]], "soft_vote", {"weights": [1, 1]})
    edit_json(tmp_path / "one" / "config.json", hidden_act="relu")
    with pytest.raises(ModelFolderError, match="was changed since the ensemble was made"):
        ModelFolder.open(tmp_path / "e")


@pytest.mark.parametrize("rule", ["nonsense", "soft_vote"])
def test_a_file_that_is_no_ensemble_is_refused(members, tmp_path: Path, rule: str) -> None:
    with pytest.raises(ModelFolderError, match="is no ensemble"):
        ensemble_of(tmp_path / "e", members, rule, {"wrong": 1})


def test_passes_of_dropout_differ_by_seed_and_repeat_themselves(members) -> None:
    given = inputs(members[0])
    with torch.inference_mode():
        one, again, other = (DropoutFolder(members[0].path, seed).load()(**given).logits for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.allclose(one, other)


def test_causal_models_write_each_token_together(writers, tmp_path: Path) -> None:
    folder = ensemble_of(tmp_path / "e", writers, "token_mean", {"weights": [0.5, 0.5], "space": "probabilities"})
    together, models = folder.load(), [one.load() for one in writers]
    tokenizer = folder.tokenizer()
    tokenizer.padding_side = "left"
    given = tokenizer(TEXTS[:2], padding=True, return_tensors="pt")
    mask, ids = given["attention_mask"], given["input_ids"]
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=6, eos_token_id=None, pad_token_id=tokenizer.pad_token_id
    )
    with torch.inference_mode():
        written = together.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        for row in range(2):  # one by one, without padding or caches
            known = ids[row][mask[row].bool()][None]
            for _ in range(6):
                mean = torch.stack([model(input_ids=known).logits[:, -1].softmax(-1) for model in models]).mean(0)
                known = torch.cat([known, mean.argmax(-1, keepdim=True)], dim=1)
            assert written[row, -6:].tolist() == known[0, -6:].tolist()


def test_the_loss_of_causal_models_is_that_of_their_mean(writers, tmp_path: Path) -> None:
    folder = ensemble_of(tmp_path / "e", writers, "token_mean", {"weights": [1, 1], "space": "probabilities"})
    ids = np.array(folder.tokenizer()(TEXTS[0])["input_ids"])
    [loss] = RowLoss(folder.load(), 0, 1)([Tokens(ids=ids, labels=ids.copy())])
    with torch.inference_mode():
        given = torch.tensor([ids.tolist()])
        mean = torch.stack([one.load()(input_ids=given).logits[0, :-1].softmax(-1) for one in writers]).mean(0)
    assert loss == pytest.approx(float(-mean[range(len(ids) - 1), ids[1:].tolist()].log().sum()), rel=1e-4)
