"""LoRA (Hu et al. 2021, arXiv 2106.09685) through PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from cluster.config import Classification, Lora, Pretrained
from trainers.adaptations.base import Adaptation

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LoraAdaptation(Adaptation):
    """Frozen weights, with trained low-rank updates beside the chosen layers (and a trained head, if it classifies)."""

    is_adapter = True

    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        from peft import LoraConfig, TaskType, get_peft_model

        settings = self.config.train.adaptation
        assert isinstance(settings, Lora)
        classifies = isinstance(self.config.train.objective, Classification)
        lora = LoraConfig(
            task_type=TaskType.SEQ_CLS if classifies else TaskType.CAUSAL_LM,
            r=settings.rank,
            lora_alpha=settings.alpha or 2 * settings.rank,
            lora_dropout=settings.dropout,
            target_modules=settings.target_modules,
        )
        with torch.random.fork_rng(devices=[]):  # the same start on every worker
            torch.manual_seed(self.config.train.seed)
            return cast("PreTrainedModel", get_peft_model(model, lora))

    def save(self, model: PreTrainedModel, folder: Path, dtype: torch.dtype) -> None:
        base = self.config.model.name_or_path if isinstance(self.config.model, Pretrained) else "base"
        is_folder = Path(base).is_dir()
        for adapter in model.peft_config.values():
            adapter.base_model_name_or_path = str(Path(base).resolve()) if is_folder else base
        model.save_pretrained(folder, safe_serialization=True)
