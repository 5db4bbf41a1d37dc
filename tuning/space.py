"""The search space: keys of `run.yaml` and their ranges, as Optuna's distributions, and the config of one trial."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config import RunConfig
from cluster.config.load import Source
from cluster.config.tune import Choice, Domain, FloatRange, IntRange
from cluster.exceptions import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = dict[str, Any]
"""Key -> value; values of a choice that are no scalars travel as JSON text."""


def distributions(space: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """The space in Optuna's terms."""
    return {key: _distribution(domain) for key, domain in space.items()}


def _distribution(domain: Domain) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choice):
        return CategoricalDistribution([_scalar(value) for value in domain.values])
    if isinstance(domain, IntRange):
        return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def _scalar(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def grid(space: Mapping[str, Domain], points: int) -> Iterator[Values]:
    """Every combination, `points` values over each range."""
    axes = [_points(domain, points) for domain in space.values()]
    for combination in itertools.product(*axes):
        yield dict(zip(space, combination, strict=True))


def _points(domain: Domain, points: int) -> list[Any]:
    if isinstance(domain, Choice):
        return [_scalar(value) for value in domain.values]
    spread = np.geomspace if domain.log else np.linspace
    values = spread(domain.low, domain.high, points).tolist()
    if isinstance(domain, FloatRange) and domain.step is None:
        return values
    step = domain.step or 1
    return sorted({type(domain.low)(domain.low + round((value - domain.low) / step) * step) for value in values})


def trial_name(study: str, values: Values, parent: Mapping[str, Any] | None = None) -> str:
    """Name of the trial with these values: the same values are the same trial, so it is never trained twice.

    Args:
        parent: run and step of the checkpoint that it begins with, if it does not begin anew.
    """
    text = json.dumps([values, parent] if parent else values, sort_keys=True)
    return f"{study}-{hashlib.blake2b(text.encode(), digest_size=5).hexdigest()}"


def trial_config(config: RunConfig, values: Values) -> RunConfig:
    """The run that a trial is: the study's file with some keys replaced, in the study's folder.

    Raises:
        ConfigError: naming the key that does not fit.
    """
    from pathlib import Path

    source = Source(Path("tune.space"), config.model_dump(mode="json", exclude={"tune"}), {})
    space = config.tune.space if config.tune else {}
    for key, value in values.items():
        domain = space.get(key)
        known = isinstance(domain, Choice) and any(isinstance(one, list | dict) for one in domain.values)
        source.change(key.split("."), json.loads(value) if known and isinstance(value, str) else value, "tune.space")
    source.values["name"] = trial_name(config.name, values)
    source.values["cluster"]["storage_path"] = f"{config.cluster.storage_path.rstrip('/')}/{config.name}/trials"
    return source.validated()


def check_space(config: RunConfig) -> None:
    """Refuse a space some corner of which is no valid run, before anything starts.

    Raises:
        ConfigError: naming the key and the value.
    """
    assert config.tune is not None
    for key, domain in config.tune.space.items():
        for value in _points(domain, 2):
            try:
                trial_config(config, {key: value})
            except ConfigError as error:
                raise ConfigError(f"tune.space.{key}={value}: {error}") from error
