"""Scores of classes as rankings: areas under curves, and whether the right class is among the first.

Areas agree with scikit-learn (`roc_auc_score` one class against the rest, `average_precision_score`). They need the rows
themselves, so the rank of every score is found once, and a draw of rows only counts them by rank.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.metrics.base import LeftOut
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums, Whole

NO_SCORES = "rows have no scores of classes (logits), which only classifiers give"
Area = Callable[[np.ndarray, np.ndarray], float]


def top_k(rows: Rows, k: int = 5) -> Sums | LeftOut:
    """Share of rows whose label is among the `k` classes of the highest scores; a label that the model lacks never is."""
    if rows.logits is None:
        return LeftOut(NO_SCORES)
    if not k >= 1:
        raise ConfigError(f"metric top_k: found k={k}; expected at least 1")
    ids = rows.label_ids
    own = rows.logits[np.arange(len(rows)), np.maximum(ids, 0)][:, None]
    before = np.arange(rows.logits.shape[1]) < ids[:, None]
    ahead = ((rows.logits > own) | ((rows.logits == own) & before)).sum(1)
    has_label = np.array([one is not None for one in rows.references])
    return Sums.mean(np.where(has_label, (ids >= 0) & (ahead < k), np.nan))


def roc_auc(rows: Rows, average: str = "macro", positive: str | None = None) -> Whole | LeftOut:
    """How often a row of a class is scored above a row of another: 0.5 is chance, 1 never fails.

    Of two classes: that of the second, or of `positive`. Of more: each against the rest, then their mean.

    Args:
        average: `macro` (all classes alike) or `weighted` (by rows).

    Raises:
        DataError: for a reference that is none of the model's labels.
    """
    return _area("roc_auc", rows, average, positive, _roc_area)


def auc_pr(rows: Rows, average: str = "macro", positive: str | None = None) -> Whole | LeftOut:
    """Average precision: the area under the curve of precision over recall, without interpolation.

    Chance is the share of the class's rows. Arguments and errors are those of `roc_auc`.
    """
    return _area("auc_pr", rows, average, positive, _precision_area)


def _area(name: str, rows: Rows, average: str, positive: str | None, area: Area) -> Whole | LeftOut:
    if average not in ("macro", "weighted"):
        raise ConfigError(f"metric {name}: found average={average!r}; expected macro or weighted")
    if rows.logits is None:
        return LeftOut(NO_SCORES)
    ids = _known_ids(name, rows)
    present = np.unique(ids[ids >= 0])
    if len(present) < 2:
        only = f"only {rows.labels[present[0]]!r}" if len(present) else "none"
        return LeftOut(f"rows of at least two labels are needed; found {only}")
    classes, scores = _scores(name, rows, positive)
    ranks = np.stack([np.unique(column, return_inverse=True)[1] for column in scores.T], axis=1)
    return Whole(len(rows), lambda drawn: _mean_area(area, ids[drawn], ranks[drawn], classes, average == "weighted"))


def _known_ids(name: str, rows: Rows) -> np.ndarray:
    ids = rows.label_ids
    for one, at in zip(rows.predictions, ids, strict=True):
        if at < 0 and one.reference is not None:
            labels = ", ".join(map(repr, rows.labels[:5])) + (", ..." if len(rows.labels) > 5 else "")
            raise DataError(
                f"{one.place}: metric {name}: found the label {one.reference!r}, which the model does not know; expected "
                f"one of {labels}; mend or leave out the row"
            )
    return ids


def _scores(name: str, rows: Rows, positive: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Classes to look at and their scores, shape (n, classes looked at)."""
    assert rows.logits is not None
    logits = rows.logits.astype(np.float64)
    if positive is not None and positive not in rows.labels:
        raise ConfigError(f"metric {name}: found positive={positive!r}, which is none of the model's labels")
    if positive is None and len(rows.labels) == 2:
        positive = rows.labels[1]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    if positive is None:
        return np.arange(len(rows.labels)), shares
    at = list(rows.labels).index(positive)
    if len(rows.labels) == 2:  # the difference ranks the same, and does not run into 1
        return np.array([at]), logits[:, [at]] - logits[:, [1 - at]]
    return np.array([at]), shares[:, [at]]


def _mean_area(area: Area, ids: np.ndarray, ranks: np.ndarray, classes: np.ndarray, by_rows: bool) -> float:
    """Over the classes that some of the rows have and some have not; nan where there is none."""
    areas, weights = [], []
    for column, at in enumerate(classes):
        ours = ids == at
        positives = int(ours.sum())
        others = int((ids >= 0).sum()) - positives
        if positives and others:
            size = int(ranks[:, column].max()) + 1
            hits = np.bincount(ranks[ours, column], minlength=size)
            misses = np.bincount(ranks[~ours & (ids >= 0), column], minlength=size)
            areas.append(area(hits, misses))
            weights.append(positives if by_rows else 1)
    return float(np.average(areas, weights=weights)) if areas else float("nan")


def _roc_area(hits: np.ndarray, misses: np.ndarray) -> float:
    """From rows of the class and of others at each rank, lowest first, shape (ranks,)."""
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2)).sum() / (hits.sum() * misses.sum()))


def _precision_area(hits: np.ndarray, misses: np.ndarray) -> float:
    true, wrong = np.cumsum(hits[::-1]), np.cumsum(misses[::-1])
    precise = true / np.maximum(true + wrong, 1)
    return float((hits[::-1] * precise).sum() / hits.sum())
