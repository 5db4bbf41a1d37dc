"""The best of several answers."""

from __future__ import annotations

import pytest

from cluster.exceptions import ConfigError
from trainers.ensembles.best_of_n import best_answers, reward_of
from trainers.evaluation.result import Prediction


def by_length(questions, answers):
    return [float(len(answer)) for answer in answers]


def test_the_answer_with_the_highest_reward_is_given_whoever_wrote_it() -> None:
    first = Prediction("a:1", "x", "no", prompt="q", samples=["longest of all"], output_tokens=3)
    second = Prediction("a:1", "x", "longer", prompt="q", output_tokens=2)
    [best] = best_answers([[first, second]], by_length)
    assert best.output == "longest of all" and best.samples == ["no", "longer"]
    assert best.notes == {"reward": 14.0, "reward_mean": pytest.approx(22 / 3)}
    assert best.output_tokens == 5


def test_a_reward_is_found_by_its_import_path() -> None:
    assert reward_of(f"{__name__}:by_length") is by_length


@pytest.mark.parametrize("name", ["no/such/folder", "math:nothing"])
def test_what_is_no_reward_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="reward="):
        reward_of(name)
