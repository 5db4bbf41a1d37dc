"""How the score moves with the settings, on a model of the study or on any function of places in 0..1.

Over the whole space or around one point: elementary effects (Morris 1991), variance-based indices (Sobol 2001, Saltelli
2010) and Shapley effects (Goda 2021), all by SALib; sweeps of one setting, slopes, and the worst within reach.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tuning.report.settings import Settings
from tuning.report.surrogate import Function

NEAR = 0.15
"""Around a point: so much of each range to both sides."""
REACHES = (0.05, 0.1, 0.25)
"""How far settings may be off, as shares of their ranges, when the worst is looked for."""
SWEEP = 41
_SALIB_SEED = 1
"""SALib takes 0 for no seed."""


@dataclasses.dataclass(frozen=True)
class Box:
    """Part of the space: lower and upper bounds in 0..1, each of shape (d,)."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def whole(cls, num_settings: int) -> Box:
        return cls(np.zeros(num_settings), np.ones(num_settings))

    @classmethod
    def around(cls, settings: Settings, place: np.ndarray, reach: float = NEAR) -> Box:
        """Within `reach` of a place, and within the ranges. Choices are free: their values have no neighbours."""
        free = np.array([key in settings.choices for key in settings.keys], bool)
        low, high = np.clip(place - reach, 0.0, 1.0), np.clip(place + reach, 0.0, 1.0)
        return cls(np.where(free, 0.0, low), np.where(free, 1.0, high))

    def problem(self) -> dict[str, Any]:
        """In SALib's terms."""
        bounds = np.stack([self.low, self.high], axis=1).tolist()
        return {"num_vars": len(self.low), "names": [f"x{at}" for at in range(len(self.low))], "bounds": bounds}


@dataclasses.dataclass(frozen=True)
class Indices:
    """Sobol indices of each setting: shares of the variance of the score.

    Attributes:
        first: what it explains alone.
        total: with all interactions that it takes part in.
        first_error, total_error: half widths of the 95 % intervals.
        pairs: what two settings explain only together, shape (d, d), nan on and below the diagonal.
    """

    first: np.ndarray
    total: np.ndarray
    first_error: np.ndarray
    total_error: np.ndarray
    pairs: np.ndarray


