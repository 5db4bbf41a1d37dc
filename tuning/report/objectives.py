"""Several things at once: weighted sums, the trials that no other beats in everything, and the knee among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cluster.exceptions import ConfigError
from tuning.report.facts import Objective


def weighted_sum(points: np.ndarray, objectives: Sequence[Objective], weights: Mapping[str, float]) -> np.ndarray:
    """One score for several: each figure is first brought to 0 (worst found) .. 1 (best found), then weighed.

    Args:
        points: shape (n, m), one column for each objective.
        weights: of each objective by name; they need not sum to 1.

    Returns:
        Shape (n,), in 0..1; nan for a point that lacks a figure.

    Raises:
        ConfigError: for a weight of something else, a missing or negative one, or none above 0.
    """
    names = [one.name for one in objectives]
    if set(weights) != set(names) or min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise ConfigError(
            f"found weights {dict(weights)}; expected one for each of {', '.join(names)}, none below 0 and not all 0"
        )
    weight = np.array([weights[name] for name in names], float)
    return np.asarray((1.0 - regrets(points, objectives)) @ (weight / weight.sum()), float)


def regrets(points: np.ndarray, objectives: Sequence[Objective]) -> np.ndarray:
    """Points as shares of the way from the best (0) to the worst (1) found, shape (n, m); 0 where all are alike."""
    goodness = np.asarray(points, float) * [one.sign for one in objectives]
    best, worst = np.nanmax(goodness, axis=0), np.nanmin(goodness, axis=0)
    width = np.where(best > worst, best - worst, 1.0)
    return (best - goodness) / width


def pareto(points: np.ndarray, objectives: Sequence[Objective]) -> np.ndarray:
    """Whether no other point is at least as good in everything and better in something, shape (n,), bool.

    A point that lacks a figure (nan) is in no such set.
    """
    goodness = np.asarray(points, float) * [one.sign for one in objectives]
    known = ~np.isnan(goodness).any(axis=1)
    front = known.copy()
    for at in np.flatnonzero(known):
        others = goodness[known]
        front[at] = not ((others >= goodness[at]).all(axis=1) & (others > goodness[at]).any(axis=1)).any()
    return front


def knee(points: np.ndarray, objectives: Sequence[Objective]) -> int | None:
    """The point of a Pareto set from which any gain costs most: farthest inside the plane through its extremes (Das 1999).

    Args:
        points: shape (n, m); those outside the Pareto set are never chosen.

    Returns:
        Its index; None where the set has fewer than three points or none lies inside the plane: then there is no knee.
    """
    front = np.flatnonzero(pareto(points, objectives))
    if len(front) < 3 or len(objectives) < 2:
        return None
    regret = regrets(np.asarray(points, float)[front], objectives)
    extremes = regret[[int(np.argmin(column)) for column in regret.T]]
    try:
        normal = np.linalg.solve(extremes, np.ones(len(objectives)))  # the plane: normal . regret = 1
    except np.linalg.LinAlgError:
        return None
    inside = (1.0 - regret @ normal) / np.linalg.norm(normal)
    best = int(np.argmax(inside))
    return int(front[best]) if inside[best] > 1e-9 else None
