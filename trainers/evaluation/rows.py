"""Predictions column by column, as metrics see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from trainers.evaluation.result import Prediction


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some predictions of one model.

    Attributes:
        predictions: one for each row.
        labels: class names in the order of `Prediction.logits`; empty for causal models.
    """

    predictions: Sequence[Prediction]
    labels: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.predictions)

    def take(self, indices: np.ndarray) -> Rows:
        """Some of the rows, in that order."""
        return Rows([self.predictions[index] for index in indices], self.labels)

    @cached_property
    def references(self) -> list[str | None]:
        """Expected answer or label of each row; None where there is none."""
        return [one.reference for one in self.predictions]

    @cached_property
    def outputs(self) -> list[str | None]:
        """What the model gave; None where nothing was generated."""
        return [one.output for one in self.predictions]

    @cached_property
    def is_compared(self) -> np.ndarray:
        """Rows that have both, shape (n,), bool."""
        pairs = zip(self.references, self.outputs, strict=True)
        return np.array([want is not None and got is not None for want, got in pairs], bool)

    @cached_property
    def logits(self) -> np.ndarray | None:
        """Scores of the classes, shape (n, classes), float32; None where the model gives none."""
        if not self.predictions or any(one.logits is None for one in self.predictions):
            return None
        return np.array([one.logits for one in self.predictions], np.float32)

    @cached_property
    def label_ids(self) -> np.ndarray:
        """Index of each reference in `labels`, shape (n,), int64; -1 where it is none of them."""
        known = {label: index for index, label in enumerate(self.labels)}
        return np.array([known.get(one or "", -1) for one in self.references], np.int64)

    @cached_property
    def pairs(self) -> tuple[list[str], np.ndarray]:
        """The answers that occur, sorted, and for each row the indices of its (reference, output), shape (n, 2), int64.

        Both are -1 in rows that lack one of them.
        """
        compared = [
            (want, got)
            for want, got in zip(self.references, self.outputs, strict=True)
            if want is not None and got is not None
        ]
        names = sorted({name for pair in compared for name in pair})
        index = {name: at for at, name in enumerate(names)}
        pairs = np.full((len(self), 2), -1, np.int64)
        pairs[self.is_compared] = [[index[want], index[got]] for want, got in compared] or np.zeros((0, 2))
        return names, pairs

    def note(self, name: str) -> np.ndarray:
        """A number that an annotator wrote down for each row, shape (n,), float64; nan where it did not."""
        return np.array([float(one.notes.get(name, "nan")) for one in self.predictions], np.float64)
