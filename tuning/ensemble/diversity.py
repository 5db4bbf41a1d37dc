"""How differently members err: the same mistakes made by all cannot be voted away (Kuncheva and Whitaker 2003)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tuning.ensemble.votes import Votes

MEASURES = ("disagreement", "q_statistic", "correlation", "kappa", "double_fault")


def pair_measures(one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Of two members.

    Args:
        one, other: which rows each gets right, shape (rows,), bool.
        first, second: the class each gives, shape (rows,).

    Returns:
        `disagreement` (share of rows with different classes), `q_statistic` (Yule's) and `correlation` (phi) of being right,
        `kappa` (Cohen's, of the classes beyond chance) and `double_fault` (share of rows both get wrong); nan where one
        is not defined.
    """
    both, neither = float((one & other).mean()), float((~one & ~other).mean())
    only_one, only_other = float((one & ~other).mean()), float((~one & other).mean())
    same, crossed = both * neither, only_one * only_other
    spread = np.sqrt(one.mean() * (~one).mean() * other.mean() * (~other).mean())
    return {
        "disagreement": float((first != second).mean()),
        "q_statistic": (same - crossed) / (same + crossed) if same + crossed else float("nan"),
        "correlation": float((same - crossed) / spread) if spread else float("nan"),
        "kappa": _kappa(first, second),
        "double_fault": neither,
    }


def _kappa(first: np.ndarray, second: np.ndarray) -> float:
    number = int(max(first.max(initial=0), second.max(initial=0))) + 1
    shares = [np.bincount(one, minlength=number) / len(one) for one in (first, second)]
    chance, agreed = float(shares[0] @ shares[1]), float((first == second).mean())
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def diversity(votes: Votes, names: list[str]) -> dict[str, Any]:
    """Every pair's measures and their means, ready for JSON; None for what is not defined."""
    right, given = votes.right(), votes.logs.argmax(-1)
    pairs = [
        {"first": names[one], "second": names[other]}
        | pair_measures(right[one], right[other], given[one], given[other])
        for one, other in itertools.combinations(range(votes.members), 2)
    ]
    if not pairs:
        return {"pairs": [], "mean": {}}
    values_of = {name: np.array([pair[name] for pair in pairs], np.float64) for name in MEASURES}
    known = {name: values[~np.isnan(values)] for name, values in values_of.items()}
    means = {name: float(values.mean()) if len(values) else None for name, values in known.items()}
    plain = [
        {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in pair.items()}
        for pair in pairs
    ]
    return {
        "pairs": plain,
        "mean": means,
        "all_wrong": float((~right).all(0).mean()),
        "any_right": float(right.any(0).mean()),
    }
