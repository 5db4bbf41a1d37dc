"""Sequence classification: cross-entropy over the classes, one unit per row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from cluster.config import Classification
from trainers.objectives.base import IGNORED, Batch, Objective


class ClassificationObjective(Objective):
    """One label per text; the sum is over rows."""

    def num_units(self, batch: Batch) -> float:
        carries = batch["labels"] != IGNORED
        return float(batch["weights"][carries].double().sum() if "weights" in batch else carries.sum())

    def loss_sum(self, model: Callable, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        settings = self.config.train.objective
        assert isinstance(settings, Classification)
        labels = batch["labels"]
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        losses = cross_entropy(
            logits, labels, reduction="none", ignore_index=IGNORED, label_smoothing=settings.label_smoothing
        )
        correct = (logits.argmax(-1) == labels).float()
        if "weights" in batch:
            losses, correct = losses * batch["weights"], correct * batch["weights"]
        return losses.sum(), {"loss": losses.sum().detach(), "correct": correct.sum().detach()}

    def summarise(self, sums: dict[str, float], units: float) -> dict[str, float]:
        return {"loss": sums["loss"] / (units or 1.0), "accuracy": sums["correct"] / (units or 1.0)}
