"""Weights, selection, stacking and routing, fitted on made votes."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.config.ensemble import Automatic, Greedy, MajorityVote, RouterRule, SoftVote, Stacking
from cluster.exceptions import DataError
from trainers.ensembles.combine import Router, candidate_features, log_softmax
from tuning.ensemble.diversity import diversity, pair_measures
from tuning.ensemble.rules import (
    FITS,
    above_chance,
    cross_fitted,
    deal,
    fit_router,
    forward_order,
    lowest_log_loss,
    lowest_loss,
    selected,
    try_all,
)
from tuning.ensemble.votes import Votes


def made(rows: int = 300, classes: int = 6, noises: tuple[float, ...] = (0.8, 1.0, 1.2, 3.0), seed: int = 0) -> Votes:
    """Members that see the right class through noise, part of it their own."""
    rng = np.random.default_rng(seed)
    right = rng.integers(0, classes, rows)
    shared = rng.normal(size=(rows, classes))
    logits = np.stack([shared + rng.normal(size=(rows, classes)) * noise for noise in noises])
    logits[:, np.arange(rows), right] += 3
    return Votes(log_softmax(logits), right, [f"text {index % 7}" for index in range(rows)])


RULES = [
    SoftVote(),
    SoftVote(weights="score"),
    SoftVote(weights="learned"),
    SoftVote(weights="learned", space="log_probabilities"),
    MajorityVote(weights="score"),
    Greedy(rounds=8, bags=3),
    Stacking(),
    Stacking(model="boosted"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(str(value) for value in rule.model_dump().values()))
def test_every_rule_is_better_on_new_rows_than_its_average_member(rule) -> None:
    new = made(seed=1)
    mixed = FITS[rule.kind](rule)(made())(new.logs, new.texts)
    assert mixed.sum(-1) == pytest.approx(1.0)
    assert new.score(mixed).accuracy > np.mean([one.accuracy for one in new.singles])


def test_learned_weights_have_the_lowest_loss_of_all() -> None:
    votes, rng = made(), np.random.default_rng(0)
    best = votes.score(np.tensordot(lowest_loss(votes), np.exp(votes.logs), 1)).loss
    for _ in range(200):
        other = rng.dirichlet(np.ones(votes.members))
        assert best <= votes.score(np.tensordot(other, np.exp(votes.logs), 1)).loss + 1e-6


def test_weights_of_log_probabilities_have_the_lowest_loss_of_all() -> None:
    votes, rng = made(), np.random.default_rng(0)

    def loss(weights: np.ndarray) -> float:
        return votes.score(np.exp(log_softmax(np.tensordot(weights, votes.logs, 1)))).loss

    best = loss(lowest_log_loss(votes))
    assert all(best <= loss(rng.dirichlet(np.ones(votes.members))) + 1e-5 for _ in range(200))


def test_a_member_near_chance_weighs_next_to_nothing() -> None:
    votes = made(noises=(0.8, 50.0), rows=2000)
    assert above_chance(votes)[1] < 0.2
    assert lowest_loss(votes)[1] < 0.05


def test_greedy_selection_is_never_worse_on_its_own_rows_than_the_best_member() -> None:
    votes = made()
    counts = selected(votes, 10, "accuracy")
    assert counts.sum() == pytest.approx(1.0)
    alone = max(one.accuracy for one in votes.singles)
    assert votes.score(np.tensordot(counts, np.exp(votes.logs), 1)).accuracy >= alone


def test_members_join_from_the_best_one_on() -> None:
    votes = made()
    order = forward_order(votes, "loss")
    assert sorted(order) == [0, 1, 2, 3] and order[0] == votes.best_single("loss") and order[-1] == 3


def test_what_is_said_of_a_row_is_never_fitted_on_it() -> None:
    votes, held = made(60), []

    def fit(part: Votes):
        held.append(set(map(tuple, part.logs[0].tolist())))
        return FITS["soft_vote"](SoftVote())(part)

    cross_fitted(fit, votes)
    assert len(held) == 5 and all(len(part) == 48 for part in held)
    assert set.union(*held) == set(map(tuple, votes.logs[0].tolist()))


def test_folds_hold_the_classes_in_equal_shares() -> None:
    fold = deal(np.repeat([0, 1], [50, 25]), 5, seed=0)
    assert np.bincount(fold[:50]).tolist() == [10] * 5 and np.bincount(fold[50:]).tolist() == [5] * 5


def test_too_few_rows_choose_nothing() -> None:
    with pytest.raises(DataError, match="found 4 validation rows"):
        cross_fitted(FITS["soft_vote"](SoftVote()), made(4))


def test_the_best_rule_is_found_by_cross_validation() -> None:
    name, scores = try_all(Automatic(metric="loss"), made())
    assert scores[name].loss == min(one.loss for one in scores.values())
    assert "logistic stacking" in scores


def test_boosted_trees_kept_as_numbers_give_what_scikit_learn_gives() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    votes, new = made(120), made(50, seed=3)
    features = candidate_features(votes.logs)
    is_right = (np.arange(6) == votes.classes[:, None]).ravel()
    model = HistGradientBoostingClassifier(
        max_iter=60, max_depth=4, learning_rate=0.1, min_samples_leaf=10, early_stopping=False, random_state=0
    ).fit(features.reshape(-1, features.shape[-1]), is_right)
    asked = candidate_features(new.logs)
    expected = model.predict_proba(asked.reshape(-1, asked.shape[-1]))[:, 1].reshape(50, 6)
    found = FITS["stacking"](Stacking(model="boosted"))(votes)(new.logs, new.texts)
    assert found == pytest.approx(expected / expected.sum(-1, keepdims=True), abs=1e-9)


@pytest.mark.parametrize("by", ["centroid", "classifier"])
def test_a_router_sends_each_kind_of_text_to_the_member_that_knows_it(by: str) -> None:
    texts = ["money bank card", "bank card fee", "card money fee"] * 20 + [
        "dog cat horse",
        "cat bird dog",
        "horse bird cat",
    ] * 20
    losses = np.array([[0.1] * 60 + [2.0] * 60, [2.0] * 60 + [0.1] * 60])
    router = fit_router(texts, losses, RouterRule(by=by))
    assert isinstance(router, Router)
    assert router.routes(["a card of the bank", "a cat and a horse"]).tolist() == [0, 1]


def test_a_router_over_a_member_that_is_always_best_sends_all_to_it() -> None:
    router = fit_router(["a b", "c d"], np.array([[1.0, 1.0], [0.1, 0.2]]), RouterRule())
    assert router.routes(["a b", "z"]).tolist() == [1, 1]


def test_diversity_by_hand() -> None:
    """Right together on 4 rows, wrong together on 1, one alone right on 2, the other on 1."""
    one = np.array([1, 1, 1, 1, 0, 1, 1, 0], bool)
    other = np.array([1, 1, 1, 1, 0, 0, 0, 1], bool)
    found = pair_measures(one, other, one.astype(int), other.astype(int))
    assert found["disagreement"] == pytest.approx(3 / 8)
    assert found["double_fault"] == pytest.approx(1 / 8)
    assert found["q_statistic"] == pytest.approx((4 * 1 - 2 * 1) / (4 * 1 + 2 * 1))
    assert found["correlation"] == pytest.approx(np.corrcoef(one, other)[0, 1])


def test_kappa_is_scikit_learns() -> None:
    from sklearn.metrics import cohen_kappa_score

    votes = made()
    given = votes.logs.argmax(-1)
    found = diversity(votes, list("abcd"))
    assert found["pairs"][0]["kappa"] == pytest.approx(cohen_kappa_score(given[0], given[1]))
    assert found["any_right"] >= max(one.accuracy for one in votes.singles)
