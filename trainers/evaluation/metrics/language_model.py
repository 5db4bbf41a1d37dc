"""Loss of the reference's tokens and what follows from it."""

from __future__ import annotations

import numpy as np

from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums, ratio

HIGHEST_LOSS = 80.0
"""In nats; its exponential is still a number that fits on a page."""


def _loss_sums(rows: Rows) -> np.ndarray:
    return np.array([[one.loss_sum, one.loss_units] for one in rows.predictions], np.float64).reshape(-1, 2)


def loss(rows: Rows) -> Sums | None:
    """Mean negative log-likelihood in nats over the tokens (or labels) that carry loss."""
    sums = _loss_sums(rows)
    return Sums(sums, ratio) if sums[:, 1].any() else None


def perplexity(rows: Rows) -> Sums | None:
    """Exponential of the loss: how many tokens the model hesitates between."""
    sums = _loss_sums(rows)
    return Sums(sums, lambda total: np.exp(np.minimum(ratio(total), HIGHEST_LOSS))) if sums[:, 1].any() else None


def bits_per_byte(rows: Rows) -> Sums | None:
    """Loss in bits over the UTF-8 bytes of the text that carries it: comparable between models of different tokenizers."""
    sums = np.array([[one.loss_sum, one.loss_bytes] for one in rows.predictions], np.float64).reshape(-1, 2)
    return Sums(sums, lambda total: ratio(total) / np.log(2)) if sums[:, 1].any() else None
