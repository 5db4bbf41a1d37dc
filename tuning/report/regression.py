"""Regression of the score on the settings, by statsmodels: what each one is worth, with intervals.

Three models are compared by the corrected Akaike criterion (Hurvich and Tsai 1989): a plane, a plane with interactions of
pairs, and with squares of ranges as well. Settings are counted from the middle of their ranges in whole ranges, so that a
coefficient is the change of the score from one end of a range to the other, at the middle of all others.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from typing import Any

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.statistics import holm
from tuning.report.facts import Sample
from tuning.report.settings import Settings

FORMS = ("plane", "interactions", "squares")
ROBUST = "HC3"
"""Standard errors that hold where bad trials scatter more than good ones (MacKinnon and White 1985)."""


@dataclasses.dataclass(frozen=True)
class Term:
    """One coefficient.

    Attributes:
        name: the setting; `setting = value` against the first value of a choice; two joined by ` x `, or `setting squared`.
        settings: those it is made of.
        effect: change of the score over the whole range.
        low, high: 95 % interval.
        p_value: corrected by Holm for all terms of the model.
    """

    name: str
    settings: tuple[str, ...]
    effect: float
    low: float
    high: float
    p_value: float

    @property
    def is_sure(self) -> bool:
        """Whether there is an effect beyond reasonable doubt."""
        return self.p_value < 0.05


@dataclasses.dataclass(frozen=True)
class Fit:
    """One model.

    Attributes:
        aicc: corrected Akaike criterion; less is better.
        optimum: values where it predicts the best score.
        predicted, low, high: that score and the 95 % interval of its mean.
    """

    form: str
    n: int
    terms: list[Term]
    r2: float
    adjusted_r2: float
    aicc: float
    optimum: dict[str, Any]
    predicted: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class _Columns:
    """What the columns of a design are made of."""

    settings: Settings
    names: list[str]
    of: list[tuple[str, ...]]
    makers: list[tuple[int, ...]]
    """Indices of base columns that are multiplied."""

    def design(self, units: np.ndarray) -> np.ndarray:
        base = np.concatenate([np.ones((len(units), 1)), _base(self.settings, units)], axis=1)
        return np.stack([np.prod(base[:, list(maker)], axis=1) for maker in self.makers], axis=1)


def regressions(sample: Sample, seed: int = 0) -> list[Fit]:
    """Every model that the trials are enough for, the best first.

    Raises:
        DataError: if they are not enough for a plane.
    """
    found = []
    for form in FORMS:
        columns = _columns(sample.settings, form)
        if sample.n > len(columns.makers) + 2:
            fit = _fit(sample, columns, form, seed)
            found.extend([fit] if fit else [])
    if not found:
        needed = len(_columns(sample.settings, FORMS[0]).makers) + 3
        raise DataError(
            f"found {sample.n} trials with a score; expected at least {needed} for a regression on settings"
        )
    return sorted(found, key=lambda fit: fit.aicc)


def _base(settings: Settings, units: np.ndarray) -> np.ndarray:
    """Ranges from -1/2 to 1/2; choices as one column for each value but the first."""
    columns: list[np.ndarray] = []
    for key, column in zip(settings.keys, units.T, strict=True):
        size = len(settings.choices.get(key, []))
        chosen = np.minimum((column * size).astype(int), max(size - 1, 0))
        columns.extend([(chosen == at).astype(float) for at in range(1, size)] if size else [column - 0.5])
    return np.stack(columns, axis=1)


def _columns(settings: Settings, form: str) -> _Columns:
    base: list[tuple[str, str]] = []
    for key in settings.keys:
        values = settings.choices.get(key)
        base.extend([(key, f"{key} = {value}") for value in values[1:]] if values else [(key, key)])
    makers: list[tuple[int, ...]] = [(0,), *((at + 1,) for at in range(len(base)))]
    if form != "plane":
        pairs = itertools.combinations(range(len(base)), 2)
        makers += [(one + 1, other + 1) for one, other in pairs if base[one][0] != base[other][0]]
    if form == "squares":
        makers += [(at + 1, at + 1) for at, (key, _) in enumerate(base) if key not in settings.choices]
    names, of = [], []
    for maker in makers:
        parts = [base[at - 1] for at in maker if at]
        squared = len(maker) == 2 and maker[0] == maker[1]
        names.append(f"{parts[0][1]} squared" if squared else " x ".join(name for _, name in parts) or "intercept")
        of.append(tuple(dict.fromkeys(key for key, _ in parts)))
    return _Columns(settings, names, of, makers)


def _fit(sample: Sample, columns: _Columns, form: str, seed: int) -> Fit | None:
    from statsmodels.regression.linear_model import OLS

    design = columns.design(sample.units)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None  # a value or a pair that no trial tried
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = OLS(sample.scores, design).fit()
        found = plain.get_robustcov_results(ROBUST, use_t=True)
    p_values = np.nan_to_num(np.asarray(found.pvalues[1:], float), nan=1.0)
    corrected, intervals = holm(p_values), np.asarray(found.conf_int(), float)
    terms = [
        Term(
            columns.names[at],
            columns.of[at],
            float(found.params[at]),
            float(intervals[at, 0]),
            float(intervals[at, 1]),
            float(p_value),
        )
        for at, p_value in enumerate(corrected, start=1)
    ]
    parameters = design.shape[1] + 1  # the variance is one as well
    spare = sample.n - parameters - 1
    aicc = float(plain.aic) + 2 + (2 * parameters * (parameters + 1) / spare if spare > 0 else np.inf)
    return Fit(
        form,
        sample.n,
        sorted(terms, key=lambda term: -abs(term.effect)),
        float(plain.rsquared),
        float(plain.rsquared_adj),
        float(aicc),
        *_optimum(sample, columns, found, seed),
    )


def _optimum(sample: Sample, columns: _Columns, found: Any, seed: int) -> tuple[dict[str, Any], float, float, float]:
    """Where the model is best, among the trials and 4,096 evenly spread places."""
    from scipy.stats import qmc

    spread = qmc.Sobol(len(columns.settings), seed=seed).random(4096)
    places = np.concatenate([sample.units, spread])
    design = columns.design(places)
    sign = 1.0 if sample.maximises else -1.0
    best = int(np.argmax(sign * (design @ found.params)))
    predicted = found.get_prediction(design[best : best + 1])
    low, high = np.asarray(predicted.conf_int(), float)[0]
    values = columns.settings.values(places[best])
    return values, float(predicted.predicted_mean[0]), float(low), float(high)
