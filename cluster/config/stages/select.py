"""Stages that choose among rows: doubles, samples, weights, order, rows that look wrong."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cluster.config.base import Config, with_default_kind
from cluster.config.stages.base import Role, Split, StageConfig

Ignored = Literal["case", "whitespace", "punctuation"]


class Comparison(StageConfig):
    """A stage that compares what rows say."""

    roles: list[Role] | None = None
    """Compare only the texts of these roles (`user`, `assistant`, `text`, ...). Empty: all that a row says."""
    ignore: list[Ignored] = Field(default=["case", "whitespace"])
    """Differences that do not count. Unicode's ways to write the same letter never do."""


class NearComparison(Comparison):
    """A stage that compares rows by the shingles of their texts."""

    threshold: float = Field(default=0.8, gt=0.0, le=1.0)
    """From which share of common shingles (Jaccard similarity) on a row repeats another."""
    shingles: Literal["characters", "words"] = "characters"
    """What a text is taken apart into: runs of characters, or of words."""
    shingle_size: int = Field(default=5, ge=1)
    """Characters or words in a run."""
    signature: int = Field(default=128, ge=16, le=1024)
    """Entries of a signature, a byte each. The more there are, the better is the similarity estimated: 128 err by about 0.03."""


class _Duplicates(Comparison):
    """A stage that rejects rows which repeat others."""

    reject_from: list[Split] = Field(default=["train"], min_length=1)
    """Of which splits rows may be rejected: what is measured on stays as it is unless it is named here.
    A training row that repeats a test row is rejected, wherever the two stand."""


class ExactDuplicatesStage(_Duplicates):
    """Rows that say the same as another: the first one stays. A reason names the row that it repeats.

    Of equal rows with different labels the kept one and the rejected ones are noted as `conflict`.
    """

    kind: Literal["exact_duplicates"] = "exact_duplicates"
    with_label: bool = False
    """Rows that differ in their label only are not duplicates."""


class NearDuplicatesStage(_Duplicates, NearComparison):
    """Rows that say nearly the same as another: found by MinHash, in time linear in rows.

    A row goes if it is near one that stays, which the reason names with the estimated similarity. If the labels of the
    two differ, both are noted as `conflict`.
    """

    kind: Literal["near_duplicates"] = "near_duplicates"
    different_labels: Literal["reject", "keep"] = "reject"
    """Whether a row goes that is near one with another label."""


class RandomSample(Config):
    """Rows are drawn by what they say."""

    kind: Literal["random"] = "random"


class StratifiedSample(Config):
    """Rows are drawn so that classes keep their shares."""

    kind: Literal["stratified"] = "stratified"
    column: str = "label"
    """Label or other column that says the class of a row."""


class FirstRows(Config):
    """The rows that are read first."""

    kind: Literal["first"] = "first"


Draw = Annotated[
    RandomSample | StratifiedSample | FirstRows,
    Field(discriminator="kind"),
    BeforeValidator(with_default_kind("random")),
]


class SampleStage(StageConfig):
    """Some of the rows of each split; the others are rejected."""

    kind: Literal["sample"] = "sample"
    splits: list[Split] = Field(default=["train"], min_length=1)
    """Rows of which splits are sampled, each split by itself; the others pass by."""
    share: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Share of the rows that stay."""
    count: int | None = Field(default=None, ge=1)
    """How many rows stay, or all if there are fewer."""
    by: Draw = RandomSample()
    """Which rows stay."""

    @model_validator(mode="after")
    def size_is_said_once(self) -> Self:
        if (self.share is None) == (self.count is None):
            raise ValueError(f"share={self.share} and count={self.count}: set one of them")
        return self


SelectionStage = ExactDuplicatesStage | NearDuplicatesStage | SampleStage
"""The kinds that choose among rows."""
