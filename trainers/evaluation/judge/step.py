"""The step of an evaluation in which rows are judged: what was noted before is taken from storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from cluster.config import EvaluateConfig, RatingsConfig
from cluster.storage import Storage
from trainers.evaluation.judge.annotate import PROBLEM, annotate
from trainers.evaluation.judge.asking import NONSENSE_PROBLEM
from trainers.evaluation.judge.ratings import annotate_ratings, read_file
from trainers.evaluation.result import Prediction
from trainers.evaluation.store import EvaluationDirectory, with_notes

ANSWERS = "judge"
"""Folder of an evaluation with the answers of judges, from which one that was interrupted goes on."""
Write = Callable[[list[Prediction]], list[dict[str, Any]]]


def judged(
    predictions: Mapping[int, Prediction], evaluate: EvaluateConfig, directory: EvaluationDirectory | None
) -> tuple[dict[int, Prediction], list[str]]:
    """Predictions with the notes of `evaluate.judge` and `evaluate.ratings`, and the keys that these are kept under.

    Args:
        predictions: by rank.
        directory: where notes are kept; None keeps none.

    Raises:
        UserError: for a judge that stopped answering, or ratings that fit no row.
    """
    found, writers = dict(predictions), _writers(evaluate, directory)
    for key, write in writers.items():
        notes = directory.notes(key) if directory is not None else {}
        left = [order for order in found if order not in notes]
        written = write([found[order] for order in left]) if left else []
        fresh = {order: note for order, note in zip(left, written, strict=True) if not _may_change(note)}
        if directory is not None and fresh:
            directory.write_notes(key, fresh)
        found = with_notes(found, notes | dict(zip(left, written, strict=True)))
    return found, list(writers)


def _writers(evaluate: EvaluateConfig, directory: EvaluationDirectory | None) -> dict[str, Write]:
    """Who writes notes, by the key that names them."""
    writers: dict[str, Write] = {}
    judge, ratings = evaluate.judge, evaluate.ratings
    if judge is not None:
        kept: Storage | None = directory.storage.child(ANSWERS) if directory is not None else None
        key = f"judge-{_hash(judge.model_dump(mode='json'))}"
        writers[key] = lambda rows: annotate(rows, judge, kept)
    if ratings is not None:
        writers[f"ratings-{ratings_stamp(ratings)}"] = lambda rows: annotate_ratings(rows, ratings)
    return writers


def ratings_stamp(ratings: RatingsConfig | None) -> str | None:
    """What changes when the ratings do."""
    return None if ratings is None else _hash([ratings.model_dump(mode="json"), read_file(ratings.path)])


def _may_change(note: Mapping[str, Any]) -> bool:
    """Whether asking again may help: the engine failed on this row, which is not the judge's nonsense."""
    problem = note.get(PROBLEM)
    return problem is not None and not problem.startswith(NONSENSE_PROBLEM)


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
