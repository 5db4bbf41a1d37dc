"""Supervised fine-tuning: next-token cross-entropy on the assistant's tokens.

Only positions that carry loss reach the output layer. On short chat rows most tokens are prompt, and the output
layer with its softmax over the vocabulary is a large part of a small model's work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from trainers.objectives.base import IGNORED, Batch, Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SupervisedFineTuningObjective(Objective):
    """Causal language modelling with a loss mask; the sum is over unmasked next tokens."""

    _kept: torch.Tensor | None = None

    def prepare(self, model: PreTrainedModel) -> None:
        """Let the output layer see only the positions whose next token carries loss.

        A hook on the layer rather than a model class of our own: it serves every architecture, PEFT and ZeRO-3.
        """
        output_layer = model.get_output_embeddings()
        output_layer.register_forward_pre_hook(self._keep_positions)
        model.config.use_cache = False
        self._flatten = model.config._attn_implementation == "flash_attention_2"

    def _keep_positions(self, _: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._kept is None:
            return None
        hidden, *rest = inputs
        return hidden[self._kept], *rest

    def num_units(self, batch: Batch) -> int:
        return int((batch["labels"][:, 1:] != IGNORED).sum())

    def loss_sum(self, model: Callable, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        ids, positions, labels = batch["input_ids"], batch["position_ids"], batch["labels"]
        targets = torch.cat([labels[:, 1:], labels.new_full((len(labels), 1), IGNORED)], dim=1)
        if self._flatten:  # the varlen kernel tells rows apart by position only within one long sequence
            ids, positions, targets = (part.reshape(1, -1) for part in (ids, positions, targets))
        self._kept = targets != IGNORED
        try:
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        finally:
            kept, self._kept = self._kept, None
        loss = cross_entropy(logits.float(), targets[kept], reduction="sum")
        return loss, {"loss": loss.detach()}

    def summarise(self, sums: dict[str, float], units: float) -> dict[str, float]:
        loss = sums["loss"] / max(units, 1.0)
        return {"loss": loss, "perplexity": math.exp(min(loss, 80.0))}
