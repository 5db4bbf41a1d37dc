"""How the probabilities of several classifiers become one: pure functions with plain parameters, kept as JSON.

A combiner takes the members' log-probabilities, shape (members, rows, classes), and the rows' texts, and gives
probabilities, shape (rows, classes). Fitting one is the business of `tuning.ensemble`; nothing here looks at references.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

LEAST = 1e-12
"""Probabilities below this count as this, so that no member can veto a class for ever."""
TIE_BREAK = 1e-3
"""How much of a vote is the mean probability: enough to settle ties, too little to overrule a vote."""


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities over the last axis, float64."""
    given = np.asarray(logits, np.float64)
    shifted = given - given.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def logs_of(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities, none of them infinite."""
    return np.log(np.maximum(probabilities, LEAST))


class Combiner(ABC):
    """From members to one answer."""

    kind: ClassVar[str]

    @abstractmethod
    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, shape (rows, classes), of members' log-probabilities, shape (members, rows, classes)."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Ready for JSON."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Combiner:
        """What `parameters` gave; TypeError for anything else."""
        return cls(**parameters)

    def shares(self, members: int) -> np.ndarray:
        """How much each member counts where spread among them is measured, shape (members,), sum 1."""
        return np.full(members, 1 / members)


@dataclass(frozen=True)
class _Weighted(Combiner):
    """Members with weights of at least 0."""

    weights: Sequence[float]

    def shares(self, members: int) -> np.ndarray:
        given = np.asarray(self.weights, np.float64)
        assert given.shape == (members,), f"{len(given)} weights for {members} members"
        return given / given.sum()

    def parameters(self) -> dict[str, Any]:
        return {"weights": [float(weight) for weight in self.weights]}


class SoftVote(_Weighted):
    """The weighted mean of probabilities (linear opinion pool)."""

    kind = "soft_vote"

    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        return np.tensordot(self.shares(len(logs)), np.exp(logs), 1)


class LogVote(_Weighted):
    """The weighted mean of log-probabilities, made to sum to 1 (logarithmic opinion pool)."""

    kind = "log_vote"

    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        return np.exp(log_softmax(np.tensordot(self.shares(len(logs)), np.maximum(logs, np.log(LEAST)), 1)))


class MajorityVote(_Weighted):
    """The weighted share of members whose first choice a class is; ties go to the class with the higher mean probability."""

    kind = "majority_vote"

    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        shares = self.shares(len(logs))
        first = logs.argmax(-1)[..., None] == np.arange(logs.shape[-1])
        votes, means = np.tensordot(shares, first.astype(np.float64), 1), np.tensordot(shares, np.exp(logs), 1)
        return (1 - TIE_BREAK) * votes + TIE_BREAK * means


@dataclass(frozen=True)
class LogisticStack(Combiner):
    """A multinomial logistic regression over all members' log-probabilities (stacked generalisation, Wolpert 1992).

    Attributes:
        coefficients: shape (classes, members * classes).
        intercepts: shape (classes,).
    """

    kind = "logistic_stack"
    coefficients: Sequence[Sequence[float]]
    intercepts: Sequence[float]

    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        scores = stack_features(logs) @ np.asarray(self.coefficients, np.float64).T
        return np.exp(log_softmax(scores + np.asarray(self.intercepts, np.float64)))

    def parameters(self) -> dict[str, Any]:
        rounded = np.asarray(self.coefficients, np.float64).round(8).tolist()
        return {"coefficients": rounded, "intercepts": [float(one) for one in self.intercepts]}


def stack_features(logs: np.ndarray) -> np.ndarray:
    """What a logistic meta-model sees: members' log-probabilities side by side, shape (rows, members * classes)."""
    return np.concatenate(list(np.maximum(logs, np.log(LEAST))), axis=-1)


def candidate_features(logs: np.ndarray) -> np.ndarray:
    """What a boosted meta-model sees of each pair of a row and a class, shape (rows, classes, members + 3).

    Each member's log-probability of the class, their mean, their spread, and how far the mean is from the best class.
    """
    given = np.maximum(logs, np.log(LEAST))
    mean = given.mean(0)
    parts = [*given, mean, given.std(0), mean - mean.max(-1, keepdims=True)]
    return np.stack(parts, axis=-1)


@dataclass(frozen=True)
class BoostedStack(Combiner):
    """Gradient-boosted trees that tell how likely a class is the right one, from what the members say of that class.

    One set of trees serves all classes, so it learns from rows * classes pairs and does not grow with the classes.

    Attributes:
        trees: of each its `feature`, `threshold`, `left`, `right` (node numbers) and `value` (of leaves; others 0); a node
            without children has `left` = -1.
        baseline: log-odds before the first tree.
    """

    kind = "boosted_stack"
    trees: Sequence[Mapping[str, Sequence[float]]]
    baseline: float

    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        features = candidate_features(logs)
        flat = features.reshape(-1, features.shape[-1])
        raw = self.baseline + sum(_tree_values(tree, flat) for tree in self.trees)
        odds = 1 / (1 + np.exp(-np.clip(raw, -30, 30)))
        odds = odds.reshape(features.shape[:2])
        return odds / odds.sum(-1, keepdims=True)

    def parameters(self) -> dict[str, Any]:
        return {"trees": [dict(tree) for tree in self.trees], "baseline": self.baseline}


def _tree_values(tree: Mapping[str, Sequence[float]], rows: np.ndarray) -> np.ndarray:
    """Value of the leaf that each row ends in."""
    left, right = np.asarray(tree["left"], np.int64), np.asarray(tree["right"], np.int64)
    feature, threshold = np.asarray(tree["feature"], np.int64), np.asarray(tree["threshold"], np.float64)
    at = np.zeros(len(rows), np.int64)
    inner = left[at] >= 0
    while inner.any():
        goes_left = rows[np.arange(len(rows)), feature[at]] <= threshold[at]
        at = np.where(inner, np.where(goes_left, left[at], right[at]), at)
        inner = left[at] >= 0
    return np.asarray(tree["value"], np.float64)[at]


@dataclass(frozen=True)
class Router(Combiner):
    """One member answers each row: the one whose kind of text it is.

    Attributes:
        coefficients: of a linear score for each member over `text_features`, shape (members, dimensions).
        intercepts: shape (members,).
    """

    kind = "router"
    coefficients: Sequence[Sequence[float]]
    intercepts: Sequence[float]

    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        return np.exp(logs[self.routes(texts), np.arange(logs.shape[1])])

    def routes(self, texts: Sequence[str]) -> np.ndarray:
        """The member that answers each text, shape (rows,), int64."""
        weights = np.asarray(self.coefficients, np.float64)
        return (text_features(texts, weights.shape[1]) @ weights.T + np.asarray(self.intercepts)).argmax(-1)

    def parameters(self) -> dict[str, Any]:
        rounded = np.asarray(self.coefficients, np.float64).round(6).tolist()
        return {"coefficients": rounded, "intercepts": [float(one) for one in self.intercepts]}


@dataclass(frozen=True)
class Committee(Combiner):
    """Members in groups: each group's mean probability stands for one model, and a rule combines those.

    For models that were trained once for each fold: what a rule learnt from the predictions of the models that had not seen a
    row holds for the mean of all of them.

    Attributes:
        groups: of each member, counted from 0.
        rule: kind of the combiner over the groups.
        inner: its parameters.
    """

    kind = "committee"
    groups: Sequence[int]
    rule: str
    inner: Mapping[str, Any]

    def __call__(self, logs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        return self._over_groups(logs_of(self._shared @ np.exp(logs).reshape(len(logs), -1)), logs.shape, texts)

    def _over_groups(self, logs: np.ndarray, shape: tuple[int, ...], texts: Sequence[str]) -> np.ndarray:
        return COMBINERS[self.rule].from_parameters(self.inner)(logs.reshape(-1, *shape[1:]), texts)

    @property
    def _shared(self) -> np.ndarray:
        """Share of each member in each group, shape (groups, members)."""
        inside = np.asarray(self.groups) == np.arange(max(self.groups) + 1)[:, None]
        return inside / inside.sum(1, keepdims=True)

    def shares(self, members: int) -> np.ndarray:
        of_groups = COMBINERS[self.rule].from_parameters(self.inner).shares(max(self.groups) + 1)
        found: np.ndarray = of_groups @ self._shared
        return found

    def parameters(self) -> dict[str, Any]:
        return {"groups": list(self.groups), "rule": self.rule, "inner": dict(self.inner)}


def text_features(texts: Sequence[str], dimensions: int) -> np.ndarray:
    """Hashed words and pairs of words of each text, of length 1, shape (rows, dimensions)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(n_features=dimensions, ngram_range=(1, 2), norm="l2", alternate_sign=False)
    return np.asarray(hashed.transform(texts).toarray(), np.float64)


COMBINERS: dict[str, type[Combiner]] = {
    one.kind: one for one in (SoftVote, LogVote, MajorityVote, LogisticStack, BoostedStack, Router, Committee)
}
"""Kind in `ensemble.json` -> combiner."""
