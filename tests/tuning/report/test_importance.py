"""Importance and sensitivity find what was planted, and agree with figures known in closed form."""

import numpy as np
import pytest

from cluster.config.tune import FloatRange
from cluster.exceptions import DataError
from tests.tuning.report.studies import SPACE, planted, study_of
from tuning.report.facts import sample_of
from tuning.report.importance import importances
from tuning.report.sensitivity import Box, morris, shapley_effects, sobol, sweeps, worst_cases
from tuning.report.surrogate import fit_surrogate

A, B = 7.0, 0.1
PART_1, PART_2 = 0.5 * (1 + B * np.pi**4 / 5) ** 2, A**2 / 8
PART_13 = 8 * B**2 * np.pi**8 / 225
VARIANCE = PART_1 + PART_2 + PART_13


def ishigami(units):
    x = -np.pi + 2 * np.pi * units
    return np.sin(x[:, 0]) + A * np.sin(x[:, 1]) ** 2 + B * x[:, 2] ** 4 * np.sin(x[:, 0])


def test_sobol_equals_the_analytic_indices_of_ishigami():
    found = sobol(ishigami, Box.whole(3), num_points=2048)
    assert found.first == pytest.approx(np.array([PART_1, PART_2, 0.0]) / VARIANCE, abs=0.02)
    assert found.total == pytest.approx(np.array([PART_1 + PART_13, PART_2, PART_13]) / VARIANCE, abs=0.02)
    assert found.pairs[0, 2] == pytest.approx(PART_13 / VARIANCE, abs=0.04)


def test_shapley_effects_of_ishigami_share_the_interaction_equally():
    wanted = np.array([PART_1 + PART_13 / 2, PART_2, PART_13 / 2]) / VARIANCE
    assert shapley_effects(ishigami, 3, num_paths=20_000) == pytest.approx(wanted, abs=0.02)


def test_sobol_of_ishigami_is_found_from_the_trials_of_a_study():
    space = {f"train.x{at}": FloatRange(low=0.0, high=1.0) for at in range(3)}
    study = study_of(lambda x0, x1, x2: ishigami(np.array([[x0, x1, x2]]))[0], 250, space=space, noise=0.0)
    found = sobol(fit_surrogate(sample_of(study)), Box.whole(3))
    assert found.total == pytest.approx(np.array([PART_1 + PART_13, PART_2, PART_13]) / VARIANCE, abs=0.1)


def test_morris_gives_the_slopes_of_a_plane_and_no_spread():
    found = morris(lambda units: units @ [3.0, -1.0, 0.0], Box.whole(3))
    assert found.mean == pytest.approx([3.0, -1.0, 0.0])
    assert found.strength == pytest.approx([3.0, 1.0, 0.0])
    assert found.spread == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)


def test_every_measure_of_importance_finds_the_planted_setting():
    sample = sample_of(study_of(planted))
    found = importances(sample, fit_surrogate(sample))
    assert found[0].setting == "train.learning_rate"
    assert min(found[0].fanova, found[0].permutation, found[0].shapley) > 0.6
    idle = [one for one in found if one.setting in ("train.weight_decay", "train.num_train_epochs")]
    assert max(one.mean for one in idle) < 0.12
    for measure in ("fanova", "permutation", "shapley"):
        assert sum(getattr(one, measure) for one in found) == pytest.approx(1.0, abs=1e-6)


def test_importances_of_noise_are_told_to_be_worthless():
    surrogate = fit_surrogate(sample_of(study_of(lambda **units: 0.5, noise=0.1)))
    assert surrogate.r2 < 0.2 and "do not rely on it" in surrogate.trust


def test_sweeps_and_worst_cases_of_a_known_bowl():
    settings = sample_of(study_of(planted)).settings
    place = np.array([0.7, 0.5, 0.5, 0.25])

    def bowl(units):
        return 0.9 - 0.5 * (units[:, 0] - 0.7) ** 2 - 0.05 * (units[:, 3] > 0.5)

    by_setting = {one.setting: one for one in sweeps(bowl, settings, place)}
    assert by_setting["train.learning_rate"].loss == pytest.approx(0.5 * 0.7**2)
    assert by_setting["train.learning_rate"].slope == pytest.approx(0.0, abs=1e-9)
    assert by_setting["train.optimizer"].scores == pytest.approx([0.9, 0.85])
    for worst in worst_cases(bowl, settings, place, maximises=True):
        assert worst.loss == pytest.approx(0.5 * worst.reach**2, rel=1e-3)
        assert worst.place[3] == 0.25  # choices stay


def test_too_few_trials_are_refused_in_one_sentence():
    with pytest.raises(DataError, match="found 3 trials with a score; expected at least 5"):
        fit_surrogate(sample_of(study_of(planted, 3)))


def test_a_diverged_trial_does_not_drown_the_others():
    study = study_of(planted, 40)
    study.trials[3].outcome.result["eval_accuracy"] = -1e6
    sample = sample_of(study)
    assert sample.fenced == 1 and sample.scores.min() > 0.3
    assert importances(sample, fit_surrogate(sample))[0].setting == "train.learning_rate"


def test_values_and_units_are_inverse():
    settings = sample_of(study_of(planted, 20)).settings
    for unit in (0.01, 0.3, 0.99):
        values = settings.values(np.full(4, unit))
        back = {key: settings.unit(key, value) for key, value in values.items()}
        assert back["train.learning_rate"] == pytest.approx(unit)
        assert settings.value("train.optimizer", back["train.optimizer"]) == values["train.optimizer"]
    assert list(SPACE) == settings.keys
