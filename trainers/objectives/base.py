"""The seam between the worker loop and what is minimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from cluster.config import RunConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = dict[str, torch.Tensor]
IGNORED = -100
"""Label of a token or row that carries no loss."""


class Objective(ABC):
    """A loss that is a sum over units (tokens, rows), so that it can be averaged exactly over all workers.

    A row's weight counts on both sides: its loss is multiplied with it, and so are the units it stands for.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    def prepare(self, model: PreTrainedModel) -> None:  # noqa: B027 - most objectives need nothing
        """Change the model before the engine wraps it."""

    @abstractmethod
    def num_units(self, batch: Batch) -> float:
        """Tokens or rows of `batch` that carry loss, each as often as its row's weight says."""

    @abstractmethod
    def loss_sum(self, model: Callable, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss summed over the units of `batch`, and further sums to report (such as `correct`).

        Args:
            model: the engine, or any callable with the model's forward signature.
        """

    def summarise(self, sums: dict[str, float], units: float) -> dict[str, float]:
        """Metrics of an evaluation from sums over all its units."""
        return {"loss": sums["loss"] / (units or 1.0)}
