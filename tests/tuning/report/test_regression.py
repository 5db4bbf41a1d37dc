"""Regression on settings gives back the plane, the interaction and the peak that were planted."""

import numpy as np
import pytest

from cluster.exceptions import DataError
from tests.tuning.report.studies import planted, study_of
from tuning.report.facts import sample_of
from tuning.report.regression import regressions


def plane(learning_rate, weight_decay, optimizer, **rest):
    return 0.5 + 0.3 * learning_rate - 0.1 * weight_decay + 0.05 * (optimizer > 0.5)


def test_a_plane_is_found_with_intervals_that_hold_it():
    best = regressions(sample_of(study_of(plane, 80)))[0]
    effects = {term.name: term for term in best.terms}
    wanted = {"train.learning_rate": 0.3, "train.weight_decay": -0.1, "train.optimizer = sgd": 0.05}
    assert best.form == "plane" and best.r2 > 0.95
    for name, effect in wanted.items():
        assert effects[name].low < effect < effects[name].high and effects[name].is_sure
    assert not effects["train.num_train_epochs"].is_sure


def test_intervals_of_a_setting_without_effect_hold_zero_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr("tuning.report.regression.holm", lambda p_values: p_values)  # slow, and not what is tested
    held = 0
    for seed in range(100):
        fit = regressions(sample_of(study_of(plane, 40, seed=seed)))
        term = next(t for f in fit if f.form == "plane" for t in f.terms if t.name == "train.num_train_epochs")
        held += term.low < 0 < term.high
    assert 88 <= held <= 100


def test_an_interaction_is_found_and_chosen():
    def score(learning_rate, weight_decay, **rest):
        return 0.5 + 0.4 * (learning_rate - 0.5) * (weight_decay - 0.5)

    best = regressions(sample_of(study_of(score, 80)))[0]
    assert best.form == "interactions"
    assert best.terms[0].name == "train.learning_rate x train.weight_decay"
    assert best.terms[0].effect == pytest.approx(0.4, abs=0.05)


def test_the_optimum_of_a_planted_peak_is_found():
    study = study_of(planted, 80)
    best = regressions(sample_of(study))[0]
    assert best.form == "squares"
    assert study.settings.unit("train.learning_rate", best.optimum["train.learning_rate"]) == pytest.approx(
        0.7, abs=0.06
    )
    assert best.optimum["train.optimizer"] == "adamw"
    assert best.low < 0.9 < best.high + 0.02 and np.isfinite(best.aicc)


def test_a_loss_has_its_optimum_where_it_is_least():
    study = study_of(lambda **units: -planted(**units), 80, metric="eval_loss", maximises=False)
    best = regressions(sample_of(study))[0]
    assert study.settings.unit("train.learning_rate", best.optimum["train.learning_rate"]) == pytest.approx(
        0.7, abs=0.06
    )


def test_too_few_trials_are_refused():
    with pytest.raises(DataError, match="found 6 trials with a score; expected at least 8 for a regression"):
        regressions(sample_of(study_of(plane, 6)))
