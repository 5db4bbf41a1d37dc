"""What the training rows say that are most like a row: the reason of many a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from trainers.data.content import normalise
from trainers.evaluation.confidence.rows_of_run import Texts
from trainers.evaluation.errors.badness import Bad
from trainers.evaluation.errors.places import Near
from trainers.evaluation.result import Prediction

SHOWN, LONGEST = 15, 200
NEARLY_THE_SAME, SAME_LETTERS = 0.9, 0.9
"""Cosine of their places, and then share of letters in the same order, from which on two texts are called nearly the same."""
MOST_COMPARED, LONGEST_COMPARED = 2_000, 400
"""Pairs that are compared letter by letter, and letters of each: it takes a millisecond a pair."""
EXPECTED, GIVEN, OTHER = "expected", "given", "other"


def nearest_training_rows(
    bad: Bad, predictions: Sequence[Prediction], near: Near, train: Texts
) -> dict[str, Any] | None:
    """The training rows most like the wrong rows, and which label the nearest one has; the surest mistakes first.

    Args:
        predictions: of the rows of `bad`, in that order.
    """
    if not len(train) or not bad.is_wrong.any():
        return None
    wrong = np.flatnonzero(bad.is_wrong)
    wrong = wrong[np.argsort(-_sureness(predictions, wrong), kind="stable")]
    has_labels = any(label is not None for label in train.labels)
    said = [_says(train.labels[at], predictions[row]) for row, at in zip(wrong, near.first[wrong], strict=True)]
    return {
        "wrong_rows": len(wrong),
        "nearest_label": {kind: said.count(kind) for kind in (EXPECTED, GIVEN, OTHER)} if has_labels else None,
        "similarity_of_wrong": float(np.median(near.closest[wrong])),
        "similarity_of_right": None if bad.is_wrong.all() else float(np.median(near.closest[~bad.is_wrong])),
        "rows": [
            {**_row(predictions[row]), "nearest": _listed(train, near.train[row], near.alike[row])}
            for row in wrong[:SHOWN]
        ],
    }


def _sureness(predictions: Sequence[Prediction], rows: np.ndarray) -> np.ndarray:
    return np.array([predictions[at].probability or 0.0 for at in rows], np.float64)


def _says(label: str | None, prediction: Prediction) -> str:
    if label == prediction.reference:
        return EXPECTED
    return GIVEN if label == prediction.output else OTHER


def _row(one: Prediction) -> dict[str, Any]:
    return {
        "place": one.place,
        "text": (one.prompt or "")[:LONGEST],
        "reference": (one.reference or "")[:LONGEST],
        "output": (one.output or "")[:LONGEST],
        "confidence": one.probability,
    }


def _listed(train: Texts, neighbours: np.ndarray, cosines: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "place": train.places[at],
            "text": train.texts[at][:LONGEST],
            "label": train.labels[at],
            "similarity": float(cosine),
        }
        for at, cosine in zip(neighbours, cosines, strict=True)
    ]


def conflicts(predictions: Sequence[Prediction], near: Near, train: Texts) -> dict[str, Any] | None:
    """Evaluated rows that say nearly what a training row says and have another label; None without labels."""
    texts = {normalise(text): at for at, text in enumerate(train.texts) if train.labels[at] is not None}
    if not texts:
        return None
    found = []
    for number, one in enumerate(predictions):
        text = normalise(one.prompt or "")
        same = texts.get(text)
        other = same if same is not None else int(near.first[number])
        cosine = 1.0 if same is not None else float(near.closest[number])
        label = train.labels[other]
        if label is not None and one.reference not in (None, label) and cosine >= NEARLY_THE_SAME:
            found.append((cosine, number, other, text))
    found.sort(key=lambda entry: -entry[0])
    rows = []
    for _, number, other, text in found[:MOST_COMPARED]:
        theirs = normalise(train.texts[other])[:LONGEST_COMPARED]
        alike = SequenceMatcher(None, text[:LONGEST_COMPARED], theirs, autojunk=False).ratio()
        if alike >= SAME_LETTERS:
            rows.append({**_row(predictions[number]), "nearest": _listed(train, np.array([other]), np.array([alike]))})
    rows.sort(key=lambda row: -row["nearest"][0]["similarity"])
    return {"n": len(rows), "rows": rows[:SHOWN]}


def own_conflicts(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Evaluated rows that ask the same and expect different answers: no model can get all of them right."""
    asked: dict[str, list[Prediction]] = {}
    for one in predictions:
        if one.prompt is not None and one.reference is not None:
            asked.setdefault(normalise(one.prompt), []).append(one)
    split = [group for group in asked.values() if len({one.reference for one in group}) > 1]
    return {
        "n": sum(map(len, split)),
        "rows": [
            {
                "text": (group[0].prompt or "")[:LONGEST],
                "labels": sorted({str(one.reference)[:LONGEST] for one in group}),
                "places": [one.place for one in group][:SHOWN],
            }
            for group in split[:SHOWN]
        ],
    }
