"""Where the next trial looks: Optuna's samplers behind Ray Tune's OptunaSearch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cluster.config.tune import (
    CmaEsSearch,
    GaussianProcessSearch,
    GeneticSearch,
    GridSearch,
    QuasiRandomSearch,
    RandomSearch,
    TpeSearch,
    TuneConfig,
)
from tuning.space import distributions, grid

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from ray.tune.search import Searcher


def _grid(search: GridSearch, tune: TuneConfig, seed: int) -> BaseSampler:
    from optuna.samplers import GridSampler

    combinations = list(grid(tune.space, search.points))
    axes = {key: list(dict.fromkeys(one[key] for one in combinations)) for key in tune.space}
    return GridSampler(axes, seed=seed)


def _random(search: RandomSearch, tune: TuneConfig, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _quasi_random(search: QuasiRandomSearch, tune: TuneConfig, seed: int) -> BaseSampler:
    from optuna.samplers import QMCSampler

    return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


def _tpe(search: TpeSearch, tune: TuneConfig, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(
        n_startup_trials=search.startup_trials,
        multivariate=search.multivariate,
        constant_liar=True,  # trials that still run count as bad, so that those beside them look elsewhere
        seed=seed,
    )


def _gaussian_process(search: GaussianProcessSearch, tune: TuneConfig, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(n_startup_trials=search.startup_trials, seed=seed, deterministic_objective=False)


def _cmaes(search: CmaEsSearch, tune: TuneConfig, seed: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(n_startup_trials=search.startup_trials, seed=seed, warn_independent_sampling=False)


def _genetic(search: GeneticSearch, tune: TuneConfig, seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=search.population_size, seed=seed)


SAMPLERS: dict[str, Callable[[Any, TuneConfig, int], BaseSampler]] = {
    "random": _random,
    "grid": _grid,
    "quasi_random": _quasi_random,
    "tpe": _tpe,
    "gp": _gaussian_process,
    "cmaes": _cmaes,
    "genetic": _genetic,
}
"""Kind of `tune.search` -> its sampler."""


def build_searcher(tune: TuneConfig, storage: BaseStorage, name: str, num_known: int) -> Searcher:
    """The searcher of a study; what lies in the storage from an earlier start informs it.

    Args:
        storage: Optuna's, in which the study has this name.
        num_known: trials of earlier starts; the draws go on behind theirs.
    """
    import warnings

    from optuna.exceptions import ExperimentalWarning
    from ray.tune.search.optuna import OptunaSearch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = SAMPLERS[tune.search.kind](tune.search, tune, tune.seed + num_known)
    return OptunaSearch(
        distributions(tune.space),
        metric=tune.metric,
        mode=tune.direction,
        sampler=sampler,
        storage=storage,
        study_name=name,
    )
