"""Classification losses: weights and blends of rows count exactly."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from cluster.config import RunConfig
from trainers.objectives import build_objective
from trainers.objectives.classification import Mix


def objective_with(**settings: Any) -> Any:
    return build_objective(
        RunConfig.model_validate(
            {
                "name": "tiny",
                "model": {"kind": "scratch"},
                "data": {"train": "unused.jsonl"},
                "train": {"objective": {"kind": "classification", **settings}},
            }
        )
    )


def tiny_encoder() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    shape = BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=50,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(shape)


BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 0], [8, 9, 10, 11], [12, 13, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]]),
    "labels": torch.tensor([0, 1, 2]),
}


def test_weights_multiply_the_loss_and_the_units_of_their_rows() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.5], [-3.0, 1.0]])
    batch = BATCH | {"labels": torch.tensor([1, 0, 1]), "weights": torch.tensor([2.0, 0.0, 0.5])}
    objective = objective_with()
    loss, _ = objective.loss_sum(lambda **_: types.SimpleNamespace(logits=logits), batch)
    alone = [cross_entropy(logits[row], batch["labels"][row]) for row in range(3)]
    assert float(loss) == pytest.approx(float(2 * alone[0] + 0.5 * alone[2]))
    assert objective.num_units(batch) == 2.5


def test_a_blend_is_the_share_of_each_embedding_and_of_each_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model, objective = tiny_encoder(), objective_with(mixup_alpha=0.4)
    objective.prepare(model)
    partner = torch.tensor([1, 2, 0])
    monkeypatch.setattr(objective, "_drawn", lambda *_: Mix(0.7, partner))
    loss, _ = objective.loss_sum(model, BATCH)

    embedded = tiny_encoder().get_input_embeddings()(BATCH["input_ids"])
    mask = torch.maximum(BATCH["attention_mask"], BATCH["attention_mask"][partner])
    logits = tiny_encoder()(inputs_embeds=0.7 * embedded + 0.3 * embedded[partner], attention_mask=mask).logits
    wanted = 0.7 * cross_entropy(logits, BATCH["labels"], reduction="sum")
    wanted += 0.3 * cross_entropy(logits, BATCH["labels"][partner], reduction="sum")
    torch.testing.assert_close(loss, wanted)


def test_blends_are_drawn_in_training_only_and_sum_to_one() -> None:
    model, objective = tiny_encoder(), objective_with(mixup_alpha=0.4)
    objective.prepare(model)
    torch.manual_seed(1)
    drawn = [objective._drawn(model.train(), 3) for _ in range(20)]
    assert all(0.0 <= mix.share <= 1.0 and sorted(mix.partner.tolist()) == [0, 1, 2] for mix in drawn)
    assert len({mix.share for mix in drawn}) > 10
    model.eval()
    assert objective._drawn(types.SimpleNamespace(module=model, training=True), 3) is None, "an engine around it"
    plain, _ = objective_with().loss_sum(model, BATCH)
    assert float(objective.loss_sum(model, BATCH)[0].detach()) == float(plain.detach())
