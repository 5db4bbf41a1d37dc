"""Supervised fine-tuning: next-token cross-entropy on the assistant's tokens.

Only positions that carry loss reach the output layer. On short chat rows most tokens are prompt, and the output
layer with its softmax over the vocabulary is a large part of a small model's work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from trainers.objectives.base import IGNORED, Batch, Objective
from trainers.output_layer import OutputLayerMask

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SupervisedFineTuningObjective(Objective):
    """Causal language modelling with a loss mask; the sum is over unmasked next tokens."""

    def prepare(self, model: PreTrainedModel) -> None:
        """Let the output layer see only the positions whose next token carries loss."""
        self._output_layer = OutputLayerMask(model)
        model.config.use_cache = False
        self._flatten = model.config._attn_implementation == "flash_attention_2"

    def num_units(self, batch: Batch) -> float:
        carries = batch["labels"][:, 1:] != IGNORED
        if "weights" in batch:
            return float(batch["weights"][:, 1:][carries].double().sum())
        return float(carries.sum())

    def loss_sum(self, model: Callable, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        ids, positions, labels = batch["input_ids"], batch["position_ids"], batch["labels"]
        weights = batch.get("weights")
        targets = torch.cat([labels[:, 1:], labels.new_full((len(labels), 1), IGNORED)], dim=1)
        if weights is not None:  # of the token that is predicted
            weights = torch.cat([weights[:, 1:], weights[:, :1]], dim=1)
        if self._flatten:  # the varlen kernel tells rows apart by position only within one long sequence
            ids, positions, targets = (part.reshape(1, -1) for part in (ids, positions, targets))
            weights = None if weights is None else weights.reshape(1, -1)
        kept = targets != IGNORED
        with self._output_layer.keeping(kept):
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = _weighted_sum(logits.float(), targets[kept], None if weights is None else weights[kept])
        return loss, {"loss": loss.detach()}

    def summarise(self, sums: dict[str, float], units: float) -> dict[str, float]:
        loss = sums["loss"] / (units or 1.0)
        return {"loss": loss, "perplexity": math.exp(min(loss, 80.0))}


def _weighted_sum(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is None:
        return cross_entropy(logits, targets, reduction="sum")
    return (cross_entropy(logits, targets, reduction="none") * weights).sum()
