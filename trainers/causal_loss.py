"""Loss of single rows under a causal model: what evaluation reports, and what a curriculum may be ordered by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from trainers.data.encode import IGNORED, Tokens
from trainers.output_layer import OutputLayerMask


class RowLoss:
    """Sums of next-token losses of rows, in batches of similar length.

    Args:
        model: a causal model, on its device and in evaluation mode.
        pad_token_id: what short rows are filled up with.
        batch_size: rows in one forward pass.
    """

    def __init__(self, model: Any, pad_token_id: int, batch_size: int) -> None:
        self.model, self.pad_token_id, self.batch_size = model, pad_token_id, batch_size
        self.output_layer = OutputLayerMask(model)

    def __call__(self, rows: Sequence[Tokens]) -> list[float]:
        """Loss of each row, summed over its tokens that carry it."""
        sums = [0.0] * len(rows)
        for batch in by_length([len(row.ids) for row in rows], self.batch_size):
            for index, loss in zip(batch, self._losses([rows[index] for index in batch]), strict=True):
                sums[index] = loss
        return sums

    def _losses(self, rows: Sequence[Tokens]) -> list[float]:
        device = self.model.device
        labels = pad([row.labels for row in rows], IGNORED).to(device)
        targets = torch.cat([labels[:, 1:], labels.new_full((len(rows), 1), IGNORED)], dim=1)
        kept = targets != IGNORED
        if not kept.any():
            return [0.0] * len(rows)
        ids = pad([row.ids for row in rows], self.pad_token_id).to(device)
        mask = pad([[1] * len(row.ids) for row in rows], 0).to(device)
        with self.output_layer.keeping(kept):
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        losses = torch.zeros(kept.shape, device=device)
        losses[kept] = cross_entropy(logits.float(), targets[kept], reduction="none")
        return losses.sum(dim=1).tolist()


def by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices of rows that go together: similar lengths, the longest first so that memory shows early."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def pad(rows: Sequence[Sequence[int] | np.ndarray], fill: int, left: bool = False) -> torch.Tensor:
    """Rows as one tensor, int64."""
    padded = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for line, row in zip(padded, rows, strict=True):
        if len(row):
            line[-len(row) if left else 0 : None if left else len(row)] = row
    return torch.from_numpy(padded)
