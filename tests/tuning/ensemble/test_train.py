"""Members made from one run."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.config.ensemble import EnsembleConfig
from trainers.evaluation.result import Prediction
from tuning.ensemble.train import samme


def answers(*right: bool) -> list[Prediction]:
    return [Prediction(f"a:{index}", "x", "x" if one else "y") for index, one in enumerate(right)]


def test_samme_by_hand() -> None:
    """Of four rows one is wrong; among three classes the vote is log(3) + log(2), and that row weighs 6 times as much."""
    vote, weights = samme(answers(True, True, True, False), np.ones(4), 3)
    assert vote == pytest.approx(np.log(3) + np.log(2))
    assert weights == pytest.approx(np.array([1, 1, 1, 6]) / 2.25)


def test_a_member_no_better_than_chance_ends_boosting() -> None:
    vote, _ = samme(answers(True, False, False), np.ones(3), 3)
    assert vote is None


def test_a_member_that_is_always_right_leaves_nothing_to_learn() -> None:
    vote, weights = samme(answers(True, True), np.ones(2), 3)
    assert vote is not None and not weights.any()


def test_boosting_takes_no_other_rule() -> None:
    with pytest.raises(ValueError, match="boosting weighs votes by its own weights"):
        EnsembleConfig.model_validate({"train": {"kind": "boosting"}, "combine": {"kind": "greedy"}})
