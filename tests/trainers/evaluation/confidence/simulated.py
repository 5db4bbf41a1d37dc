"""Models that are simulated: rows whose right class is drawn from probabilities that are known."""

import numpy as np

from trainers.evaluation.confidence.calibrators import log_softmax, softmax
from trainers.evaluation.confidence.scores import Scores
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows


def drawn(n: int, classes: int = 4, scale: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True log-probabilities, and a class drawn from each row of them."""
    rng = np.random.default_rng(seed)
    logits = log_softmax(rng.normal(size=(n, classes)) * scale)
    right = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, right


def scores(logits: np.ndarray, classes: np.ndarray, prefix: str = "row") -> Scores:
    """Rows of a classifier with labels 0, 1, ..."""
    labels = tuple(str(at) for at in range(logits.shape[1]))
    keys = np.array([f"{prefix}{at:06d}" for at in range(len(classes))])
    return Scores(logits, classes, labels, keys, np.arange(len(classes)))


def rows(logits: np.ndarray, classes: np.ndarray, prefix: str = "row") -> Rows:
    """The same as predictions."""
    labels = [f"label {at}" for at in range(logits.shape[1])]
    found = [
        Prediction(
            f"{prefix}:{at}",
            labels[right],
            labels[int(row.argmax())],
            prompt=f"{prefix} {at}",
            logits=row.tolist(),
            probability=float(softmax(row[None]).max()),
        )
        for at, (row, right) in enumerate(zip(logits, classes, strict=True))
    ]
    return Rows(found, labels)
