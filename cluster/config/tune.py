"""`tune:` which settings are searched, how, and when to stop."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cluster.config.base import Config, with_default_kind


class FloatRange(Config):
    """Any number between two."""

    kind: Literal["float"] = "float"
    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Draw by ratio rather than by difference; right for learning rates."""
    step: float | None = Field(default=None, gt=0.0)
    """Only multiples of this above `low`."""

    @model_validator(mode="after")
    def range_is_not_empty(self) -> Self:
        return _checked_range(self, self.low, self.high, self.log)


class IntRange(Config):
    """Any whole number between two, both included."""

    kind: Literal["int"] = "int"
    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    log: bool = False
    """Draw by ratio rather than by difference."""
    step: int = Field(default=1, ge=1)
    """Only multiples of this above `low`."""

    @model_validator(mode="after")
    def range_is_not_empty(self) -> Self:
        return _checked_range(self, self.low, self.high, self.log)


class Choice(Config):
    """One of some values: words, numbers, or whole sections."""

    kind: Literal["choice"] = "choice"
    values: list[Any] = Field(min_length=1)
    """What is chosen from."""


def _checked_range(domain: Any, low: float, high: float, log: bool) -> Any:
    if low >= high:
        raise ValueError(f"found low={low:g} and high={high:g}; expected low below high")
    if log and low <= 0:
        raise ValueError(f"found low={low:g} with log=true; expected low above 0")
    return domain


def _with_kind(value: Any) -> Any:
    """A list is a choice; bounds are whole numbers where both are written so."""
    if isinstance(value, list):
        return {"kind": "choice", "values": value}
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "values" in value:
        return {"kind": "choice", **value}
    bounds = [value.get("low"), value.get("high")]
    whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds)
    return {"kind": "int" if whole else "float", **value}


Domain = Annotated[
    Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")],
    BeforeValidator(_with_kind),
]


class RandomSearch(Config):
    """Independent draws."""

    kind: Literal["random"] = "random"


class GridSearch(Config):
    """Every combination: all values of a choice, and `points` values over each range."""

    kind: Literal["grid"] = "grid"
    points: int = Field(default=3, ge=2)
    """Values over each range."""


class QuasiRandomSearch(Config):
    """Draws that fill the space evenly (Sobol sequence), by Optuna."""

    kind: Literal["quasi_random"] = "quasi_random"


class TpeSearch(Config):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), by Optuna."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: int = Field(default=10, ge=1)
    """Random draws before the model is asked."""
    multivariate: bool = True
    """Model the settings together rather than one by one."""


class GaussianProcessSearch(Config):
    """Gaussian process with log expected improvement, by Optuna."""

    kind: Literal["gp"] = "gp"
    startup_trials: int = Field(default=10, ge=1)
    """Random draws before the model is asked."""


class CmaEsSearch(Config):
    """Covariance matrix adaptation (Hansen 2016), by Optuna; for ranges, not choices."""

    kind: Literal["cmaes"] = "cmaes"
    startup_trials: int = Field(default=1, ge=1)
    """Random draws before the first generation."""


class GeneticSearch(Config):
    """Genetic algorithm with crossover and mutation (NSGA-II, Deb et al. 2002), by Optuna."""

    kind: Literal["genetic"] = "genetic"
    population_size: int = Field(default=10, ge=2)
    """Settings in one generation."""


Search = Annotated[
    Annotated[
        RandomSearch | GridSearch | QuasiRandomSearch | TpeSearch | GaussianProcessSearch | CmaEsSearch | GeneticSearch,
        Field(discriminator="kind"),
    ],
    BeforeValidator(with_default_kind("tpe")),
]


class RunToTheEnd(Config):
    """No trial is stopped early."""

    kind: Literal["none"] = "none"


class Asha(Config):
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), by Ray Tune."""

    kind: Literal["asha"] = "asha"
    reduction_factor: float = Field(default=3.0, gt=1.0)
    """One of so many trials goes on at each rung."""
    grace: float = Field(default=1.0, gt=0.0)
    """Budget that every trial gets, in the unit of `by`."""
    by: Literal["evaluation", "tokens", "step"] = "evaluation"
    """What budget is counted in: evaluations, useful tokens or optimizer steps."""
    brackets: int = Field(default=1, ge=1)
    """More brackets hedge against trials that start slowly."""


class MedianStopping(Config):
    """Stop trials below the median of the others' averages at the same point (Golovin et al. 2017), by Ray Tune."""

    kind: Literal["median"] = "median"
    grace: float = Field(default=1.0, gt=0.0)
    """Evaluations that every trial gets."""
    min_trials: int = Field(default=3, ge=1)
    """Trials that must have come as far."""


class HyperBand(Config):
    """Brackets of successive halving with different first budgets (Li et al. 2018, arXiv 1603.06560), by Ray Tune."""

    kind: Literal["hyperband"] = "hyperband"
    reduction_factor: float = Field(default=3.0, gt=1.0)
    """One of so many trials goes on at each rung."""
    most_evaluations: int = Field(default=81, ge=1)
    """Evaluations of a trial that is never stopped."""


