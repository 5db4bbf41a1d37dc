"""From sequences to tensors.

Packed sequences carry no attention mask: `position_ids` restart at each row, and transformers builds block-diagonal
attention from that. Padding at the end is one more row of its own, so nothing attends to it.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np

from trainers.data.encode import IGNORED

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

MULTIPLE = 8
"""Sequence lengths are padded to a multiple of this: what matrix units like, and fewer distinct shapes."""


@dataclasses.dataclass(frozen=True)
class CausalCollate:
    """`input_ids`, `position_ids` and `labels` of packed sequences, each [batch, length], int64.

    Labels are not shifted; -100 carries no loss, which the first token of every row has. Where a row counts other than
    1, `weights` [batch, length], float32, says what each token's loss is multiplied with.
    """

    pad_token_id: int
    multiple: int = MULTIPLE

    def __call__(self, table: pa.Table) -> dict[str, torch.Tensor]:
        """One micro-batch; without sequences it is one row of padding that carries no loss."""
        ids, labels, row_lengths = (_rows(table, name) for name in ("input_ids", "labels", "row_lengths"))
        shape = _shape(ids, self.multiple)
        batch = {
            "input_ids": np.full(shape, self.pad_token_id, np.int64),
            "position_ids": np.tile(np.arange(shape[1]), (shape[0], 1)),
            "labels": np.full(shape, IGNORED, np.int64),
        }
        for row, (tokens, targets, lengths) in enumerate(zip(ids, labels, row_lengths, strict=True)):
            batch["input_ids"][row, : len(tokens)] = tokens
            batch["labels"][row, : len(targets)] = targets
            padding = shape[1] - len(tokens)
            batch["position_ids"][row] = np.concatenate([np.arange(length) for length in [*lengths, padding]])
        row_weights = _rows(table, "row_weights")
        if _any_counts_otherwise(row_weights):
            batch["weights"] = np.ones(shape, np.float32)
            for row, (weights, lengths) in enumerate(zip(row_weights, row_lengths, strict=True)):
                batch["weights"][row, : lengths.sum()] = np.repeat(weights, lengths)
        return _tensors(batch)


@dataclasses.dataclass(frozen=True)
class ClassificationCollate:
    """`input_ids` and `attention_mask` [batch, length] and `labels` [batch] of texts, int64.

    Where a row counts other than 1, `weights` [batch], float32, says how much.
    """

    pad_token_id: int
    multiple: int = MULTIPLE

    def __call__(self, table: pa.Table) -> dict[str, torch.Tensor]:
        """One micro-batch; without texts it is one row of padding whose label is -100."""
        ids = _rows(table, "input_ids")
        shape = _shape(ids, self.multiple)
        batch = {
            "input_ids": np.full(shape, self.pad_token_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "labels": np.full(shape[0], IGNORED, np.int64),
        }
        for row, tokens in enumerate(ids):
            batch["input_ids"][row, : len(tokens)] = tokens
            batch["attention_mask"][row, : len(tokens)] = 1
        if ids:
            batch["labels"][:] = table["label"].to_numpy()
        else:
            batch["attention_mask"][:, 0] = 1  # a row that attends to nothing makes NaN
        weights = _rows(table, "row_weights")
        if _any_counts_otherwise(weights):
            batch["weights"] = np.concatenate(weights)
        return _tensors(batch)


Collate = CausalCollate | ClassificationCollate


def _rows(table: pa.Table, name: str) -> list[np.ndarray]:
    """The lists of a column as views of its flat values."""
    rows = []
    for chunk in table[name].chunks:
        offsets, values = chunk.offsets.to_numpy(), chunk.values.to_numpy()
        rows += [values[start:end] for start, end in itertools.pairwise(offsets)]
    return rows


def _any_counts_otherwise(row_weights: list[np.ndarray]) -> bool:
    return any((weights != 1.0).any() for weights in row_weights)


def _shape(rows: list[np.ndarray], multiple: int) -> tuple[int, int]:
    longest = max((len(row) for row in rows), default=1)
    return max(len(rows), 1), -(-longest // multiple) * multiple


def _tensors(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
