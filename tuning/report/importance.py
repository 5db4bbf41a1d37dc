"""Which settings matter: three measures that see different things.

- fANOVA (Hutter et al. 2014), by Optuna: the share of a random forest's variance over the space that a setting explains
  alone.
- Permutation (Breiman 2001), by scikit-learn: how much worse held-out trials are predicted when a setting's values are
  shuffled; it counts a setting's part in interactions as well.
- Shapley effects (Owen 2014, by Goda's estimator in SALib): variance divided fairly among settings, interactions included.

All are shares that sum to 1.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np

from tuning.report.facts import Sample
from tuning.report.sensitivity import shapley_effects
from tuning.report.settings import Settings
from tuning.report.surrogate import FOLDS, Surrogate, check_sample

REPEATS = 10


@dataclasses.dataclass(frozen=True)
class Importance:
    """How much one setting matters.

    Attributes:
        fanova, permutation, shapley: shares of all settings.
        permutation_error: standard deviation over folds and repetitions.
    """

    setting: str
    fanova: float
    permutation: float
    permutation_error: float
    shapley: float

    @property
    def mean(self) -> float:
        """Of the three."""
        return (self.fanova + self.permutation + self.shapley) / 3


def importances(sample: Sample, surrogate: Surrogate, seed: int = 0) -> list[Importance]:
    """Every setting that differs between trials, the most important first.

    Raises:
        DataError: for too few trials.
    """
    check_sample(sample)
    alone = fanova(sample, seed)
    shuffled, error = permutation(sample, surrogate, seed)
    fair = shapley_effects(surrogate, len(sample.keys), seed=seed)
    found = [
        Importance(key, alone[key], float(shuffled[at]), float(error[at]), float(fair[at]))
        for at, key in enumerate(sample.keys)
    ]
    return sorted(found, key=lambda one: -one.mean)


def fanova(sample: Sample, seed: int = 0) -> dict[str, float]:
    """Optuna's fANOVA over the space as it was searched: a range searched by ratio is weighed by ratio."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    choices = sample.settings.choices
    ranges: dict[str, Any] = {
        key: CategoricalDistribution(list(range(len(choices[key])))) if key in choices else FloatDistribution(0.0, 1.0)
        for key in sample.keys
    }
    logged = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        for place, score in zip(sample.units, sample.scores, strict=True):
            given = {key: _in_optuna(sample.settings, key, unit) for key, unit in zip(sample.keys, place, strict=True)}
            study.add_trial(optuna.trial.create_trial(params=given, distributions=ranges, value=float(score)))
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed))
    finally:
        optuna.logging.set_verbosity(logged)
    return {key: float(found.get(key, 0.0)) for key in sample.keys}


def _in_optuna(settings: Settings, key: str, unit: float) -> Any:
    size = len(settings.choices.get(key, []))
    return min(int(unit * size), size - 1) if size else float(unit)


class _OfSettings:
    """A regressor whose columns are settings rather than features, so that a choice is shuffled as a whole."""

    def __init__(self, settings: Settings, model: Any) -> None:
        self.settings, self.model = settings, model

    def fit(self, units: np.ndarray, scores: np.ndarray) -> _OfSettings:
        self.model.fit(self.settings.features(units), scores)
        return self

    def predict(self, units: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(self.settings.features(units)))


def permutation(sample: Sample, surrogate: Surrogate, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rise of the squared error on held-out trials when one setting is shuffled, as shares, and their deviations."""
    from sklearn.base import clone
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    drops = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folds = KFold(min(FOLDS, sample.n // 2), shuffle=True, random_state=seed)
        for train, test in folds.split(sample.units):
            fitted = _OfSettings(sample.settings, clone(surrogate.model)).fit(sample.units[train], sample.scores[train])
            found = permutation_importance(
                fitted,
                sample.units[test],
                sample.scores[test],
                scoring=_minus_squared_error,
                n_repeats=REPEATS,
                random_state=seed,
            )
            drops.append(found.importances)
    drop = np.concatenate(drops, axis=1)
    mean = np.maximum(drop.mean(axis=1), 0.0)
    total = mean.sum() or 1.0
    return mean / total, drop.std(axis=1) / total


def _minus_squared_error(model: _OfSettings, units: np.ndarray, scores: np.ndarray) -> float:
    return -float(np.mean((model.predict(units) - scores) ** 2))
