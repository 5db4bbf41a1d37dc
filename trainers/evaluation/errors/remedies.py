"""The data that would help a slice, in words that follow from what was found of it."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from trainers.evaluation.confidence.rows_of_run import Texts
from trainers.evaluation.errors.badness import Bad
from trainers.evaluation.errors.candidates import Candidate
from trainers.evaluation.errors.places import Near
from trainers.evaluation.result import Prediction

RARER = 0.7
"""A slice is rare in training where its share there is below so much of its share here."""
OFTEN = 0.25
FAR, MUCH_CUT = 0.8, 0.5


def remedy(candidate: Candidate, bad: Bad, predictions: Sequence[Prediction], near: Near, train: Texts) -> str:
    """What to collect or mend for a slice, most telling first."""
    wrong = np.flatnonzero(candidate.members & bad.is_wrong)
    advice = [
        _cut(wrong, predictions),
        _missing(candidate, train),
        _confused(wrong, predictions),
        _contradicted(wrong, predictions, near, train),
        _far(wrong, bad, near, train),
    ]
    said = [one for one in advice if one]
    return " ".join(said) if said else "Read its rows: nothing in length, labels or training rows explains it."


def _cut(wrong: np.ndarray, predictions: Sequence[Prediction]) -> str:
    cut = sum(predictions[at].was_cut for at in wrong)
    if not len(wrong) or cut < MUCH_CUT * len(wrong):
        return ""
    return f"{cut} of its {len(wrong)} wrong rows were cut to fit: raise data.max_length, or take a model with more positions."


def _missing(candidate: Candidate, train: Texts) -> str:
    """More rows of a kind that training has little of."""
    if candidate.train is None or not len(train):
        return ""
    here, there = float(candidate.members.mean()), float(candidate.train.mean())
    of_all = round(there * train.total)
    what = f"{there:.1%} of the training rows are of this kind (about {of_all:,}), and {here:.1%} of the rows here"
    if there < RARER * here:
        needed = max(round((here - there) / max(1 - here, 0.01) * train.total), 1)
        return f"{what}: about {needed:,} more would bring them to the same share."
    return f"{what}: it is not for want of rows." if there > 0 else ""


def _confused(wrong: np.ndarray, predictions: Sequence[Prediction]) -> str:
    """Rows that tell two labels apart."""
    pairs = collections.Counter((predictions[at].reference, predictions[at].output) for at in wrong)
    if not pairs or len(pairs) == len(wrong) > 1:
        return ""
    (want, got), number = pairs.most_common(1)[0]
    if want is None or got is None or number < max(OFTEN * len(wrong), 2) or max(len(want), len(got)) > 80:
        return ""
    return f"{number} of its {len(wrong)} wrong rows are {want} taken for {got}: rows that tell these two apart would help."


def _contradicted(wrong: np.ndarray, predictions: Sequence[Prediction], near: Near, train: Texts) -> str:
    """Labels of alike training rows that say what the model said."""
    if not len(wrong) or not any(label is not None for label in train.labels):
        return ""
    agree = sum(train.labels[at] == predictions[row].output for row, at in zip(wrong, near.first[wrong], strict=True))
    if agree < 0.5 * len(wrong) or agree < 2:
        return ""
    return (
        f"Of {agree} of {len(wrong)} wrong rows the most similar training row has the label that the model gave: look at these "
        "labels, and settle where the line between the two runs."
    )


def _far(wrong: np.ndarray, bad: Bad, near: Near, train: Texts) -> str:
    """Texts that training has nothing like."""
    if not len(train) or not len(wrong) or bad.is_wrong.all():
        return ""
    alike, usual = float(np.median(near.closest[wrong])), float(np.median(near.closest[~bad.is_wrong]))
    if alike >= FAR * usual:
        return ""
    return (
        f"Its wrong rows are far from any training row (similarity {alike:.2f}, of rows that come right {usual:.2f}): rows "
        "worded like these are missing."
    )
