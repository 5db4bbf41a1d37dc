"""Groups of rows that may go wrong more often: clusters of alike texts, and conditions that a tree finds."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from trainers.evaluation.errors.columns import Column
from trainers.evaluation.errors.places import Places

MOST_CLUSTERS = 60
ROWS_A_CLUSTER = (120, 40)
"""Rows of an average cluster, coarse and fine."""
DESCRIBED_BY = 5
DEPTH = 3
MOST_CONDITIONS = 30


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A group of rows.

    Attributes:
        found_by: `texts` for clusters, `columns` for conditions.
        name: what its rows have in common, readable.
        members: shape (n,), bool.
        train: which training rows are of the same kind, shape (m,), bool; None where that cannot be told of them.
        is_label: the condition is on the right label alone.
    """

    found_by: Literal["texts", "columns"]
    name: str
    members: np.ndarray
    train: np.ndarray | None = None
    is_label: bool = False


def clusters(places: Places, texts: Sequence[str], least: int, seed: int = 0) -> list[Candidate]:
    """Clusters by k-means over evaluated rows, coarse and fine. Which rows are wrong plays no part in it."""
    from sklearn.cluster import MiniBatchKMeans

    n = len(places.rows)
    found: list[Candidate] = []
    words = _words(texts)
    for size in dict.fromkeys(min(max(n // rows, 2), MOST_CLUSTERS) for rows in ROWS_A_CLUSTER):
        if n < 2 * least:
            break
        model = MiniBatchKMeans(size, random_state=seed, n_init=3, batch_size=2048).fit(places.rows)
        of_train = model.predict(places.train) if len(places.train) else None
        for number in range(size):
            members = model.labels_ == number
            if least <= members.sum() < n:
                train = of_train == number if of_train is not None else None
                found.append(Candidate("texts", _described(words, members), members, train))
    return found


def _words(texts: Sequence[str]) -> tuple[np.ndarray, list[str]] | None:
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True, stop_words="english", max_features=20_000, min_df=2)
    try:
        return counter.fit_transform([text[:2000] for text in texts]).tocsr(), counter.get_feature_names_out().tolist()
    except ValueError:  # no word occurs twice
        return None


def _described(words: tuple[np.ndarray, list[str]] | None, members: np.ndarray) -> str:
    """The words that are most typical of the rows: frequent in them, and more so than elsewhere."""
    if words is None:
        return "alike texts"
    counts, names = words
    inside = np.asarray(counts[members].mean(axis=0)).ravel()
    outside = np.asarray(counts[~members].mean(axis=0)).ravel()
    typical = inside * np.log((inside + 1e-3) / (outside + 1e-3))
    best = [at for at in np.argsort(-typical)[:DESCRIBED_BY] if typical[at] > 0]
    return "texts about " + ", ".join(names[at] for at in best) if best else "alike texts"


def conditions(columns: Sequence[Column], values: np.ndarray, least: int, seed: int = 0) -> list[Candidate]:
    """Conditions under which rows are worse, from a tree over all columns and from each column by itself.

    Args:
        columns: what is known of each row.
        values: how bad the rows came out, shape (n,); only rows that conditions are looked for on are not nan.

    Returns:
        At most `MOST_CONDITIONS`, those that look worst first; how they look on these rows flatters them, so they have to be
        measured on others.
    """
    looked_at = ~np.isnan(values)
    if not columns or looked_at.sum() < 2 * least:
        return []
    table = np.stack([column.values for column in columns], axis=1)
    found = _of_tree(columns, table, values, least, seed) + _of_single(columns, table)
    overall = values[looked_at].mean()
    scored: dict[str, tuple[float, Candidate]] = {}
    for candidate in found:
        inside = values[candidate.members & looked_at]
        if len(inside) < max(least // 2, 2):
            continue
        worse = (inside.mean() - overall) * np.sqrt(len(inside))
        if worse > 0:
            scored.setdefault(candidate.name, (float(worse), candidate))
    best = sorted(scored.values(), key=lambda entry: -entry[0])[:MOST_CONDITIONS]
    return [candidate for _, candidate in best]


@dataclasses.dataclass(frozen=True)
class _Bound:
    """One step of a path: above (or at most) a threshold of a column."""

    column: int
    threshold: float
    above: bool


def _of_tree(
    columns: Sequence[Column], table: np.ndarray, values: np.ndarray, least: int, seed: int
) -> list[Candidate]:
    """Every node of a small tree but its root: the leaves, and what they are parts of."""
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=max(least // 2, 2), random_state=seed)
    known = ~np.isnan(values)
    fitted = tree.fit(table[known], values[known]).tree_
    found: list[Candidate] = []
    waiting: list[tuple[int, tuple[_Bound, ...]]] = [(0, ())]
    while waiting:
        node, path = waiting.pop()
        if path:
            found.append(_candidate(columns, table, path))
        if fitted.children_left[node] != fitted.children_right[node]:
            column, threshold = int(fitted.feature[node]), float(fitted.threshold[node])
            waiting.append((int(fitted.children_left[node]), (*path, _Bound(column, threshold, False))))
            waiting.append((int(fitted.children_right[node]), (*path, _Bound(column, threshold, True))))
    return found


def _of_single(columns: Sequence[Column], table: np.ndarray) -> list[Candidate]:
    """Each yes-or-no column by itself, and the upper quarter of each number."""
    found = []
    for at, column in enumerate(columns):
        threshold = 0.5 if column.is_flag else float(np.quantile(column.values, 0.75))
        found.append(_candidate(columns, table, (_Bound(at, threshold, True),)))
    return found


def _candidate(columns: Sequence[Column], table: np.ndarray, path: Sequence[_Bound]) -> Candidate:
    members = np.ones(len(table), bool)
    can_tell = all(columns[bound.column].train is not None for bound in path)
    train: np.ndarray | None = None
    for bound in path:
        values = table[:, bound.column]
        members &= values > bound.threshold if bound.above else values <= bound.threshold
        of_train = columns[bound.column].train
        if can_tell and of_train is not None:
            kept = of_train > bound.threshold if bound.above else of_train <= bound.threshold
            train = kept if train is None else train & kept
    is_label = len(path) == 1 and columns[path[0].column].is_label and path[0].above
    return Candidate("columns", _readable(columns, path), members, train, is_label)


def _readable(columns: Sequence[Column], path: Sequence[_Bound]) -> str:
    """A path in words: bounds on one number become one range, flags become what they say."""
    lows: dict[int, float] = collections.defaultdict(lambda: -np.inf)
    highs: dict[int, float] = collections.defaultdict(lambda: np.inf)
    for bound in path:
        if bound.above:
            lows[bound.column] = max(lows[bound.column], bound.threshold)
        else:
            highs[bound.column] = min(highs[bound.column], bound.threshold)
    order = dict.fromkeys(bound.column for bound in path)
    return " and ".join(columns[at].condition(lows[at], highs[at]) for at in order)
