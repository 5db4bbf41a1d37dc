"""Pareto sets, knees and weighted sums on fronts whose answers are known."""

import numpy as np
import pytest

from cluster.exceptions import ConfigError
from tuning.report.facts import Objective
from tuning.report.objectives import knee, pareto, weighted_sum

QUALITY, COST = Objective("eval_accuracy", True), Objective("train_s", False)


def test_directions_are_known_by_name():
    less = ("eval_loss", "train_s", "tokens", "memory_gib", "energy_j", "eval_perplexity", "s_to_target")
    more = ("eval_accuracy", "eval_exact_match", "eval_macro_f1")
    assert not any(Objective.named(name).maximises for name in less)
    assert all(Objective.named(name).maximises for name in more)


def test_a_pareto_set_keeps_what_nothing_beats():
    points = np.array([[0.9, 10.0], [0.8, 5.0], [0.8, 6.0], [0.7, 1.0], [0.6, 2.0], [np.nan, 0.1]])
    assert pareto(points, [QUALITY, COST]).tolist() == [True, True, False, True, False, False]


def test_equal_points_are_both_in_the_set():
    assert pareto(np.array([[1.0, 1.0], [1.0, 1.0]]), [QUALITY, COST]).tolist() == [True, True]


def test_a_pareto_set_equals_what_optuna_finds():
    import optuna

    points = np.random.default_rng(0).random((60, 3))
    study = optuna.create_study(directions=["maximize", "minimize", "maximize"])
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=point.tolist()))
    objectives = [QUALITY, COST, Objective("eval_f1", True)]
    assert np.flatnonzero(pareto(points, objectives)).tolist() == sorted(one.number for one in study.best_trials)


def test_the_knee_of_a_circle_is_in_its_middle():
    angles = np.linspace(0, np.pi / 2, 31)
    points = np.stack([np.cos(angles), 1 - np.sin(angles)], axis=1)  # both: far from the corner is good
    assert knee(points, [QUALITY, COST]) == 15


def test_the_knee_of_an_elbow_is_its_corner():
    points = np.array([[0.50, 1.0], [0.90, 2.0], [0.92, 6.0], [0.93, 10.0]])
    assert knee(points, [QUALITY, COST]) == 1


def test_the_knee_of_a_sphere_is_in_its_middle():
    spread = np.random.default_rng(1).random((2000, 3)) + 1e-3
    points = np.concatenate([np.eye(3), [[3**-0.5] * 3], spread / np.linalg.norm(spread, axis=1, keepdims=True) * 0.99])
    assert knee(points, [QUALITY, Objective("b", True), Objective("c", True)]) == 3


def test_a_line_and_a_hollow_front_have_no_knee():
    line = np.array([[0.0, 0.0], [0.5, 5.0], [1.0, 10.0]])
    hollow = np.array([[0.0, 0.0], [0.2, 5.0], [1.0, 10.0]])
    assert knee(line, [QUALITY, COST]) is None and knee(hollow, [QUALITY, COST]) is None


def test_a_weighted_sum_ranks_by_its_weights():
    points = np.array([[0.9, 10.0], [0.5, 1.0], [0.8, 4.0]])
    assert weighted_sum(points, [QUALITY, COST], {"eval_accuracy": 1, "train_s": 0}).argmax() == 0
    assert weighted_sum(points, [QUALITY, COST], {"eval_accuracy": 0, "train_s": 1}).argmax() == 1
    even = weighted_sum(points, [QUALITY, COST], {"eval_accuracy": 2, "train_s": 2})
    assert even == pytest.approx([0.5, 0.5, 0.75 / 2 + (6 / 9) / 2])


def test_weights_that_do_not_fit_are_refused():
    for weights in ({"eval_accuracy": 1.0}, {"eval_accuracy": 1, "train_s": -1}, {"eval_accuracy": 0, "train_s": 0}):
        with pytest.raises(ConfigError, match="expected one for each of eval_accuracy, train_s"):
            weighted_sum(np.zeros((2, 2)), [QUALITY, COST], weights)
