"""Texts as points, to tell what rows are about: counts of hashed words, or places given by an encoder."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.data.stages.augment.similarity import SentenceEncoder

__all__ = ["DIMENSIONS", "TERMS_AT_MOST", "encoder", "points", "term_counts", "tfidf"]

DIMENSIONS = 2**16
"""Words and pairs of words are told apart by 16 bits of their hash."""
TERMS_AT_MOST = 256
"""Of a longer text the most frequent terms count, so that no row takes more than 1.3 kB."""


def term_counts(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Of each text how many terms it has, and, one text after the other, the terms and how often each is there."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(n_features=DIMENSIONS, ngram_range=(1, 2), alternate_sign=False, norm=None)
    found = vectorizer.transform(texts)
    terms, times, number = [np.empty(0, np.int32)], [np.empty(0, np.uint8)], []
    for row in range(len(texts)):
        part = slice(found.indptr[row], found.indptr[row + 1])
        kept = np.sort(np.argsort(-found.data[part], kind="stable")[:TERMS_AT_MOST])
        terms.append(found.indices[part][kept].astype(np.int32))
        times.append(np.minimum(found.data[part][kept], 255).astype(np.uint8))
        number.append(len(kept))
    return {"terms": np.concatenate(terms), "times": np.concatenate(times), "number": np.array(number, np.int32)}


def tfidf(facts: dict[str, np.ndarray]) -> Any:
    """Rows of weights of terms, each of length 1, as a sparse matrix; and what weighs the terms of other texts alike."""
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = _matrix(facts)
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts)
    return weigh.transform(counts, copy=False), lambda texts: weigh.transform(_matrix(term_counts(texts)))


def _matrix(facts: dict[str, np.ndarray]) -> Any:
    from scipy.sparse import csr_matrix

    ends = np.concatenate([[0], np.cumsum(facts["number"])])
    shape = (len(facts["number"]), DIMENSIONS)
    return csr_matrix((facts["times"].astype(np.float32), facts["terms"], ends), shape=shape)


@functools.lru_cache(maxsize=2)
def encoder(model: str) -> SentenceEncoder:
    """An encoder, loaded once in each process."""
    return SentenceEncoder(model)


def points(model: str, texts: Sequence[str]) -> np.ndarray:
    """Places of texts by their meaning, of length 1, in half precision."""
    return encoder(model)(texts).astype(np.float16)
