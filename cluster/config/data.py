"""`data:` what is learnt from."""

from typing import Literal, Self

from pydantic import Field, model_validator

from cluster.config.base import Config
from cluster.config.stages import Stage

ShapeName = Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "text", "text_label"]


class Columns(Config):
    """Names of the columns to read when they differ from the usual ones."""

    text: str | None = None
    """Column with the text of a classification or plain-text row."""
    label: str | None = None
    """Column with the class of a classification row."""
    messages: str | None = None
    """Column with the conversation."""
    prompt: str | None = None
    """Column with the prompt (prompt/completion rows) or instruction (alpaca rows)."""
    completion: str | None = None
    """Column with the answer."""


class DataConfig(Config):
    train: str | list[str] = Field(min_length=1)
    """File, folder, glob, URL (`s3://`, `gs://`) or Hub id of the training rows; a list is read in order.
    JSONL, JSON, CSV, Parquet, plain text and `datasets` folders are told apart by themselves. `hub-id:split` names a split."""
    validation: str | list[str] | None = None
    """Rows scored during training, never trained on. They pick the best checkpoint."""
    test: str | list[str] | None = None
    """Rows scored once, after training."""
    val_size: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the training rows held out for validation when `validation` is not given."""
    shape: ShapeName = "auto"
    """What a row looks like; `auto` reads it off the column names."""
    columns: Columns = Columns()
    """Columns to read where they have other names than the usual ones."""
    max_length: int = Field(default=1024, ge=8)
    """Longest sequence in tokens. Longer rows are cut at the end, and the cut is counted and reported."""
    packing: bool = True
    """Put several rows into one sequence, attention kept apart (causal models). Encoders are length-bucketed instead."""
    system: str | None = None
    """System message put before conversations that have none."""
    max_rows: int | None = Field(default=None, ge=1)
    """Read at most so many rows of each source: for trying things out."""
    stages: list[Stage] = Field(default_factory=list)
    """What happens to rows between reading and tokenising, in this order: cleaning, selection, splits, augmentation."""
    on_error: Literal["fail", "reject"] = "fail"
    """A row that cannot be used (no JSON, no known shape, an empty answer): fail and name it, or reject it with the reason."""
    seed: int = Field(default=0, ge=0)
    """Seeds whatever the stages draw."""

    @property
    def is_staged(self) -> bool:
        """Whether rows are looked at one by one before they are tokenised."""
        return bool(self.stages) or self.on_error == "reject"

    @model_validator(mode="after")
    def validation_is_said_once(self) -> Self:
        if self.validation is not None and self.val_size:
            raise ValueError(
                f"validation={self.validation!r} and val_size={self.val_size} both say what to validate on; keep one"
            )
        return self
