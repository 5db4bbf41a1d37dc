"""`compare:` what is trained and measured side by side, and how the differences are judged."""

from typing import Any, Literal

from pydantic import Field, field_validator

from cluster.config.base import Config


class CompareConfig(Config):
    """How models are compared. The first one is what the others are held against, unless `against` says otherwise."""

    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Trainings that `mobula compare run.yaml` makes and compares: name and overrides, such as `half: {data.max_rows: 5000}`."""
    seeds: int = Field(default=1, ge=1)
    """Trainings of each variant, `train.seed` and `data.seed` counted up."""
    against: Literal["first", "each"] = "first"
    """Compare each with the first, or each with each one before it."""
    rows: Literal["same", "shared", "unpaired"] = "same"
    """What to do where two were scored on different rows: refuse, compare on those they share, or use tests for unpaired rows."""
    margins: dict[str, float] = Field(default_factory=dict)
    """Metric and the difference that does not matter, in its own unit; differences shown to be smaller are called equivalent."""
    correction: Literal["holm", "benjamini_hochberg", "none"] = "holm"
    """How p-values are corrected, over all metrics and pairs together, and again over all slices together."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    """How sure the intervals are; a difference is shown if its corrected p-value is below the rest."""
    num_resamples: int = Field(default=10_000, ge=200)
    """Times that rows are drawn anew for intervals."""
    min_slice_rows: int = Field(default=20, ge=2)
    """Smaller slices are not tested."""
    seed: int = Field(default=0, ge=0)
    """Seeds what is drawn."""

    @field_validator("margins")
    @classmethod
    def margins_are_above_zero(cls, margins: dict[str, float]) -> dict[str, float]:
        for name, margin in margins.items():
            if not margin > 0:
                raise ValueError(
                    f"margins.{name}={margin:g} must be above 0, such as 0.005 for half a point of a share"
                )
        return margins
