"""How sure a causal model is of an answer, out of the probabilities of its tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MEAN, LOWEST, PRODUCT = "token_probability_mean", "token_probability_min", "answer_probability"


def confidence_of_tokens(log_probabilities: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The confidence of one answer.

    Args:
        log_probabilities: natural logarithms of the probability of each token that was generated.

    Returns:
        `geometric_mean` of the probabilities (what a token costs on average, whatever the length), `mean`, `min` (one
        doubtful token makes a doubtful answer), and `product` (of the whole answer); nothing for an empty answer.
    """
    given = np.minimum(np.asarray(log_probabilities, np.float64), 0.0)
    if not given.size:
        return {}
    return {
        "geometric_mean": float(np.exp(given.mean())),
        "mean": float(np.exp(given).mean()),
        "min": float(np.exp(given.min())),
        "product": float(np.exp(given.sum())),
    }


def notes_of_tokens(log_probabilities: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The same as notes of a prediction, whose `probability` is the geometric mean."""
    found = confidence_of_tokens(log_probabilities)
    return {MEAN: found["mean"], LOWEST: found["min"], PRODUCT: found["product"]} if found else {}
