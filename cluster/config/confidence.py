"""`evaluate.calibration` and `evaluate.errors`: how far a model's confidence can be trusted, and where it fails."""

from typing import Literal

from pydantic import Field

from cluster.config.base import Config
from cluster.config.source import Entries


class CalibrationConfig(Config):
    """What turns a model's scores into probabilities that match how often it is right."""

    method: Literal["auto", "none", "temperature", "platt", "isotonic"] = "auto"
    """`auto` takes the simplest whose cross-validated loss on the rows it is fitted on is about the lowest; `none` leaves
    probabilities as they are."""
    data: Entries | None = None
    """Rows it is fitted on; never those that are tested on. Default: the run's validation rows."""
    after_training: bool = True
    """Fit it at the end of a training of a classifier that has validation rows."""
    max_rows: int = Field(default=10_000, ge=1)
    """Fit on at most so many rows."""
    bins: int = Field(default=15, ge=2, le=100)
    """Groups of rows by confidence, for the calibration error and its plot."""
    conformal: Literal["none", "lac", "aps", "raps"] = "lac"
    """How sets of labels are chosen that hold the right one with a guarantee: `lac` gives the smallest sets (Sadinle et al.
    2019), `aps` sets that follow how hard a row is (Romano et al. 2020), `raps` smaller ones of these (Angelopoulos et al.
    2021)."""
    alpha: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of rows whose set may miss the right label."""
    ood_data: Entries | None = None
    """Rows from elsewhere, which the model should not be sure of: how well they are told apart is measured. They need
    no label."""


class ErrorsConfig(Config):
    """Where the wrong answers lie and which data would help."""

    enabled: bool = True
    """Look for slices of rows that go wrong more often than the rest."""
    min_rows: int = Field(default=20, ge=5)
    """Smallest slice that is looked at, in rows."""
    max_slices: int = Field(default=10, ge=1)
    """Most slices that are shown."""
    max_train_rows: int = Field(default=20_000, ge=0)
    """Training rows that wrong rows are compared with: a sample of them, where there are more."""
    embed: Literal["words", "model"] = "words"
    """What makes texts alike: their characters (tf-idf), or what the scored model makes of them, which costs a forward pass."""
