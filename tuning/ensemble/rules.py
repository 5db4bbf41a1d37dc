"""Fits combiners on rows that members did not learn from. Each is a function from votes to a combiner.

Figures of a fitted rule on the very rows it was fitted on would flatter it, so `cross_fitted` gives the probabilities that it
has for each row when fitted on the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cluster.config.ensemble import (
    Automatic,
    Greedy,
    RouterRule,
    Stacking,
)
from cluster.config.ensemble import (
    MajorityVote as MajorityRule,
)
from cluster.config.ensemble import (
    SoftVote as SoftRule,
)
from cluster.exceptions import DataError
from trainers.ensembles.combine import (
    BoostedStack,
    Combiner,
    LogisticStack,
    LogVote,
    MajorityVote,
    Router,
    SoftVote,
    candidate_features,
    log_softmax,
    stack_features,
    text_features,
)
from tuning.ensemble.votes import Score, Votes

Fit = Callable[[Votes], Combiner]
STRENGTHS = (1e-3, 1e-2, 1e-1)
"""How freely stacking may leave the plain vote (inverse penalty); the best of them is chosen."""
INNER_FOLDS, MOST_STEPS = 3, 60
"""Of choosing how freely, and of one fit."""
LEAST_ROWS = 10
"""Fewer validation rows say nothing about weights."""


def cross_fitted(fit: Fit, votes: Votes, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Probabilities of each row from a combiner fitted on the other folds, shape (rows, classes).

    Raises:
        DataError: for fewer rows than can be told apart.
    """
    if len(votes) < max(LEAST_ROWS, folds):
        raise DataError(
            f"found {len(votes)} validation rows; expected at least {max(LEAST_ROWS, folds)} to choose weights and members on: "
            "give more (ensemble.validation), or use combine: {kind: soft_vote}, which needs none"
        )
    fold = deal(votes.classes, folds, seed)
    mixed = np.zeros(votes.logs.shape[1:])
    for number in range(folds):
        inside = np.flatnonzero(fold == number)
        held = votes.take(inside)
        mixed[inside] = fit(votes.take(np.flatnonzero(fold != number)))(held.logs, held.texts)
    return mixed


