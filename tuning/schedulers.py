"""Which trials are stopped early: Ray Tune's schedulers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cluster.config.tune import (
    Asha,
    Choice,
    HyperBand,
    IntRange,
    MedianStopping,
    PopulationBased,
    PopulationBasedBandits,
    RunToTheEnd,
    TuneConfig,
)

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

MOST_BUDGET = 1 << 60
"""Trials end by themselves; no scheduler has to."""


def _none(scheduler: RunToTheEnd, tune: TuneConfig) -> TrialScheduler:
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


def _asha(scheduler: Asha, tune: TuneConfig) -> TrialScheduler:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    return AsyncHyperBandScheduler(
        time_attr=scheduler.by,
        metric=tune.metric,
        mode=tune.direction,
        max_t=MOST_BUDGET,
        grace_period=scheduler.grace,  # type: ignore[arg-type]
        reduction_factor=scheduler.reduction_factor,
        brackets=scheduler.brackets,
        stop_last_trials=False,
    )


def _median(scheduler: MedianStopping, tune: TuneConfig) -> TrialScheduler:
    from ray.tune.schedulers import MedianStoppingRule

    return MedianStoppingRule(
        time_attr="evaluation",
        metric=tune.metric,
        mode=tune.direction,
        grace_period=scheduler.grace,
        min_samples_required=scheduler.min_trials,
    )


def _hyperband(scheduler: HyperBand, tune: TuneConfig) -> TrialScheduler:
    from ray.tune.schedulers import HyperBandScheduler

    return HyperBandScheduler(
        time_attr="evaluation",
        metric=tune.metric,
        mode=tune.direction,
        max_t=scheduler.most_evaluations,
        reduction_factor=scheduler.reduction_factor,
    )


def _pbt(scheduler: PopulationBased, tune: TuneConfig) -> TrialScheduler:
    from ray.tune.schedulers import PopulationBasedTraining

    return PopulationBasedTraining(
        time_attr="evaluation",
        metric=tune.metric,
        mode=tune.direction,
        perturbation_interval=scheduler.interval,
        burn_in_period=scheduler.burn_in,
        quantile_fraction=scheduler.quantile,
        resample_probability=scheduler.resample_probability,
        hyperparam_mutations={key: _mutation(domain) for key, domain in tune.space.items()},
        log_config=False,
        synch=scheduler.synchronous,
    )


def _mutation(domain: Any) -> Any:
    from ray import tune

    if isinstance(domain, Choice):
        return list(domain.values)
    if isinstance(domain, IntRange):
        return (tune.lograndint if domain.log else tune.randint)(domain.low, domain.high + 1)
    return (tune.loguniform if domain.log else tune.uniform)(domain.low, domain.high)


def _pb2(scheduler: PopulationBasedBandits, tune: TuneConfig) -> TrialScheduler:
    from ray.tune.schedulers.pb2 import PB2

    return PB2(
        time_attr="evaluation",
        metric=tune.metric,
        mode=tune.direction,
        perturbation_interval=scheduler.interval,
        quantile_fraction=scheduler.quantile,
        hyperparam_bounds={key: [domain.low, domain.high] for key, domain in tune.space.items()},  # type: ignore[union-attr]
        log_config=False,
        synch=scheduler.synchronous,
    )


SCHEDULERS: dict[str, Callable[[Any, TuneConfig], TrialScheduler]] = {
    "none": _none,
    "asha": _asha,
    "median": _median,
    "hyperband": _hyperband,
    "pbt": _pbt,
    "pb2": _pb2,
}
"""Kind of `tune.scheduler` -> Ray Tune's."""


def first_draws(tune: TuneConfig) -> dict[str, Any]:
    """The space in Ray Tune's terms: what the first settings of a population are drawn from."""
    from ray import tune as ray_tune

    mutations = {key: _mutation(domain) for key, domain in tune.space.items()}
    return {key: ray_tune.choice(one) if isinstance(one, list) else one for key, one in mutations.items()}


def build_scheduler(tune: TuneConfig) -> TrialScheduler:
    """The scheduler of a study."""
    return SCHEDULERS[tune.scheduler.kind](tune.scheduler, tune)