def sobol(function: Function, box: Box, num_points: int = 512, seed: int = 0) -> Indices:
    """Sobol indices over a box.

    Args:
        num_points: of the sequence, a power of two; the function is asked at `num_points * (2 d + 2)` places.
    """
    from SALib.analyze import sobol as analyze
    from SALib.sample import sobol as sample

    problem, d = box.problem(), len(box.low)
    scores = function(sample.sample(problem, num_points, seed=seed + _SALIB_SEED))
    if np.ptp(scores) == 0:
        nothing = np.zeros(d)
        return Indices(nothing, nothing, nothing, nothing, np.full((d, d), np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a setting without effect divides by zero in the bootstrap
        found = analyze.analyze(problem, scores, seed=seed + _SALIB_SEED)
    return Indices(found["S1"], found["ST"], found["S1_conf"], found["ST_conf"], found["S2"])


@dataclasses.dataclass(frozen=True)
class Effects:
    """Elementary effects of each setting, in units of the score for a whole range.

    Attributes:
        mean: signed; 0 where ups and downs cancel.
        strength: mean of the absolute effects, what settings are ranked by.
        spread: standard deviation; large where the effect depends on where one stands, or on other settings.
    """

    mean: np.ndarray
    strength: np.ndarray
    spread: np.ndarray


def morris(function: Function, box: Box, num_paths: int = 64, seed: int = 0) -> Effects:
    """Elementary effects along `num_paths` paths through a box; `num_paths * (d + 1)` places."""
    from SALib.analyze import morris as analyze
    from SALib.sample import morris as sample

    problem = box.problem()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places = sample.sample(problem, num_paths, seed=seed + _SALIB_SEED)
        found = analyze.analyze(problem, places, function(places), seed=seed + _SALIB_SEED)
    return Effects(*(np.asarray(found[name], float) for name in ("mu", "mu_star", "sigma")))


def shapley_effects(function: Function, num_settings: int, num_paths: int = 2000, seed: int = 0) -> np.ndarray:
    """Share of the variance over the whole space that each setting deserves, shape (d,), summing to 1."""
    from SALib.analyze import shapley as analyze
    from SALib.sample import shapley as sample

    problem = Box.whole(num_settings).problem()
    places = sample.sample(problem, num_paths, seed=seed + _SALIB_SEED)
    scores = function(places)
    if np.ptp(scores) == 0:
        return np.zeros(num_settings)
    found = np.maximum(analyze.analyze(problem, places, scores)["shapley"], 0.0)
    return np.asarray(found / (found.sum() or 1.0), float)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One setting moved over its whole range while the others stay.

    Attributes:
        units, scores: shape (SWEEP,), or one for each choice.
        slope: change of the score for a whole range, at the point where the others stay; nan for choices.
        loss: what the worst value costs against the best on the sweep.
    """

    setting: str
    units: np.ndarray
    scores: np.ndarray
    slope: float
    loss: float


def sweeps(function: Function, settings: Settings, place: np.ndarray) -> list[Sweep]:
    """Sweeps of every setting through one point."""
    found = []
    for at, key in enumerate(settings.keys):
        size = len(settings.choices.get(key, []))
        units = (np.arange(size) + 0.5) / size if size else np.linspace(0.0, 1.0, SWEEP)
        places = np.repeat(place[None, :], len(units), axis=0)
        places[:, at] = units
        scores = function(places)
        slope = float("nan") if size else _slope(function, place, at)
        found.append(Sweep(key, units, scores, slope, float(np.ptp(scores))))
    return found


def _slope(function: Function, place: np.ndarray, at: int, width: float = 0.05) -> float:
    ends = np.repeat(place[None, :], 2, axis=0)
    ends[:, at] = np.clip([place[at] - width, place[at] + width], 0.0, 1.0)
    low, high = function(ends)
    return float((high - low) / (ends[1, at] - ends[0, at]))


@dataclasses.dataclass(frozen=True)
class Worst:
    """The worst that happens when settings are off by as much as `reach` of their ranges, choices kept.

    Attributes:
        score: there.
        loss: against the score at the point itself; 0 or more.
        place: shape (d,).
    """

    reach: float
    score: float
    loss: float
    place: np.ndarray


def worst_cases(
    function: Function,
    settings: Settings,
    place: np.ndarray,
    *,
    maximises: bool,
    reaches: Sequence[float] = REACHES,
    seed: int = 0,
) -> list[Worst]:
    """The worst score within each reach of a point: Sobol points, then a local search from the worst (SciPy)."""
    sign = 1.0 if maximises else -1.0
    here = sign * float(function(place[None, :])[0])
    found = []
    for reach in reaches:
        low, high = np.clip(place - reach, 0.0, 1.0), np.clip(place + reach, 0.0, 1.0)
        fixed = [at for at, key in enumerate(settings.keys) if key in settings.choices]
        low[fixed], high[fixed] = place[fixed], place[fixed]
        where, goodness = _lowest(lambda places: sign * function(places), low, high, seed)
        if goodness > here:
            where, goodness = place, here
        found.append(Worst(reach, sign * goodness, here - goodness, where))
    return found


def _lowest(function: Function, low: np.ndarray, high: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    from scipy.optimize import minimize
    from scipy.stats import qmc

    points = low + qmc.Sobol(len(low), seed=seed).random(1024) * (high - low)
    scores = function(points)
    start = points[int(np.argmin(scores))]
    found = minimize(
        lambda place: float(function(np.clip(place, low, high)[None, :])[0]),
        start,
        method="Powell",
        bounds=list(zip(low, np.maximum(high, low + 1e-9), strict=True)),
        options={"maxfev": 300},
    )
    place = np.clip(found.x, low, high)
    return (place, float(found.fun)) if found.fun < scores.min() else (start, float(scores.min()))
