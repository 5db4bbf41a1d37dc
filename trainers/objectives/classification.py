"""Sequence classification: cross-entropy over the classes, one unit per row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from cluster.config import Classification, RunConfig
from trainers.objectives.base import IGNORED, Batch, Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True)
class Mix:
    """How the rows of a batch are blended: `share` of each row, and the rest of the row at `partner`."""

    share: float
    partner: torch.Tensor

    def blend(self, values: torch.Tensor) -> torch.Tensor:
        """Values of rows, the first dimension, blended with those of their partners."""
        return self.share * values + (1.0 - self.share) * values[self.partner]


class ClassificationObjective(Objective):
    """One label per text; the sum is over rows."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert isinstance(config.train.objective, Classification)
        self.settings = config.train.objective
        self._mix: Mix | None = None

    def prepare(self, model: PreTrainedModel) -> None:
        """Let embeddings be blended on their way into the model; a hook serves every architecture."""
        if self.settings.mixup_alpha:
            model.get_input_embeddings().register_forward_hook(
                lambda _module, _inputs, embedded: embedded if self._mix is None else self._mix.blend(embedded)
            )

    def num_units(self, batch: Batch) -> float:
        carries = batch["labels"] != IGNORED
        return float(batch["weights"][carries].double().sum() if "weights" in batch else carries.sum())

    def loss_sum(self, model: Callable, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        labels, mask = batch["labels"], batch["attention_mask"]
        mix = self._mix = self._drawn(model, len(labels))
        if mix is not None:
            mask = torch.maximum(mask, mask[mix.partner])
        try:
            logits = model(input_ids=batch["input_ids"], attention_mask=mask).logits.float()
        finally:
            self._mix = None
        losses = self._losses(logits, batch, torch.arange(len(labels), device=labels.device))
        if mix is not None:
            losses = mix.share * losses + (1.0 - mix.share) * self._losses(logits, batch, mix.partner)
        correct = (logits.argmax(-1) == labels).float() * batch.get("weights", 1.0)
        return losses.sum(), {"loss": losses.sum().detach(), "correct": correct.sum().detach()}

    def _drawn(self, model: Callable, rows: int) -> Mix | None:
        """How this batch is blended; not at all outside training."""
        alpha = self.settings.mixup_alpha
        module = getattr(model, "module", model)  # inside the engine
        if not alpha or rows < 2 or not getattr(module, "training", True):
            return None
        share = torch.distributions.Beta(alpha, alpha).sample()
        return Mix(float(share), torch.randperm(rows))

    def _losses(self, logits: torch.Tensor, batch: Batch, rows: torch.Tensor) -> torch.Tensor:
        """Loss of each row's logits against the labels of other rows, times their weights."""
        losses = cross_entropy(
            logits,
            batch["labels"][rows],
            reduction="none",
            ignore_index=IGNORED,
            label_smoothing=self.settings.label_smoothing,
        )
        return losses * batch["weights"][rows] if "weights" in batch else losses

    def summarise(self, sums: dict[str, float], units: float) -> dict[str, float]:
        return {"loss": sums["loss"] / (units or 1.0), "accuracy": sums["correct"] / (units or 1.0)}
