"""Members' answers to the same rows, and how good a mix of them is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cluster.exceptions import DataError
from trainers.ensembles.combine import LEAST, log_softmax
from trainers.evaluation.result import Prediction


class Score(NamedTuple):
    """How good probabilities are.

    Attributes:
        accuracy: share of rows whose right class is the most probable one.
        loss: mean negative logarithm of the right class's probability, in nats.
    """

    accuracy: float
    loss: float

    def key(self, metric: str) -> tuple[float, float]:
        """Higher is better; what ties in the metric is settled by the other."""
        return (self.accuracy, -self.loss) if metric == "accuracy" else (-self.loss, self.accuracy)


@dataclasses.dataclass(frozen=True, eq=False)
class Votes:
    """What members say of rows.

    Attributes:
        logs: log-probabilities, shape (members, rows, classes).
        classes: the right class of each row, shape (rows,), int64.
        texts: of the rows.
    """

    logs: np.ndarray
    classes: np.ndarray
    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def members(self) -> int:
        """How many."""
        return len(self.logs)

    def take(self, rows: np.ndarray) -> Votes:
        """Some of the rows."""
        return Votes(self.logs[:, rows], self.classes[rows], [self.texts[row] for row in rows])

    def only(self, members: Sequence[int] | np.ndarray) -> Votes:
        """Some of the members."""
        return dataclasses.replace(self, logs=self.logs[np.asarray(members, np.int64)])

    def score(self, probabilities: np.ndarray) -> Score:
        """Of mixed probabilities, shape (rows, classes)."""
        right = probabilities[np.arange(len(self)), self.classes]
        return Score(
            float((probabilities.argmax(-1) == self.classes).mean()), float(-np.log(np.maximum(right, LEAST)).mean())
        )

    @property
    def singles(self) -> list[Score]:
        """Of each member alone."""
        return [self.score(np.exp(one)) for one in self.logs]

    def best_single(self, metric: str) -> int:
        """The best member alone."""
        return max(range(self.members), key=lambda member: self.singles[member].key(metric))

    def right(self) -> np.ndarray:
        """Which rows each member gets right, shape (members, rows), bool."""
        return self.logs.argmax(-1) == self.classes


def votes_of(answers: Sequence[Sequence[Prediction]], member_labels: Sequence[Sequence[str]]) -> Votes:
    """Votes from predictions of the same rows; classes are those of the first member.

    Raises:
        DataError: for rows without a known label, or members with other classes.
    """
    labels = list(member_labels[0])
    logs = []
    for index, (predictions, names) in enumerate(zip(answers, member_labels, strict=True)):
        if set(names) != set(labels):
            other = sorted(set(names) ^ set(labels))
            raise DataError(
                f"member {index + 1} knows other classes than the first one ({', '.join(other[:5])}); expected the same: combine "
                "models that were trained on the same labels"
            )
        place = {label: at for at, label in enumerate(names)}
        given = np.array([one.logits for one in predictions], np.float64)
        logs.append(log_softmax(given)[:, [place[label] for label in labels]])
    index_of = {label: at for at, label in enumerate(labels)}
    unknown = next((one for one in answers[0] if one.reference not in index_of), None)
    if unknown is not None:
        raise DataError(
            f"{unknown.place}: the label {unknown.reference!r} is none of the members' classes; correct the row or remove it"
        )
    classes = np.array([index_of[one.reference or ""] for one in answers[0]], np.int64)
    return Votes(np.stack(logs), classes, [one.prompt or "" for one in answers[0]])
