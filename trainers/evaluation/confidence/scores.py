"""What a model was sure of and whether it was right: the one form that everything here works on."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np

from trainers.data.content import hash_text, normalise
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

KEY_DIGITS = 16
_SUREST = 1e-9
RIGHT_OR_WRONG = ("wrong", "right")
"""Classes of a causal model's answers."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Rows with a score for each class, and the class that is right.

    A causal model's answer is a row of two classes: the score of `right` is the log-odds of the answer's probability.

    Attributes:
        logits: shape (n, classes), float64.
        classes: index of the right class, shape (n,), int64.
        labels: class names.
        keys: what each row asks, hashed.
        index: which of the rows these are, shape (n,), int64.
    """

    logits: np.ndarray
    classes: np.ndarray
    labels: tuple[str, ...]
    keys: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, indices: np.ndarray) -> Scores:
        """Some of the rows, in that order."""
        return dataclasses.replace(
            self,
            logits=self.logits[indices],
            classes=self.classes[indices],
            keys=self.keys[indices],
            index=self.index[indices],
        )

    @property
    def is_causal(self) -> bool:
        """Whether classes are `wrong` and `right`."""
        return self.labels == RIGHT_OR_WRONG

    @cached_property
    def chosen(self) -> np.ndarray:
        """Class that the model's own scores put first, shape (n,); calibration never changes an answer."""
        return np.ones(len(self), np.int64) if self.is_causal else self.logits.argmax(axis=1)

    @cached_property
    def hits(self) -> np.ndarray:
        """Whether the answer is right, shape (n,), float64."""
        return (self.chosen == self.classes).astype(np.float64)

    def confidence(self, probabilities: np.ndarray) -> np.ndarray:
        """Probability of the answer given, shape (n,), out of those of all classes, shape (n, classes)."""
        return probabilities[np.arange(len(self)), self.chosen]


def scores_of(rows: Rows) -> Scores | None:
    """The rows that have both confidence and reference; None where there are none."""
    classified = scores_of_classes(rows)
    return classified if classified is not None else scores_of_answers(rows)


def scores_of_classes(rows: Rows) -> Scores | None:
    """A classifier's rows whose reference is one of its labels; None where the model gives no scores."""
    if rows.logits is None or not rows.labels:
        return None
    known = np.flatnonzero(rows.label_ids >= 0)
    if not len(known):
        return None
    keys = np.array([content_key(rows.predictions[at]) for at in known])
    return Scores(rows.logits[known].astype(np.float64), rows.label_ids[known], tuple(rows.labels), keys, known)


def scores_of_answers(rows: Rows) -> Scores | None:
    """A causal model's rows with an answer to compare and its probability; None where there are none.

    An answer is right where it equals the reference but for white space around it, as in `exact_match`.
    """
    known = [at for at, one in enumerate(rows.predictions) if one.probability is not None and rows.is_compared[at]]
    if not known:
        return None
    found = [rows.predictions[at] for at in known]
    sure = np.clip([float(one.probability or 0.0) for one in found], _SUREST, 1 - _SUREST)
    right = [int((one.output or "").strip() == (one.reference or "").strip()) for one in found]
    logits = np.stack([np.zeros(len(sure)), np.log(sure) - np.log1p(-sure)], axis=1)
    keys = np.array([content_key(one) for one in found])
    return Scores(logits, np.array(right, np.int64), RIGHT_OR_WRONG, keys, np.array(known, np.int64))


def content_key(prediction: Prediction) -> str:
    """Hash of what a row asks, whatever its label, case and spacing; of its key where the question is not known."""
    asked = normalise(prediction.prompt) if prediction.prompt is not None else prediction.key
    return hash_text(asked).hex()[:KEY_DIGITS]
