"""`evaluate:` how a trained model is scored."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cluster.config.base import Config
from cluster.config.confidence import CalibrationConfig, ErrorsConfig
from cluster.config.endpoint import EndpointConfig
from cluster.config.judge import JudgeConfig, RatingsConfig
from cluster.config.suite import SuiteConfig


class MetricSpec(Config):
    """One metric. A bare name stands for a metric without arguments."""

    name: str
    """Name of a metric, or import path of a function of yours (`package.module:function`)."""
    label: str | None = None
    """Name it is shown under. Default: its own."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the metric."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class EvaluateConfig(Config):
    max_new_tokens: int = Field(default=128, ge=1)
    """Longest generated answer, in tokens."""
    batch_size: int = Field(default=32, ge=1)
    """Rows scored at once."""
    max_rows: int | None = Field(default=None, ge=1)
    """Score at most so many rows."""
    slices: list[str] = Field(default_factory=list)
    """What is scored value by value as well, beside all rows together: columns, `language` (told from the text where
    no column says it), or expressions over columns, `prompt`, `reference` and `output`, such as `len(prompt) > 200` or
    `channel == 'mail'`."""
    metrics: list[Annotated[MetricSpec, BeforeValidator(_named)]] = Field(default_factory=list)
    """Metrics beside those that every evaluation has."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    """How sure the intervals are."""
    num_resamples: int = Field(default=2000, ge=200)
    """Times that rows are drawn anew for an interval."""
    groups: str | None = None
    """Column of rows that belong together, such as turns of one customer: intervals draw whole groups."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What writes the answers of causal models. `auto`: vLLM where there is so much to write that its start pays."""
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of vLLM's engine, by their names there."""
    num_samples: int = Field(default=1, ge=1)
    """Answers to each question, for metrics such as pass@k. The first is the one that other metrics see."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Spread of the answers; 0 takes the likeliest token each time."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """With a temperature: draw from the likeliest tokens that make up so much of the probability."""
    seed: int = Field(default=0, ge=0)
    """Seeds what is drawn: answers and resampled rows."""
    endpoint: EndpointConfig = EndpointConfig()
    """How an endpoint is asked, where one is scored in place of a model folder."""
    suites: dict[str, SuiteConfig] = Field(default_factory=dict)
    """Named data sets that every new version is scored on: other domains, tasks left out, languages, regressions."""
    seen_rows: Literal["refuse", "flag"] = "refuse"
    """Rows that mostly are the run's validation rows (which picked the checkpoint) or rows learnt from: refuse to call
    that a score, or only say so beside it."""
    calibration: CalibrationConfig = CalibrationConfig()
    """How far the model's confidence can be trusted."""
    errors: ErrorsConfig = ErrorsConfig()
    """Where it fails."""
    judge: JudgeConfig | None = None
    """A model that judges the answers."""
    ratings: RatingsConfig | None = None
    """Ratings of the answers by people."""

    @model_validator(mode="after")
    def several_samples_differ(self) -> Self:
        if self.num_samples > 1 and not self.temperature:
            raise ValueError(
                f"num_samples={self.num_samples} answers of temperature=0 would all be the same; set temperature, such as 0.8"
            )
        return self
