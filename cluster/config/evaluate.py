"""`evaluate:` how a trained model is scored."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from cluster.config.base import Config
from cluster.config.confidence import CalibrationConfig, ErrorsConfig


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
    """Columns whose values are scored one by one as well, beside all rows together."""
    metrics: list[Annotated[MetricSpec, BeforeValidator(_named)]] = Field(default_factory=list)
    """Metrics beside those that every evaluation has."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    """How sure the intervals are."""
    calibration: CalibrationConfig = CalibrationConfig()
    """How far the model's confidence can be trusted."""
    errors: ErrorsConfig = ErrorsConfig()
    """Where it fails."""
