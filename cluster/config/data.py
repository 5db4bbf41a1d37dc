"""`data:` what is learnt from."""

from typing import Literal, Self

from pydantic import Field, model_validator

from cluster.config.base import Config
from cluster.config.source import AnySource, Columns, Entries, FileSource, ShapeName, SqlSource, as_sources
from cluster.config.stages import Stage
from cluster.config.stages.augment import Augment
from cluster.config.stages.mix import MixStage
from cluster.config.stages.split import KFoldStage, SplitStage


class DataConfig(Config):
    train: Entries
    """Where the training rows lie: a file, folder, glob, URL (`s3://`, `gs://`, `https://`), Hub id, a data set of a
    `dataset_info.json`, or a section that says more of one of these; a list is read in order. JSONL, JSON, CSV, Parquet,
    plain text and `datasets` folders are told apart by themselves. `hub-id:split` names a split."""
    validation: Entries | None = None
    """Rows scored during training, never trained on. They pick the best checkpoint."""
    test: Entries | None = None
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
    shuffle: bool = True
    """Draw the rows in a new random order every epoch. `false` keeps the order they have, such as that of the stage `order`."""
    mix: MixStage | None = None
    """How the sources of `train` are mixed, by their weights. Default: one is read after the other."""
    max_row_bytes: int = Field(default=16 << 20, ge=1024)
    """A row of more bytes is taken for a mistake, such as a missing line end, and never held as a whole."""
    timeout_s: float = Field(default=60.0, gt=0.0)
    """Seconds of silence after which a `https://` source is given up."""
    stages: list[Stage] = Field(default_factory=list)
    """What happens to rows between reading and tokenising, in this order: cleaning, selection, splits, augmentation."""
    on_error: Literal["fail", "reject"] = "fail"
    """A row that cannot be used (no JSON, no known shape, an empty answer): fail and name it, or reject it with the reason."""
    seed: int = Field(default=0, ge=0)
    """Seeds whatever the stages draw."""

    @property
    def is_staged(self) -> bool:
        """Whether rows are looked at one by one before they are tokenised."""
        return bool(self.stages) or self.mix is not None or self.on_error == "reject"

    @model_validator(mode="after")
    def validation_is_said_once(self) -> Self:
        if self.validation is not None and self.val_size:
            raise ValueError(
                f"validation={self.validation!r} and val_size={self.val_size} both say what to validate on; keep one"
            )
        return self

    @model_validator(mode="after")
    def sources_are_weighted_to_be_mixed(self) -> Self:
        sources = self.sources("train")
        unmixed = [*(sources if self.mix is None else []), *self.sources("validation"), *self.sources("test")]
        weighted = [source for source in unmixed if source.weight != 1.0]
        if weighted:
            raise ValueError(
                f"weight={weighted[0].weight:g} of {weighted[0].label} says how training rows are mixed; add data.mix or remove it"
            )
        if self.mix is not None and len(sources) < 2:
            raise ValueError("mix needs at least two sources; give data.train a list, or remove data.mix")
        return self

    @model_validator(mode="after")
    def augmented_rows_stay_where_they_are(self) -> Self:
        augments = ""
        for stage in self.stages:
            if isinstance(stage, Augment):
                augments = stage.kind
            elif augments and isinstance(stage, SplitStage | KFoldStage):
                raise ValueError(
                    f"stages: {stage.kind} stands behind {augments}, so that copies would be measured on, away from their "
                    f"originals; put {stage.kind} first"
                )
        return self

    def sources(self, split: str) -> list[AnySource]:
        """The sources of a split, in their long form."""
        return as_sources(getattr(self, split))


__all__ = ["AnySource", "Columns", "DataConfig", "FileSource", "ShapeName", "SqlSource", "as_sources"]