def deal(classes: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each row, shape (rows,): drawn, and of every class about as many in each."""
    drawn = np.random.default_rng(seed).random(len(classes))
    order = np.lexsort((drawn, classes))
    found = np.empty(len(classes), np.int64)
    found[order] = np.arange(len(classes)) % folds
    return found


# -- votes ----------------------------------------------------------------------------------------


def uniform(votes: Votes) -> np.ndarray:
    return np.full(votes.members, 1 / votes.members)


def above_chance(votes: Votes) -> np.ndarray:
    """Weights by how far each member's accuracy is above chance; all alike where none is."""
    gain = np.maximum(np.array([one.accuracy for one in votes.singles]) - 1 / votes.logs.shape[-1], 0.0)
    return gain / gain.sum() if gain.sum() else uniform(votes)


def log_odds(votes: Votes) -> np.ndarray:
    """Weights of independent votes: the log-odds of each member's accuracy (Nitzan and Paroush 1982), at least 0."""
    share = (votes.right().sum(1) + 0.5) / (len(votes) + 1)
    weights = np.maximum(np.log(share / (1 - share)) + np.log(max(votes.logs.shape[-1] - 1, 1)), 0.0)
    return weights / weights.sum() if weights.sum() else uniform(votes)


def lowest_loss(votes: Votes, steps: int = 300) -> np.ndarray:
    """Weights of the mean of probabilities with the lowest loss: a mixture's, found by expectation-maximisation (convex)."""
    right = np.exp(votes.logs[:, np.arange(len(votes)), votes.classes])
    weights = uniform(votes)
    for _ in range(steps):
        shared = weights[:, None] * right
        weights = (shared / np.maximum(shared.sum(0), 1e-300)).mean(1)
    return weights


def lowest_log_loss(votes: Votes) -> np.ndarray:
    """Weights of the mean of log-probabilities with the lowest loss, by L-BFGS over their softmax."""
    from scipy.optimize import minimize

    logs = np.maximum(votes.logs, -30.0)

    def loss(raw: np.ndarray) -> tuple[float, np.ndarray]:
        weights = np.exp(raw - raw.max())
        weights /= weights.sum()
        mixed = np.tensordot(weights, logs, 1)
        mixed -= np.log(np.exp(mixed).sum(-1, keepdims=True))
        rows = np.arange(len(votes))
        slope = (logs[:, rows, votes.classes] - (np.exp(mixed) * logs).sum(-1)).mean(1)
        return float(-mixed[rows, votes.classes].mean()), -weights * (slope - weights @ slope)

    found = minimize(loss, np.zeros(votes.members), jac=True, method="L-BFGS-B").x
    weights = np.exp(found - found.max())
    return weights / weights.sum()


def soft_vote(rule: SoftRule) -> Fit:
    """The weighted mean."""
    in_logs = rule.space == "log_probabilities"
    learned = lowest_log_loss if in_logs else lowest_loss
    weigh = {"uniform": uniform, "score": above_chance, "learned": learned}[rule.weights]
    return lambda votes: (LogVote if in_logs else SoftVote)(weigh(votes).tolist())


def majority_vote(rule: MajorityRule) -> Fit:
    """Whatever most members say."""
    weigh = {"uniform": uniform, "score": log_odds}[rule.weights]
    return lambda votes: MajorityVote(weigh(votes).tolist())


# -- selection ------------------------------------------------------------------------------------


def greedy(rule: Greedy, seed: int = 0) -> Fit:
    """Ensemble selection with replacement, from random halves of the members where there are several bags."""

    def fit(votes: Votes) -> Combiner:
        rng, counts = np.random.default_rng(seed), np.zeros(votes.members)
        for bag in range(rule.bags):
            few = votes.members <= 2 or rule.bags == 1 or bag == 0
            half = (
                np.arange(votes.members) if few else np.sort(rng.permutation(votes.members)[: -(-votes.members // 2)])
            )
            counts[half] += selected(votes.only(half), rule.rounds, rule.metric)
        return SoftVote((counts / counts.sum()).tolist())

    return fit


def selected(votes: Votes, rounds: int, metric: str) -> np.ndarray:
    """How often each member is in the best ensemble that greedy additions came by, as shares, shape (members,)."""
    probabilities = np.exp(votes.logs)
    total = np.zeros(probabilities.shape[1:])
    chosen: list[int] = []
    best, best_size = (-np.inf, -np.inf), 0
    for size in range(1, rounds + 1):
        scores = [votes.score((total + one) / size).key(metric) for one in probabilities]
        member = max(range(votes.members), key=scores.__getitem__)
        total, chosen = total + probabilities[member], [*chosen, member]
        if scores[member] > best:
            best, best_size = scores[member], size
    return np.bincount(chosen[:best_size], minlength=votes.members) / best_size


def forward_order(votes: Votes, metric: str) -> list[int]:
    """Members in the order in which they help a soft vote most, each once."""
    probabilities, total = np.exp(votes.logs), np.zeros(votes.logs.shape[1:])
    left = list(range(votes.members))
    order: list[int] = []
    while left:
        size = len(order) + 1
        member = max(left, key=lambda one: votes.score((total + probabilities[one]) / size).key(metric))
        total, order = total + probabilities[member], [*order, member]
        left.remove(member)
    return order


# -- stacking -------------------------------------------------------------------------------------


def logistic_stack(rule: Stacking, seed: int = 0) -> Fit:
    """Multinomial logistic regression over members' log-probabilities; its strength is chosen by the loss in an inner cross-validation."""

    def fit(votes: Votes) -> Combiner:
        losses = {
            strength: votes.score(cross_fitted(_logistic(strength), votes, INNER_FOLDS, seed)).loss
            for strength in STRENGTHS
        }
        return _logistic(min(losses, key=losses.__getitem__))(votes)

    return fit


def _logistic(strength: float) -> Fit:
    """Regression whose penalty pulls towards the uniform logarithmic vote, not towards nothing: few rows do no harm.

    scikit-learn's has no such prior, so the convex loss is handed to SciPy's L-BFGS.
    """

    def fit(votes: Votes) -> Combiner:
        from scipy.optimize import minimize

        features, number = stack_features(votes.logs), votes.logs.shape[-1]
        prior = np.tile(np.eye(number) / votes.members, votes.members)
        start, is_right = features @ prior.T, np.arange(number) == votes.classes[:, None]

        def loss(raw: np.ndarray) -> tuple[float, np.ndarray]:
            weights, offsets = raw[:-number].reshape(prior.shape), raw[-number:]
            mixed = log_softmax(start + features @ weights.T + offsets)
            slope = (np.exp(mixed) - is_right) / len(votes)
            penalty = 0.5 / (strength * len(votes)) * (raw @ raw)
            sloped = np.concatenate([(slope.T @ features).ravel(), slope.sum(0)])
            return float(penalty - mixed[is_right].mean()), sloped + raw / (strength * len(votes))

        found = minimize(
            loss, np.zeros(prior.size + number), jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS}
        ).x
        return LogisticStack((prior + found[:-number].reshape(prior.shape)).tolist(), found[-number:].tolist())

    return fit


def boosted_stack(rule: Stacking, seed: int = 0) -> Fit:
    """Gradient-boosted trees over pairs of a row and a class, by scikit-learn; kept as plain numbers."""

    def fit(votes: Votes) -> Combiner:
        from sklearn.ensemble import HistGradientBoostingClassifier

        features = candidate_features(votes.logs)
        is_right = np.arange(votes.logs.shape[-1]) == votes.classes[:, None]
        model = HistGradientBoostingClassifier(
            max_iter=60, max_depth=4, learning_rate=0.1, min_samples_leaf=10, early_stopping=False, random_state=seed
        ).fit(features.reshape(-1, features.shape[-1]), is_right.reshape(-1))
        trees = [_tree(one[0].nodes) for one in model._predictors]
        return BoostedStack(trees, float(np.ravel(model._baseline_prediction)[0]))

    return fit


def _tree(nodes: np.ndarray) -> dict[str, list[Any]]:
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(int).tolist(),
        "threshold": np.where(leaf, 0.0, nodes["num_threshold"]).tolist(),
        "left": np.where(leaf, -1, nodes["left"].astype(np.int64)).tolist(),
        "right": np.where(leaf, -1, nodes["right"].astype(np.int64)).tolist(),
        "value": np.where(leaf, nodes["value"], 0.0).tolist(),
    }


# -- routing --------------------------------------------------------------------------------------


def router(rule: RouterRule) -> Fit:
    """Which member a text belongs to, from which member knows the right class best of each validation row."""

    def fit(votes: Votes) -> Combiner:
        losses = -votes.logs[:, np.arange(len(votes)), votes.classes]
        return fit_router(votes.texts, losses, rule)

    return fit


def fit_router(texts: Any, losses: np.ndarray, rule: RouterRule) -> Router:
    """A router from the loss of each member on each text, shape (members, rows). Texts on which members do not differ teach
    nothing; a member that is never the best gets no texts."""
    features, members = text_features(texts, rule.dimensions), len(losses)
    best, spread = losses.argmin(0), losses.max(0) - losses.min(0)
    told = spread > 0
    known = np.unique(best[told])
    coefficients, intercepts = np.zeros((members, rule.dimensions)), np.full(members, -1e9)
    if len(known) < 2:  # one member is the best at everything
        intercepts[known[0] if len(known) else int(losses.mean(1).argmin())] = 0.0
    elif rule.by == "classifier":
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=300).fit(features[told], best[told], sample_weight=spread[told])
        found, offset = model.coef_, model.intercept_
        if len(known) == 2:
            found, offset = np.concatenate([-found, found]) / 2, np.concatenate([-offset, offset]) / 2
        coefficients[known], intercepts[known] = found, offset
    else:  # the nearest centre: least |x - c|^2 is most 2 x c - |c|^2
        for member in known:
            centre = np.average(features[told & (best == member)], axis=0, weights=spread[told & (best == member)])
            coefficients[member], intercepts[member] = 2 * centre, -(centre @ centre)
    return Router(coefficients.tolist(), intercepts.tolist())


# -- the rules by name ----------------------------------------------------------------------------


def _stacking(rule: Stacking) -> Fit:
    return boosted_stack(rule) if rule.model == "boosted" else logistic_stack(rule)


FITS: dict[str, Callable[[Any], Fit]] = {
    "soft_vote": soft_vote,
    "majority_vote": majority_vote,
    "greedy": greedy,
    "stacking": _stacking,
    "router": router,
    "mc_dropout": lambda rule: soft_vote(SoftRule()),
}
"""Kind of `ensemble.combine` -> what fits it, for rules that combine classifiers' probabilities."""

AUTOMATIC: dict[str, Any] = {
    "soft_vote": SoftRule(),
    "log_vote": SoftRule(space="log_probabilities"),
    "soft_vote, weights by score": SoftRule(weights="score"),
    "soft_vote, learned weights": SoftRule(weights="learned"),
    "greedy, loss": Greedy(),
    "greedy, accuracy": Greedy(metric="accuracy"),
    "logistic stacking": Stacking(),
}
"""What `auto` tries; the first of equals is taken."""


def try_all(rule: Automatic, votes: Votes, folds: int = 5) -> tuple[str, dict[str, Score]]:
    """The rule that does best on rows it was not fitted on, and the score of each."""
    scores = {
        name: votes.score(cross_fitted(FITS[one.kind](one), votes, folds))
        for name, one in AUTOMATIC.items()
        if one.kind != "stacking" or len(votes) >= 5 * votes.logs.shape[-1]
    }
    return max(scores, key=lambda name: scores[name].key(rule.metric)), scores
