"""Data sets with known truth, for simulations."""

import numpy as np

from trainers.evaluation.statistic import Sums

CONFUSIONS = np.array([[40, 2, 2, 1], [3, 20, 3, 0], [2, 2, 12, 2], [2, 1, 2, 6]]) / 100
"""Chance of each pair of true and given label; sums to 1."""
NUM_LABELS = len(CONFUSIONS)


def macro_f1_of(sums: np.ndarray) -> np.ndarray:
    """Hits, given and true per label, one after the other."""
    hits, given, true = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    occurs = given + true > 0
    f1 = np.where(occurs, 2 * hits / np.maximum(given + true, 1e-12), 0.0)
    return f1.sum(-1) / np.maximum(occurs.sum(-1), 1)


def macro_f1(true: np.ndarray, given: np.ndarray, labels: int = NUM_LABELS) -> Sums:
    rows, every = np.zeros((len(true), 3, labels)), np.arange(len(true))
    rows[every, 0, true] = true == given
    rows[every, 1, given] = rows[every, 2, true] = 1
    return Sums(rows.reshape(len(true), -1), macro_f1_of)


def macro_f1_truth(confusions: np.ndarray) -> float:
    return float(macro_f1_of(np.concatenate([confusions.diagonal(), confusions.sum(0), confusions.sum(1)])))


def labelled(generator: np.random.Generator, n: int, confusions: np.ndarray = CONFUSIONS) -> tuple[np.ndarray, ...]:
    """True and given labels."""
    return np.divmod(generator.choice(confusions.size, n, p=confusions.ravel()), len(confusions))


def share(generator: np.random.Generator, n: int, rate: float) -> Sums:
    return Sums.mean((generator.random(n) < rate).astype(float))


def pair_of_shares(generator: np.random.Generator, n: int, gained: float, lost: float) -> tuple[Sums, Sums]:
    """Two shares that disagree on some rows: `gained` of them only the second has right, `lost` only the first."""
    draw, both = generator.random(n), generator.random(n) < 0.7
    first = np.where(draw < gained, False, np.where(draw < gained + lost, True, both))
    second = np.where(draw < gained, True, np.where(draw < gained + lost, False, both))
    return Sums.mean(first.astype(float)), Sums.mean(second.astype(float))
