"""Which trials are stopped early: Ray Tune's schedulers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cluster.config.tune import Asha, MedianStopping, RunToTheEnd, TuneConfig

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
        mode="max" if tune.maximises else "min",
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
        mode="max" if tune.maximises else "min",
        grace_period=scheduler.grace,
        min_samples_required=scheduler.min_trials,
    )


SCHEDULERS: dict[str, Callable[[Any, TuneConfig], TrialScheduler]] = {"none": _none, "asha": _asha, "median": _median}
"""Kind of `tune.scheduler` -> Ray Tune's."""


def build_scheduler(tune: TuneConfig) -> TrialScheduler:
    """The scheduler of a study."""
    return SCHEDULERS[tune.scheduler.kind](tune.scheduler, tune)
