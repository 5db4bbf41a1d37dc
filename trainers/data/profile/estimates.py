"""What is estimated from a sample of rows: topics, labels that look wrong, what more rows would bring."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.data.features import term_counts, tfidf
from trainers.data.profile.counts import words_of
from trainers.data.stages.label_errors import NOTHING, confident, out_of_fold

TOPICS = 12
FEATURES = 20_000
STEPS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
FEWEST_ROWS = 40
FOLDS = 5


@dataclasses.dataclass(frozen=True)
class Topic:
    """A group of rows with similar words."""

    share: float
    terms: list[str]


def topics(texts: Sequence[str], seed: int = 0) -> list[Topic]:
    """Groups of a sample by k-means over TF-IDF, the largest first."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) < FEWEST_ROWS:
        return []
    vectorizer = TfidfVectorizer(max_features=FEATURES, stop_words="english", sublinear_tf=True, min_df=2)
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError:  # no word occurs twice
        return []
    number = min(TOPICS, max(len(texts) // 50, 2))
    model = MiniBatchKMeans(number, random_state=seed, n_init=3).fit(features)
    names = vectorizer.get_feature_names_out()
    sizes = np.bincount(model.labels_, minlength=number)
    best = np.argsort(-model.cluster_centers_, axis=1)[:, :6]
    found = [
        Topic(size / len(texts), [str(names[term]) for term in terms]) for size, terms in zip(sizes, best, strict=True)
    ]
    return sorted(found, key=lambda topic: -topic.share)


@dataclasses.dataclass(frozen=True)
class LearningCurve:
    """How a simple model gets better with rows, and what a power law through it says of more.

    Attributes:
        measure: what is measured.
        rows: sizes it was measured at.
        scores: what was measured there.
        at_double: the power law's estimate for twice the rows; None where none could be fitted.
    """

    measure: str
    rows: list[int]
    scores: list[float]
    at_double: float | None


def classifier_curve(texts: Sequence[str], labels: Sequence[str], seed: int = 0) -> LearningCurve | None:
    """Accuracy of logistic regression over TF-IDF on a held-out fifth, by training rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    order = np.random.default_rng(seed).permutation(len(texts))
    held = len(texts) // 5
    test, train = order[:held], order[held:]
    if held < FEWEST_ROWS // 4 or len(set(labels)) < 2:
        return None
    rows, scores = [], []
    for step in STEPS:
        part = train[: int(len(train) * step)]
        if len({labels[index] for index in part}) < 2:
            continue
        model = make_pipeline(
            TfidfVectorizer(max_features=FEATURES, sublinear_tf=True), LogisticRegression(C=10, max_iter=300)
        )
        model.fit([texts[index] for index in part], [labels[index] for index in part])
        rows.append(len(part))
        scores.append(float(model.score([texts[index] for index in test], [labels[index] for index in test])))
    return LearningCurve(
        "accuracy of a linear model on held-out rows of the sample", rows, scores, _extrapolate(rows, scores)
    )


def coverage_curve(texts: Sequence[str], seed: int = 0) -> LearningCurve | None:
    """Share of the word pairs of held-out rows that occur in the training rows, by training rows."""
    order = np.random.default_rng(seed).permutation(len(texts))
    held = len(texts) // 5
    if held < FEWEST_ROWS // 4:
        return None
    wanted = [pair for index in order[:held] for pair in _pairs(texts[index])]
    train = order[held:]
    seen: set[tuple[str, str]] = set()
    rows, scores, done = [], [], 0
    for step in STEPS:
        upto = int(len(train) * step)
        seen.update(pair for index in train[done:upto] for pair in _pairs(texts[index]))
        done = upto
        rows.append(upto)
        scores.append(sum(pair in seen for pair in wanted) / max(len(wanted), 1))
    return LearningCurve(
        "share of held-out word pairs that occur in the training rows", rows, scores, _extrapolate(rows, scores)
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    words = words_of(text)
    return list(itertools.pairwise(words))


def _extrapolate(rows: Sequence[int], scores: Sequence[float]) -> float | None:
    """`1 - score = a * rows ** -b + c`, with c = 0 where the fit would want it below (Hestness et al. 2017, arXiv 1712.00409)."""
    from scipy.optimize import curve_fit

    errors = 1.0 - np.asarray(scores)
    if len(rows) < 4 or errors.min() <= 0:
        return None
    try:
        (a, b, c), _ = curve_fit(
            lambda n, a, b, c: a * n**-b + c,
            np.asarray(rows, float),
            errors,
            p0=(1.0, 0.3, 0.0),
            bounds=([0, 0, 0], [100, 3, 1]),
        )
    except RuntimeError:  # no power law in it
        return None
    return float(np.clip(1.0 - (a * (2 * rows[-1]) ** -b + c), 0.0, 1.0))


def doubtful_labels(texts: Sequence[str], labels: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """Rows whose label the stage `label_errors` would think wrong, the surest first.

    Returns:
        `index` of the row, its `label`, the `suggested` one, and the `margin` in probability between the two.
    """
    counts = collections.Counter(labels)
    usable = [index for index, label in enumerate(labels) if counts[label] >= FOLDS]
    classes, given = np.unique([labels[index] for index in usable], return_inverse=True)
    if len(classes) < 2 or len(usable) < FEWEST_ROWS:
        return []
    features, _ = tfidf(term_counts([texts[index] for index in usable]))
    fold = np.random.default_rng(seed).permutation(len(usable)) % FOLDS
    suggested, margin = confident(out_of_fold(features, given, fold, seed), given)
    doubtful = np.flatnonzero((suggested != NOTHING) & (suggested != given) & (margin > 0))
    return [
        {
            "index": usable[row],
            "label": str(classes[given[row]]),
            "suggested": str(classes[suggested[row]]),
            "margin": float(margin[row]),
        }
        for row in doubtful[np.argsort(-margin[doubtful], kind="stable")]
    ]
