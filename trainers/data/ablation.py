"""What some stages are worth: training with and without them, several seeds each.

A seed decides both which rows the stages draw and how the model starts, and it is the same on both sides; so the
difference is taken seed by seed, and much of what varies between seeds falls out of it. Every training is a run of its
own, kept like any other: an ablation that was interrupted goes on where it stood.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

from cluster.config import Classification, RunConfig
from cluster.config.stages.augment import Augment, MeaningGuardStage
from cluster.exceptions import ConfigError

logger = logging.getLogger(__name__)

CONFIDENCE = 0.95
Train = Callable[[RunConfig], dict[str, Any]]
"""Trains a config to its end; its metrics."""


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A metric with and without some stages.

    Attributes:
        kinds: of the stages that were left out on one side.
        metric: what was measured.
        seeds: one for each pair of trainings.
        without: the metric without the stages, by seed.
        with_stages: the same with them.
    """

    kinds: list[str]
    metric: str
    seeds: list[int]
    without: list[float]
    with_stages: list[float]

    @property
    def differences(self) -> list[float]:
        """With less without, by seed."""
        return [one - other for one, other in zip(self.with_stages, self.without, strict=True)]

    @property
    def difference(self) -> float:
        """Their mean."""
        return sum(self.differences) / len(self.differences)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the mean difference lies with 95 % confidence: Student's t over the paired differences."""
        from scipy import stats

        spread = stats.sem(self.differences) * stats.t.ppf((1 + CONFIDENCE) / 2, len(self.seeds) - 1)
        return self.difference - float(spread), self.difference + float(spread)

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        low, high = self.interval
        told = "no difference shown" if low <= 0 <= high else "higher with them" if low > 0 else "lower with them"
        return (
            f"{self.metric} with {', '.join(self.kinds)} less without: {self.difference:+.4f} "
            f"(95 % interval {low:+.4f} to {high:+.4f}, {len(self.seeds)} seeds): {told}"
        )

    def summary(self) -> dict[str, Any]:
        """All of it as JSON."""
        found = dataclasses.asdict(self) | {"differences": self.differences, "difference": self.difference}
        return found | {"interval": list(self.interval), "confidence": CONFIDENCE, "sentence": self.sentence}


def ablate(
    config: RunConfig,
    num_seeds: int = 5,
    kinds: Sequence[str] = (),
    metric: str | None = None,
    train: Train | None = None,
) -> Ablation:
    """Train with and without some stages of `config`, and compare.

    Args:
        num_seeds: pairs of trainings; their seeds count up from `train.seed` and `data.seed`.
        kinds: of the stages to leave out. Default: all that augment.
        metric: which metric of a run to compare. Default: accuracy on the test rows, or loss where no class is learnt.
        train: trains one config; default `trainers.fit.fit`.

    Raises:
        ConfigError: if there is nothing to compare.
    """
    if num_seeds < 2:
        raise ConfigError(f"found {num_seeds} seeds; expected at least 2, since the interval comes from their spread")
    metric = metric or ("test_accuracy" if isinstance(config.train.objective, Classification) else "test_loss")
    left_out: list[str] = [stage.kind for stage in config.data.stages if _is_left_out(stage, kinds)]
    if not left_out:
        found = ", ".join(stage.kind for stage in config.data.stages) or "none"
        raise ConfigError(
            f"data.stages: found {found}; expected {', '.join(kinds) or 'a stage that augments'} to leave out"
        )
    train = train or _fit
    seeds = list(range(config.train.seed, config.train.seed + num_seeds))
    values: dict[str, list[float]] = {"without": [], "with": []}
    for offset in range(num_seeds):
        for side, found_values in values.items():
            one = trial(config, offset, kinds if side == "without" else None)
            found_values.append(_metric(train(one), metric))
            logger.warning("%s: %s %.4f", one.name, metric, found_values[-1])
    return Ablation(left_out, metric, seeds, values["without"], values["with"])


def _is_left_out(stage: Any, kinds: Sequence[str]) -> bool:
    return stage.kind in kinds if kinds else isinstance(stage, Augment | MeaningGuardStage)


def trial(config: RunConfig, offset: int, without: Sequence[str] | None) -> RunConfig:
    """One training: its seeds `offset` further on, and the stages of some kinds left out.

    Args:
        without: kinds to leave out, or none to leave out all that augment; None leaves out nothing.
    """
    stages = [stage for stage in config.data.stages if without is None or not _is_left_out(stage, without)]
    values = config.model_dump(mode="json")
    seed = config.train.seed + offset
    values["name"] = f"{config.name}-{'with' if without is None else 'without'}-{seed}"
    values["data"] |= {"seed": config.data.seed + offset, "stages": [stage.model_dump(mode="json") for stage in stages]}
    values["train"]["seed"] = seed
    return RunConfig.model_validate(values)


def _metric(metrics: dict[str, Any], name: str) -> float:
    if not isinstance(metrics.get(name), int | float):
        numbers = sorted(key for key, value in metrics.items() if isinstance(value, int | float))
        raise ConfigError(f"metric={name}: the run measured {', '.join(numbers)}; name one of these, or set data.test")
    return float(metrics[name])


def _fit(config: RunConfig) -> dict[str, Any]:
    from trainers.fit import fit

    return fit(config).metrics
