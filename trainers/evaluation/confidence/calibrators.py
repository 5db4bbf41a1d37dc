"""From a model's scores to probabilities that match how often it is right.

Three calibrators, all fitted on rows that the model neither learnt nor is tested on:

- `temperature` divides all scores by one number (Guo et al. 2017, arXiv 1706.04599);
- `platt` fits a logistic curve to the log-odds of each class (Platt 1999), by scikit-learn's `LogisticRegression`;
- `isotonic` fits a rising staircase to the probability of each class (Zadrozny and Elkan 2002), by scikit-learn.

What is fitted is a handful of numbers, and applying them needs NumPy alone: serving does it for every request.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from cluster.exceptions import DataError

FEWEST_ROWS = 20
FOLDS = 5
_WIDEST = 10.0
"""Temperatures are looked for between e**-10 and e**10."""
_TINIEST = 1e-300
_BINARY = 2


class Calibrator(ABC):
    """Turns scores into probabilities."""

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, logits: np.ndarray, classes: np.ndarray) -> Self:
        """Fit on scores of shape (n, classes) and the right classes, shape (n,)."""

    @abstractmethod
    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities, shape (n, classes), float64; each row sums to 1."""

    def parameters(self) -> dict[str, Any]:
        """What was fitted, ready for JSON; `from_parameters` reads it back."""
        return {
            field.name: value.tolist() if isinstance(value := getattr(self, field.name), np.ndarray) else value
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The calibrator with these parameters."""
        return cls(**{name: np.asarray(value) if _is_array(value) else value for name, value in parameters.items()})


def _is_array(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(one, list) for one in value)


@dataclasses.dataclass(frozen=True, eq=False)
class AsItIs(Calibrator):
    """The softmax of the scores."""

    kind = "none"

    @classmethod
    def fit(cls, logits: np.ndarray, classes: np.ndarray) -> Self:
        return cls()

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)


@dataclasses.dataclass(frozen=True, eq=False)
class Temperature(Calibrator):
    """The softmax of the scores divided by a temperature; above 1 the model was too sure."""

    kind = "temperature"
    temperature: float

    @classmethod
    def fit(cls, logits: np.ndarray, classes: np.ndarray) -> Self:
        """The temperature with the lowest loss, which has one minimum over its inverse."""
        from scipy.optimize import minimize_scalar

        found = minimize_scalar(
            lambda log_inverse: mean_nll(log_softmax(np.exp(log_inverse) * logits), classes),
            bounds=(-_WIDEST, _WIDEST),
            method="bounded",
            options={"xatol": 1e-9},
        )
        return cls(float(np.exp(-found.x)))

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        return softmax(np.asarray(logits, np.float64) / self.temperature)


@dataclasses.dataclass(frozen=True, eq=False)
class Platt(Calibrator):
    """A logistic curve over the log-odds of each class, brought to a sum of 1; of two classes one curve.

    Attributes:
        slope: of each curve, shape (classes,), or (1,) where there are two classes.
        intercept: of the same shape.
    """

    kind = "platt"
    slope: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, logits: np.ndarray, classes: np.ndarray) -> Self:
        """With Platt's targets, which leave room for the rows that were not seen."""
        odds, of = _one_against_rest(logits)
        found = [_logistic_curve(odds[:, at], classes == number) for at, number in enumerate(of)]
        slope, intercept = np.array(found, np.float64).T
        return cls(slope, intercept)

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        odds, _ = _one_against_rest(logits)
        return _together(_expit(odds * self.slope + self.intercept))


@dataclasses.dataclass(frozen=True, eq=False)
class Isotonic(Calibrator):
    """A rising line of pieces over the log-odds of each class, brought to a sum of 1; of two classes one line.

    Attributes:
        thresholds: log-odds at which the pieces of each line begin.
        values: probability there.
        floor: lowest probability: what no row of n showed may still happen once in n + 2.
    """

    kind = "isotonic"
    thresholds: list[list[float]]
    values: list[list[float]]
    floor: float

    @classmethod
    def fit(cls, logits: np.ndarray, classes: np.ndarray) -> Self:
        from sklearn.isotonic import IsotonicRegression

        odds, of = _one_against_rest(logits)
        lines = [IsotonicRegression().fit(odds[:, at], classes == number) for at, number in enumerate(of)]
        return cls(
            [line.X_thresholds_.tolist() for line in lines],
            [line.y_thresholds_.tolist() for line in lines],
            1.0 / (len(classes) + 2),
        )

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        odds, _ = _one_against_rest(logits)
        found = [
            np.interp(column, at, value)  # clips beyond both ends
            for column, at, value in zip(odds.T, self.thresholds, self.values, strict=True)
        ]
        return _together(np.clip(np.stack(found, axis=1), self.floor, 1 - self.floor))


CALIBRATORS: dict[str, type[Calibrator]] = {one.kind: one for one in (AsItIs, Temperature, Platt, Isotonic)}
"""From the simplest to the one with the most to fit."""


def choose(logits: np.ndarray, classes: np.ndarray, method: str = "auto", seed: int = 0) -> tuple[Calibrator, dict]:
    """Fit a calibrator, or the simplest one that does as well as any on rows that it was not fitted on.

    As well means: its loss is above the lowest by no more than one standard error of the difference between the two.

    Args:
        logits: shape (n, classes).
        classes: the right ones, shape (n,).
        method: a key of `CALIBRATORS`, or `auto`.

    Returns:
        The calibrator, fitted on all rows, and the cross-validated loss in nats of each that was tried.

    Raises:
        DataError: for too few rows, or scores that are no numbers.
    """
    if len(classes) < FEWEST_ROWS:
        raise DataError(
            f"{len(classes)} rows are too few to calibrate on; expected at least {FEWEST_ROWS}: name more with "
            "evaluate.calibration.data"
        )
    if not np.isfinite(logits).all():
        raise DataError("the model gives scores that are no numbers, so nothing can be calibrated; look at its weights")
    tried = list(CALIBRATORS) if method == "auto" else [method]
    losses = {kind: cross_validated_nll(CALIBRATORS[kind], logits, classes, seed) for kind in tried}
    best = min(losses.values(), key=np.mean)
    chosen = next(kind for kind in tried if _is_as_good(losses[kind], best))
    return CALIBRATORS[chosen].fit(logits, classes), {kind: float(found.mean()) for kind, found in losses.items()}


def _is_as_good(losses: np.ndarray, best: np.ndarray) -> bool:
    apart = losses - best
    return bool(apart.mean() <= apart.std(ddof=1) / np.sqrt(len(apart)))


def cross_validated_nll(kind: type[Calibrator], logits: np.ndarray, classes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Loss in nats of each row when it is left out of the fit, shape (n,)."""
    fold = np.random.default_rng(seed).permutation(len(classes)) % FOLDS
    losses = np.empty(len(classes))
    for number in range(FOLDS):
        out = fold == number
        fitted = kind.fit(logits[~out], classes[~out])
        losses[out] = nll(fitted(logits[out]), classes[out])
    return losses


def nll(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Loss in nats of each row, shape (n,)."""
    return -np.log(np.maximum(probabilities[np.arange(len(classes)), classes], _TINIEST))


def mean_nll(log_probabilities: np.ndarray, classes: np.ndarray) -> float:
    """Mean loss in nats."""
    return -float(log_probabilities[np.arange(len(classes)), classes].mean())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities, shape (n, classes)."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, shape (n, classes)."""
    return np.exp(log_softmax(logits))


def log_odds(logits: np.ndarray) -> np.ndarray:
    """log p - log (1 - p) of each class, shape (n, classes)."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    parts, rows = np.exp(shifted), np.arange(len(shifted))
    best = shifted.argmax(axis=1)
    rest = parts.sum(axis=1, keepdims=True) - parts
    parts[rows, best] = 0.0  # summed without the largest: a difference would lose it to rounding
    rest[rows, best] = parts.sum(axis=1)
    return shifted - np.log(np.maximum(rest, _TINIEST))


def _one_against_rest(logits: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Log-odds of the classes that need a curve of their own, and which these are."""
    logits = np.asarray(logits, np.float64)
    if logits.shape[1] == _BINARY:
        return logits[:, 1:] - logits[:, :1], [1]
    return log_odds(logits), list(range(logits.shape[1]))


def _together(parts: np.ndarray) -> np.ndarray:
    """Probabilities of each class by itself as those of all classes."""
    if parts.shape[1] == 1:
        return np.concatenate([1 - parts, parts], axis=1)
    return parts / parts.sum(axis=1, keepdims=True)


def _expit(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -values))


def _logistic_curve(odds: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Slope and intercept with the lowest loss against Platt's targets.

    A target of 0.9 is a row that counts 0.9 as positive and 0.1 as negative.
    """
    from sklearn.linear_model import LogisticRegression

    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    target = np.where(positive, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))
    scale = max(float(np.abs(odds).max()), 1.0)  # the solver wants numbers of about 1
    twice = np.concatenate([odds, odds])[:, None] / scale
    sides = np.repeat([1, 0], len(odds))
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(twice, sides, sample_weight=np.concatenate([target, 1 - target]))
    return float(model.coef_[0, 0]) / scale, float(model.intercept_[0])
