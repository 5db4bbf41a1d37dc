"""Sparing the output layer: its softmax over the vocabulary is a large part of a small model's work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


class OutputLayerMask:
    """Lets the output layer of a causal model see only some positions, so that logits come out as [kept, vocabulary].

    A hook on the layer rather than a model class of our own: it serves every architecture, PEFT and ZeRO-3.
    """

    def __init__(self, model: Any) -> None:
        self._kept: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._select)

    def _select(self, _: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._kept is None:
            return None
        hidden, *rest = inputs
        return hidden[self._kept], *rest

    @contextlib.contextmanager
    def keeping(self, kept: torch.Tensor) -> Iterator[None]:
        """Inside the block only the positions where `kept` [batch, length] is true are seen."""
        self._kept = kept
        try:
            yield
        finally:
            self._kept = None
