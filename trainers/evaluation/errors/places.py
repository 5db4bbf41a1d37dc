"""Texts as points: near each other where they are alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

LONGEST = 400
"""Characters of a text that count."""
TERMS, DIMENSIONS = 30_000, 96
_CHUNK = 512
_FEWEST = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Places:
    """Points of length 1 of the evaluated rows and of training rows.

    Attributes:
        rows: shape (n, d), float32.
        train: shape (m, d), float32; m may be 0.
    """

    rows: np.ndarray
    train: np.ndarray


def by_characters(texts: Sequence[str], train: Sequence[str], seed: int = 0) -> Places:
    """Runs of 3 and 4 characters weighed by tf-idf, in as many directions as say most (latent semantic analysis)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    every = [text[:LONGEST] for text in (*texts, *train)]
    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 4), max_features=TERMS, sublinear_tf=True, dtype=np.float32
    )
    try:
        weighed: Any = vectorizer.fit_transform(every)
    except ValueError:  # nothing but white space
        weighed = None
    if weighed is None or min(weighed.shape) < _FEWEST:
        return Places(np.zeros((len(texts), 1), np.float32), np.zeros((len(train), 1), np.float32))
    number = min(DIMENSIONS, min(weighed.shape) - 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # of texts that are all the same
        found = TruncatedSVD(number, n_iter=3, random_state=seed).fit_transform(weighed)
    return of_features(found, len(texts))


def of_features(features: np.ndarray, rows: int) -> Places:
    """The points of length 1 in the directions of some features, those of the evaluated rows first."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    points = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return Places(points[:rows], points[rows:])


@dataclasses.dataclass(frozen=True, eq=False)
class Near:
    """The training rows most like each evaluated row, nearest first.

    Attributes:
        train: their numbers, shape (n, k); k is 0 where there are no training rows.
        alike: cosines, shape (n, k).
    """

    train: np.ndarray
    alike: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """The nearest of each, shape (n,)."""
        return self.train[:, 0]

    @property
    def closest(self) -> np.ndarray:
        """How alike that one is, shape (n,)."""
        return self.alike[:, 0]


def nearest(asked: np.ndarray, among: np.ndarray, number: int) -> Near:
    """The points nearest to each; of equally near ones the first."""
    number = min(number, len(among))
    found, cosines = np.empty((len(asked), number), np.int64), np.empty((len(asked), number), np.float32)
    for start in range(0, len(asked), _CHUNK):
        alike = asked[start : start + _CHUNK] @ among.T
        each = np.arange(len(alike))
        for at in range(number):
            best = alike.argmax(axis=1)  # for so few, passes over all are quicker than a partial sort
            found[start + each, at], cosines[start + each, at] = best, alike[each, best]
            alike[each, best] = -np.inf
    return Near(found, cosines)