class PopulationBased(Config):
    """Population based training (Jaderberg et al. 2017, arXiv 1711.09846), by Ray Tune: every few evaluations the worst
    trials take over weights and optimizer of the best and change their settings a little. `num_trials` is the population."""

    kind: Literal["pbt"] = "pbt"
    interval: int = Field(default=1, ge=1)
    """Evaluations between two changes of a trial."""
    quantile: float = Field(default=0.25, gt=0.0, le=0.5)
    """Share of the population that takes over, and share that is taken over from."""
    resample_probability: float = Field(default=0.25, ge=0.0, le=1.0)
    """How often a setting is drawn anew rather than changed by a factor of 0.8 or 1.2."""
    burn_in: int = Field(default=0, ge=0)
    """Evaluations before the first change."""
    synchronous: bool = True
    """Compare all members at the same evaluation; otherwise nobody waits, and some are compared with older scores."""


class PopulationBasedBandits(Config):
    """Population based training whose changes a Gaussian process proposes (PB2, Parker-Holder et al. 2020, arXiv
    2002.02518), by Ray Tune; for ranges, not choices. `num_trials` is the population."""

    kind: Literal["pb2"] = "pb2"
    interval: int = Field(default=1, ge=1)
    """Evaluations between two changes of a trial."""
    quantile: float = Field(default=0.25, gt=0.0, le=0.5)
    """Share of the population that takes over, and share that is taken over from."""
    synchronous: bool = True
    """Compare all members at the same evaluation; otherwise nobody waits, and some are compared with older scores."""


Scheduler = Annotated[
    Annotated[
        RunToTheEnd | Asha | MedianStopping | HyperBand | PopulationBased | PopulationBasedBandits,
        Field(discriminator="kind"),
    ],
    BeforeValidator(with_default_kind("none")),
]


CHANGEABLE = (
    "train.learning_rate",
    "train.head_learning_rate",
    "train.weight_decay",
    "train.adam_beta1",
    "train.adam_beta2",
    "train.max_grad_norm",
    "train.objective.label_smoothing",
    "train.objective.mixup_alpha",
    "train.adaptation.dropout",
)
"""Keys that may change in the middle of a run: neither data nor shapes depend on them."""


class TuneConfig(Config):
    space: dict[str, Domain] = Field(min_length=1)
    """Key of this file -> its range: `train.learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}`, or a list of values."""
    metric: str = "eval_loss"
    """What trials are ranked by; an `eval_...` figure of the validation rows."""
    mode: Literal["min", "max"] | None = None
    """Whether less or more is better. Default: less of a loss, more of anything else."""
    num_trials: int = Field(default=16, ge=1)
    """Trials of the whole study; raise it and run again to extend one."""
    time_budget_s: float | None = Field(default=None, gt=0.0)
    """Begin no trial after so many seconds, and stop those that run."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Trials at once. Default: as many as the cluster has room for."""
    search: Search = TpeSearch()
    """Where the next trial looks."""
    scheduler: Scheduler = RunToTheEnd()
    """Which trials are stopped early."""
    seed: int = Field(default=0, ge=0)
    """Of the search; trials keep `train.seed`."""
    keep: int = Field(default=3, ge=1)
    """Best trials whose checkpoints stay."""
    max_failures: int = Field(default=3, ge=1)
    """Trials in a row that may fail for the same reason before the study stops with it."""

    @field_validator("space")
    @classmethod
    def keys_are_no_sections(cls, space: dict[str, Any]) -> dict[str, Any]:
        unfit = [key for key in space if "." not in key or key.split(".")[0] in ("tune", "cluster", "name")]
        if unfit:
            raise ValueError(f"found {', '.join(unfit)}; expected keys such as train.learning_rate or data.max_length")
        return space

    @model_validator(mode="after")
    def populations_change_what_can_change(self) -> Self:
        if not self.is_population:
            return self
        fixed = [key for key in self.space if key not in CHANGEABLE]
        if fixed:
            raise ValueError(
                f"tune.scheduler: found kind={self.scheduler.kind} and space.{fixed[0]}, which cannot change within a run; "
                f"expected keys among {', '.join(CHANGEABLE)}"
            )
        if self.scheduler.kind == "pb2" and any(domain.kind == "choice" for domain in self.space.values()):
            raise ValueError("tune.scheduler: kind=pb2 knows ranges only; give low and high, or use kind=pbt")
        return self

    @property
    def is_population(self) -> bool:
        """Whether trials take over from each other."""
        return self.scheduler.kind in ("pbt", "pb2")

    @property
    def prepares_data(self) -> bool:
        """Whether trials prepare data of their own, because settings of the space decide what is prepared."""
        return any(key.startswith(("data.", "model.")) for key in self.space)

    @property
    def direction(self) -> Literal["min", "max"]:
        """What is sought of the metric."""
        return "max" if self.maximises else "min"

    @property
    def maximises(self) -> bool:
        """Whether more of the metric is better."""
        return self.mode == "max" or (self.mode is None and "loss" not in self.metric)
