"""A model of the study: the score that any setting would probably have, learnt from the trials."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from cluster.exceptions import DataError
from tuning.report.facts import Sample
from tuning.report.settings import Settings

LEAST_TRIALS = 5
MOST_TRIALS_OF_GP = 400
"""A Gaussian process takes time that grows with the cube of the trials."""
FOLDS = 5
TREES = 100
Function = Callable[[np.ndarray], np.ndarray]
"""Places, shape (n, d), to scores, shape (n,)."""


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """Predicts scores.

    Attributes:
        settings: what its columns mean.
        model: a fitted scikit-learn regressor on `settings.features`.
        kind: `random forest` or `gaussian process`.
        r2: share of the scores' variance that it explains on trials it was not fitted to; below 0 it knows nothing.
    """

    settings: Settings
    model: Any
    kind: str
    r2: float

    def __call__(self, units: np.ndarray) -> np.ndarray:
        """Predicted scores at some places, shape (n, d) to (n,)."""
        return np.asarray(self.model.predict(self.settings.features(np.asarray(units, float))), float)

    @property
    def trust(self) -> str:
        """What to think of what it says, in words."""
        told = f"The {self.kind} explains {max(self.r2, 0.0):.0%} of the scores of trials it has not seen"
        if self.r2 >= 0.6:
            return f"{told}: its word is good."
        return f"{told}: {'read it as a hint' if self.r2 >= 0.2 else 'do not rely on it; more trials are needed'}."


def fit_surrogate(sample: Sample, seed: int = 0) -> Surrogate:
    """The better of a random forest and a Gaussian process, by cross-validation.

    Raises:
        DataError: for fewer than `LEAST_TRIALS` trials, or no setting that differs between them.
    """
    check_sample(sample)
    features = sample.settings.features(sample.units)
    makers: dict[str, Callable[[], Any]] = {"random forest": lambda: forest(seed)}
    if sample.n <= MOST_TRIALS_OF_GP:
        makers["gaussian process"] = lambda: gaussian_process(features.shape[1], seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # length scales at their bounds: cross-validation judges the outcome
        found = {kind: cross_validated_r2(make, features, sample.scores, seed) for kind, make in makers.items()}
        kind = max(found, key=found.__getitem__)
        return Surrogate(sample.settings, makers[kind]().fit(features, sample.scores), kind, found[kind])


def check_sample(sample: Sample) -> None:
    """Refuse what nothing can be learnt from.

    Raises:
        DataError: saying what is missing.
    """
    if sample.n < LEAST_TRIALS:
        raise DataError(f"found {sample.n} trials with a score; expected at least {LEAST_TRIALS} to learn from")
    if not sample.keys or np.ptp(sample.scores) == 0:
        raise DataError("all trials have the same settings or the same score; there is nothing to explain")


def forest(seed: int) -> Any:
    """A random forest for few rows."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(TREES, min_samples_leaf=2, max_features=0.8, random_state=seed, n_jobs=1)


def gaussian_process(num_features: int, seed: int) -> Any:
    """A Gaussian process with one length scale for each column and noise of its own."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    shape = Matern(np.ones(num_features), (0.05, 50.0), nu=2.5)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * shape + WhiteKernel(0.1, (1e-6, 1e1))
    return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=seed)


def cross_validated_r2(make: Callable[[], Any], features: np.ndarray, scores: np.ndarray, seed: int) -> float:
    """Share of variance explained on held-out trials."""
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(min(FOLDS, len(scores)), shuffle=True, random_state=seed)
    return float(r2_score(scores, cross_val_predict(make(), features, scores, cv=folds)))
