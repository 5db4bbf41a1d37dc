"""Scores of predicted labels.

Each is a function of counts per class, so that it resamples as a matrix product. Rows are kept by kind (true label,
predicted label): 100,000 rows of 77 classes are of at most 5,929 kinds. Values agree with scikit-learn; a class that occurs
among the rows neither as reference nor as output does not count in a mean over classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError
from trainers.evaluation.metrics.base import LeftOut
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums

PER_CLASS = 3
"""Counts of each class: hits, predicted, true."""
AVERAGES = ("micro", "macro", "weighted")
MOST_CONFUSIONS = 20


def accuracy(rows: Rows) -> Sums | None:
    """Share of rows with the right label."""
    if not rows.is_compared.any():
        return None
    _, pairs = rows.pairs
    return Sums.mean(np.where(rows.is_compared, pairs[:, 0] == pairs[:, 1], np.nan))


def by_kind(pairs: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs of (true, predicted), shape (k, 2), and which of them each row is, shape (n,)."""
    keys, codes = np.unique(pairs @ np.array([num_classes + 1, 1]), return_inverse=True)
    first = np.zeros(len(keys), np.int64)
    first[codes] = np.arange(len(pairs))
    return pairs[first], codes


def counted(rows: Rows, of: Callable[[np.ndarray], np.ndarray]) -> Sums | None:
    """A statistic of the counts of each class: `of` takes them, shape (..., 3, classes), in the order of `rows.pairs`."""
    names, pairs = rows.pairs
    if not names:
        return None
    distinct, codes = by_kind(pairs, len(names))
    kinds = np.zeros((len(distinct), PER_CLASS, len(names)))
    at = np.flatnonzero(distinct[:, 0] >= 0)
    want, got = distinct[at].T
    kinds[at, 0, want] = want == got
    kinds[at, 1, got] = kinds[at, 2, want] = 1.0

    def of_sums(sums: np.ndarray, _names: tuple[str, ...] = tuple(names)) -> np.ndarray:
        # It holds the names, so that rows of two models are swapped only where their columns mean the same classes
        return of(_per_class(sums))

    return Sums(kinds.reshape(len(kinds), -1), of_sums, codes)


def _per_class(sums: np.ndarray) -> np.ndarray:
    return sums.reshape(*sums.shape[:-1], PER_CLASS, -1)


def _split(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hits, predicted, true), shape (..., classes) each."""
    return counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]


def share(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Part of a whole, and what to say where the whole is nothing."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), otherwise)


def precision_of(counts: np.ndarray) -> np.ndarray:
    """Share of the rows given a label that have it, shape (..., classes); 0 for labels given nowhere."""
    hits, predicted, _ = _split(counts)
    return share(hits, predicted)


def recall_of(counts: np.ndarray) -> np.ndarray:
    """Share of the rows of a label that are given it, shape (..., classes); 0 for labels of no row."""
    hits, _, true = _split(counts)
    return share(hits, true)


def f1_of(counts: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall, shape (..., classes); 0 for labels that occur nowhere."""
    hits, predicted, true = _split(counts)
    return share(2 * hits, predicted + true)


SCORES = {"precision": precision_of, "recall": recall_of, "f1": f1_of}


