"""What an evaluation says of its errors: the section `errors` of `EvaluationResult.sections`, as plain values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from cluster.config import EvaluateConfig
from cluster.config.confidence import ErrorsConfig
from cluster.exceptions import DataError
from trainers.evaluation.confidence.rows_of_run import Texts, sampled
from trainers.evaluation.errors.badness import Bad, badness_of
from trainers.evaluation.errors.columns import columns_of
from trainers.evaluation.errors.confusions import confusions, doubtful_labels
from trainers.evaluation.errors.neighbours import conflicts, nearest_training_rows, own_conflicts
from trainers.evaluation.errors.places import Near, Places, by_characters, nearest, of_features
from trainers.evaluation.errors.remedies import remedy
from trainers.evaluation.errors.slices import Slice, find_slices
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows
from trainers.folder import ModelFolder

logger = logging.getLogger(__name__)

MOST_ROWS = 20_000
"""Rows that are looked into; of more a sample."""
EXAMPLES, NEIGHBOURS, LONGEST = 5, 3, 200
NO_TRAINING_ROWS = Texts([], [], [], 0)


def report(
    rows: Rows,
    *,
    train: Texts | None = None,
    features: np.ndarray | None = None,
    config: ErrorsConfig | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """The section `errors`; empty where there is nothing wrong, or nothing to tell right from wrong by.

    Args:
        train: a sample of the training rows.
        features: what places texts, shape (rows looked into + training rows, d); by default their characters do.
        confidence: of the intervals.
    """
    config, train = config or ErrorsConfig(), train or NO_TRAINING_ROWS
    rows = drawn(rows, seed)
    bad = badness_of(rows)
    if bad is None:
        return {}
    predictions = [rows.predictions[at] for at in bad.index]
    texts = [one.prompt or "" for one in predictions]
    places = by_characters(texts, train.texts, seed) if features is None else _of_features(features, rows, bad)
    near = nearest(places.rows, places.train, NEIGHBOURS)
    columns = columns_of(predictions, texts, train.texts, train.labels, config.min_rows)
    found = find_slices(
        bad, texts, columns, places, least=config.min_rows, most=config.max_slices, level=confidence, seed=seed
    )
    every = np.ones(len(bad), bool)
    return {
        "n": len(bad),
        "measure": bad.measure,
        "score": bad.mean(),
        "interval": list(bad.interval(every, confidence)),
        "wrong": int(bad.is_wrong.sum()),
        "tried": found.tried,
        "slices": [_slice(one, bad, predictions, near, train) for one in found.slices],
        "confusions": confusions(rows, confidence),
        "doubtful_labels": doubtful_labels(rows),
        "neighbours": nearest_training_rows(bad, predictions, near, train),
        "conflicts": conflicts(predictions, near, train),
        "own_conflicts": own_conflicts(predictions),
        "train": {"rows": train.total, "looked_at": len(train)} if len(train) else None,
    }


def drawn(rows: Rows, seed: int = 0) -> Rows:
    """The rows that are looked into: all, or a sample of `MOST_ROWS`."""
    if len(rows) <= MOST_ROWS:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS]))


def _of_features(features: np.ndarray, rows: Rows, bad: Bad) -> Places:
    places = of_features(features, len(rows))
    return Places(places.rows[bad.index], places.train)


def _slice(one: Slice, bad: Bad, predictions: Sequence[Prediction], near: Near, train: Texts) -> dict[str, Any]:
    candidate = one.candidate
    wrong = np.flatnonzero(candidate.members & bad.is_wrong)
    worst = wrong[np.argsort(-bad.values[wrong], kind="stable")][:EXAMPLES]
    return {
        "name": candidate.name,
        "found_by": candidate.found_by,
        "n": one.rows,
        "measured_on": one.measured_on,
        "score": one.score,
        "interval": list(one.interval),
        "rest": one.rest,
        "p_value": one.p_value,
        "adjusted_p_value": one.adjusted,
        "helps": remedy(candidate, bad, predictions, near, train),
        "examples": [_example(predictions[at]) for at in worst],
    }


def _example(one: Prediction) -> dict[str, Any]:
    return {
        "place": one.place,
        "text": (one.prompt or "")[:LONGEST],
        "reference": (one.reference or "")[:LONGEST],
        "output": (one.output or "")[:LONGEST],
        "confidence": one.probability,
    }


def error_section(folder: ModelFolder | None, rows: Rows, evaluate: EvaluateConfig) -> dict[str, Any]:
    """What an evaluation says of its errors, with the training rows of the folder's run where these can still be read.

    Ray must be connected where `evaluate.errors.embed` is `model`.
    """
    config = evaluate.errors
    if not config.enabled:
        return {}
    looked_into = drawn(rows)
    if badness_of(looked_into) is None:
        return {}
    train = _training_rows(folder, config.max_train_rows)
    features = None
    if config.embed == "model" and folder is not None:
        from trainers.evaluation.confidence.features import see_texts

        texts = [one.prompt or "" for one in looked_into.predictions]
        features = see_texts(folder, [*texts, *train.texts], evaluate.batch_size).features
    found = report(looked_into, train=train, features=features, config=config, confidence=evaluate.confidence)
    return {"errors": found} if found else {}


def _training_rows(folder: ModelFolder | None, most: int) -> Texts:
    if folder is None or folder.config is None or not most:
        return NO_TRAINING_ROWS
    try:
        return sampled(folder.config, "train", most)
    except DataError as error:
        logger.warning("errors are looked into without the training rows, which cannot be read: %s", error)
        return NO_TRAINING_ROWS


def sentences(section: dict[str, Any], most: int = 3) -> list[str]:
    """The worst slices in a line each, for a terminal."""
    lines = []
    for one in section.get("slices", [])[:most]:
        is_share = section["measure"] == "share wrong"
        score, rest = (f"{one[name]:.1%}" if is_share else f"{one[name]:.3g}" for name in ("score", "rest"))
        lines.append(
            f"{one['n']:,} rows where {one['name']}: {section['measure']} {score}, elsewhere {rest}. {one['helps']}"
        )
    return lines
