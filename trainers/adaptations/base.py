"""The seam between the worker loop and which parameters move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.config import RunConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Adaptation(ABC):
    """Marks the parameters that move, and writes them as a model folder others can load."""

    is_adapter = False
    """Whether what is saved needs its base model beside it."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    @abstractmethod
    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model to train, with `requires_grad` set on what moves and on nothing else."""

    @abstractmethod
    def save(self, model: PreTrainedModel, folder: Path, dtype: torch.dtype) -> None:
        """Write the trained part of `model` (as returned by `apply`, on the CPU) in Hugging Face layout."""