def micro(score: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    """A score of all classes thrown together, shape (...)."""
    return score(counts.sum(-1, keepdims=True))[..., 0]


def macro(score: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    """The mean over the classes that occur, all of the same weight, shape (...); nan where none does."""
    _, predicted, true = _split(counts)
    return _mean_where(score(counts), predicted + true > 0)


def weighted(score: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    """The mean over classes, each weighing as many rows as it has, shape (...); nan where there is none."""
    true = _split(counts)[2]
    return share((score(counts) * true).sum(-1), true.sum(-1), np.nan)


def _mean_where(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    return share(np.where(there, values, 0.0).sum(-1), there.sum(-1), np.nan)


AVERAGED = {"micro": micro, "macro": macro, "weighted": weighted}


def precision(rows: Rows, averages: Sequence[str] = AVERAGES, positive: str | None = None) -> Any:
    """Share of the rows given a label that have it: `micro`, `macro` and `weighted`, or that of one label (`positive`)."""
    return _averaged("precision", rows, averages, positive)


def recall(rows: Rows, averages: Sequence[str] = AVERAGES, positive: str | None = None) -> Any:
    """Share of the rows of a label that are given it: `micro`, `macro`, `weighted`, or of one label (`positive`)."""
    return _averaged("recall", rows, averages, positive)


def f1(rows: Rows, averages: Sequence[str] = AVERAGES, positive: str | None = None) -> Any:
    """Harmonic mean of precision and recall: `micro`, `macro`, `weighted`, or of one label (`positive`)."""
    return _averaged("f1", rows, averages, positive)


def _averaged(name: str, rows: Rows, averages: Sequence[str], positive: str | None) -> Any:
    score, names = SCORES[name], rows.pairs[0]
    unknown = sorted(set(averages) - set(AVERAGED))
    if unknown:
        raise ConfigError(f"metric {name}: found the average {unknown[0]!r}; expected some of {', '.join(AVERAGES)}")
    if positive is None:
        return {one: counted(rows, _of_average(one, score)) for one in averages}
    if positive not in names:
        return LeftOut(f"no row has the label {positive!r}, nor is it given to one")
    return counted(rows, _of_class(names.index(positive), score))


def _of_average(name: str, score: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda counts: AVERAGED[name](score, counts)


def _of_class(at: int, score: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda counts: score(counts[..., at : at + 1])[..., 0]


def macro_f1(rows: Rows) -> Sums | None:
    """Mean over classes of F1, every class of the same weight (classes that occur nowhere left out)."""
    return counted(rows, _of_average("macro", f1_of))


def balanced_accuracy(rows: Rows) -> Sums | None:
    """Mean over classes of the share of their rows that is right; classes without rows left out."""
    return counted(rows, lambda counts: _mean_where(recall_of(counts), counts[..., 2, :] > 0))


def per_class(rows: Rows) -> Mapping[str, Sums | None]:
    """Precision, recall and F1 of each class: `class.LABEL.precision`, `class.LABEL.recall`, `class.LABEL.f1`."""
    return {
        f"class.{name}.{kind}": _one_class(rows, at, score)
        for at, name in enumerate(rows.pairs[0])
        for kind, score in SCORES.items()
    }


def _one_class(rows: Rows, at: int, score: Callable[[np.ndarray], np.ndarray]) -> Sums:
    """The score of one class by its own three counts, so that many classes take little memory."""
    want, got = rows.pairs[1].T
    true, predicted = want == at, got == at
    kinds = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float64)
    return Sums(kinds, lambda sums: score(sums[..., :, None])[..., 0], predicted + 2 * true)


def mcc(rows: Rows) -> Sums | None:
    """Matthews' correlation of predicted and true labels, over any number of classes: 1 is perfect, 0 no better than chance.

    Source: J. Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.
    """
    return counted(rows, _mcc)


def _mcc(counts: np.ndarray) -> np.ndarray:
    hits, predicted, true = _split(counts)
    n = true.sum(-1)
    together = hits.sum(-1) * n - (predicted * true).sum(-1)
    spread = (n**2 - (predicted**2).sum(-1)) * (n**2 - (true**2).sum(-1))
    return np.where(n > 0, share(together, np.sqrt(np.maximum(spread, 0.0))), np.nan)


def cohen_kappa(rows: Rows, weights: str | None = None, order: Sequence[str] | None = None) -> Sums | None:
    """Agreement of predicted and true labels beyond chance (Cohen, 1960); nan where chance alone agrees fully.

    Args:
        weights: `linear` or `quadratic` for labels on a scale, whose near misses count less.
        order: the labels of that scale from low to high. Default: by number where all are numbers.
    """
    names, pairs = rows.pairs
    if weights is None or not names:
        return counted(rows, lambda counts: _kappa(counts[..., 0, :].sum(-1), _agreement(counts)))
    steps = {"linear": 1, "quadratic": 2}
    if weights not in steps:
        raise ConfigError(f"metric cohen_kappa: found weights={weights!r}; expected linear or quadratic")
    places = np.array(_places(names, order), np.float64)
    cost = np.abs(places[:, None] - places) ** steps[weights]
    distinct, codes = by_kind(pairs, len(names))
    kinds = np.zeros((len(distinct), 1 + 2 * len(names)))
    at = np.flatnonzero(distinct[:, 0] >= 0)
    want, got = distinct[at].T
    kinds[at, 0] = cost[want, got]
    kinds[at, 1 + want] = kinds[at, 1 + len(names) + got] = 1.0
    return Sums(kinds, lambda sums: _weighted_kappa(sums, cost), codes)


def _agreement(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, predicted, true = _split(counts)
    return (predicted * true).sum(-1), true.sum(-1)


def _kappa(hits: np.ndarray, by_chance: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    chance, n = by_chance
    return 1 - share((n - hits) * n, n**2 - chance, np.nan)


def _weighted_kappa(sums: np.ndarray, cost: np.ndarray) -> np.ndarray:
    true, predicted = np.split(sums[..., 1:], 2, axis=-1)
    return 1 - share(sums[..., 0] * true.sum(-1), ((true @ cost) * predicted).sum(-1), np.nan)


def _places(names: Sequence[str], order: Sequence[str] | None) -> list[int]:
    """Where each label stands on the scale."""
    try:
        ordered = [str(one) for one in order] if order is not None else sorted(names, key=float)
    except ValueError:
        raise ConfigError(
            "metric cohen_kappa: labels are not all numbers; name them from low to high in order"
        ) from None
    missing = [name for name in names if name not in ordered]
    if missing:
        raise ConfigError(f"metric cohen_kappa: order lacks the label {missing[0]!r}; name every label")
    return [ordered.index(name) for name in names]


def confusion(rows: Rows, most: int = MOST_CONFUSIONS) -> Mapping[str, Sums]:
    """Of the rows of one label, the share given another: `confusion.WANTED -> GIVEN`, those with most rows first.

    Args:
        most: how many of them at most.
    """
    names, pairs = rows.pairs
    matrix = confusion_matrix(rows)
    np.fill_diagonal(matrix, 0)
    ranked = np.argsort(-matrix, axis=None, kind="stable")[:most]
    wrong = [(int(want), int(got)) for want, got in zip(*np.unravel_index(ranked, matrix.shape), strict=True)]
    return {
        f"{names[want]} -> {names[got]}": Sums.mean(pairs[:, 1] == got, pairs[:, 0] == want)
        for want, got in wrong
        if matrix[want, got]
    }


def confusion_matrix(rows: Rows) -> np.ndarray:
    """Rows of each true label (line) given each label (column), shape (classes, classes), in the order of `rows.pairs`."""
    names, pairs = rows.pairs
    want, got = pairs[rows.is_compared].T
    return np.bincount(want * len(names) + got, minlength=len(names) ** 2).reshape(len(names), len(names))


def class_report(rows: Rows) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and rows of each label."""
    matrix = confusion_matrix(rows)
    counts = np.stack([matrix.diagonal(), matrix.sum(0), matrix.sum(1)]).astype(np.float64)
    columns = zip(precision_of(counts), recall_of(counts), f1_of(counts), counts[2], strict=True)
    return {
        name: {"precision": float(precise), "recall": float(found), "f1": float(both), "n": int(n)}
        for name, (precise, found, both, n) in zip(rows.pairs[0], columns, strict=True)
    }
