"""Every parameter moves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from trainers.adaptations.base import Adaptation

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class FullWeightsAdaptation(Adaptation):
    """Full fine-tuning."""

    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        return model.requires_grad_(True)

    def save(self, model: PreTrainedModel, folder: Path, dtype: torch.dtype) -> None:
        cast("torch.nn.Module", model).to(dtype)
        model.save_pretrained(folder, safe_serialization=True)
