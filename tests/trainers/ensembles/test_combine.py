"""How probabilities become one, and how unsure the mix is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainers.ensembles.combine import COMBINERS, LogVote, MajorityVote, Router, SoftVote, log_softmax, logs_of
from trainers.ensembles.uncertainty import uncertainty


def drawn(members: int = 3, rows: int = 40, classes: int = 5) -> np.ndarray:
    return log_softmax(np.random.default_rng(0).normal(size=(members, rows, classes)) * 2)


@pytest.mark.parametrize("vote", [SoftVote, LogVote, MajorityVote])
def test_votes_are_probabilities_and_survive_json(vote: type) -> None:
    logs = drawn()
    made = vote([0.5, 0.3, 0.2])
    mixed = made(logs, [])
    assert mixed.sum(-1) == pytest.approx(1.0)
    again = COMBINERS[made.kind].from_parameters(json.loads(json.dumps(made.parameters())))
    assert again(logs, []) == pytest.approx(mixed)


def test_equal_members_vote_as_one() -> None:
    logs = np.repeat(drawn(1), 4, axis=0)
    for vote in (SoftVote, LogVote):
        assert vote([1, 1, 1, 1])(logs, []) == pytest.approx(np.exp(logs[0]))


def test_a_majority_outvotes_a_sure_member_and_ties_go_to_the_surer_class() -> None:
    sure, unsure = logs_of(np.array([[0.98, 0.01, 0.01]])), logs_of(np.array([[0.3, 0.4, 0.3]]))
    assert MajorityVote([1, 1, 1])(np.stack([sure, unsure, unsure]), []).argmax() == 1
    assert MajorityVote([1, 1])(np.stack([sure, unsure]), []).argmax() == 0


def test_a_router_asks_one_member() -> None:
    logs = drawn(2, 2, 3)
    router = Router([[0.0] * 16, [0.0] * 16], [0.0, 1.0])
    assert router(logs, ["one text", "another"]) == pytest.approx(np.exp(logs[1]))


def test_a_committee_means_its_groups_before_it_combines_them() -> None:
    logs = drawn(4)
    made = COMBINERS["committee"].from_parameters(
        {"groups": [0, 0, 1, 1], "rule": "soft_vote", "inner": {"weights": [0.75, 0.25]}}
    )
    each = np.exp(logs)
    assert made(logs, []) == pytest.approx(0.75 * each[:2].mean(0) + 0.25 * each[2:].mean(0))
    assert made.shares(4) == pytest.approx([0.375, 0.375, 0.125, 0.125])


def test_uncertainty_is_the_sum_of_its_parts_and_agreement_has_no_epistemic_part() -> None:
    logs, shares = drawn(), np.full(3, 1 / 3)
    found = uncertainty(logs, shares, np.zeros(40, np.int64))
    assert found.entropy == pytest.approx(found.aleatoric + found.epistemic)
    assert (found.epistemic >= 0).all() and found.epistemic.max() > 0.1
    same = uncertainty(np.repeat(logs[:1], 3, axis=0), shares, logs[0].argmax(-1))
    assert same.epistemic == pytest.approx(0.0, abs=1e-12)
    assert same.disagreement == pytest.approx(0.0)


def test_sure_members_that_contradict_each_other_are_all_epistemic() -> None:
    logs = logs_of(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    found = uncertainty(logs, np.array([0.5, 0.5]), np.array([0]))
    assert found.epistemic[0] == pytest.approx(np.log(2), abs=1e-6)
    assert found.aleatoric[0] == pytest.approx(0.0, abs=1e-6)
    assert found.disagreement[0] == 0.5
