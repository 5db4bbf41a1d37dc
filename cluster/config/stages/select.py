"""Stages that choose among rows: doubles, samples, weights, order, rows that look wrong."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cluster.config.base import Config, with_default_kind
from cluster.config.stages.base import Role, Split, StageConfig, TrainOnlyStage

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


class BootstrapStage(TrainOnlyStage):
    """Training rows are drawn with replacement: some come several times, about a third of them not at all.

    Models trained on different samples err differently, which is what bagging lives on.
    """

    kind: Literal["bootstrap"] = "bootstrap"
    share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Rows drawn, as a share of all."""
    sample: int = Field(default=0, ge=0)
    """Which of the samples that `data.seed` makes."""


class ByLength(Config):
    """Short rows first: by the characters of all texts."""

    kind: Literal["length"] = "length"


class ByColumn(Config):
    """Rows with a small number first."""

    kind: Literal["column"] = "column"
    column: str
    """Column of the source, or note of an earlier stage, with a number: a score, a model's loss."""


class OrderStage(TrainOnlyStage):
    """The order of training rows: a curriculum. It reaches training only with `data.shuffle: false`.

    Rows measured on, and rejected ones, come before them in the stream, which changes nothing for them.
    """

    kind: Literal["order"] = "order"
    by: Annotated[ByLength | ByColumn, Field(discriminator="kind"), BeforeValidator(with_default_kind("length"))] = (
        ByLength()
    )
    """What rows are ordered by."""
    descending: bool = False
    """The long ones, or those with a large number, first."""
    buckets: int | None = Field(default=None, ge=2)
    """Order so many sets of rows instead of single rows: each as large as the others, and mixed within by `data.seed`."""


class ModelLossStage(StageConfig):
    """Notes what each row costs a causal model: `model_loss`, the mean over the tokens that carry loss. Rejects nothing.

    With a stage `order` by the column `model_loss` behind it, training goes from what the model finds easy to what it
    finds hard, or from what it knows least.
    """

    kind: Literal["model_loss"] = "model_loss"
    splits: list[Split] = Field(default=["train"], min_length=1)
    """Rows of which splits are looked at; the others pass by."""
    model: str = Field(min_length=1)
    """Folder, `pkg://` or Hub id of a causal model, such as the one that is fine-tuned."""
    max_length: int = Field(default=1024, ge=8)
    """Tokens of a row that the model sees; what is longer is judged by its beginning."""
    batch_size: int = Field(default=16, ge=1)
    """Rows in one forward pass."""


class _ReadingStage(StageConfig):
    """A stage that looks at what rows are about."""

    splits: list[Split] = Field(default=["train"], min_length=1)
    """Rows of which splits it looks at; the others pass by."""
    roles: list[Role] | None = None
    """Look only at the texts of these roles (`user`, `assistant`, `text`, ...). Empty: at all of them."""


class _Meaning(Config):
    """What tells how alike two texts are."""

    model: str | None = None
    """Folder, `pkg://` or Hub id of an encoder that gives texts a place by their meaning, as sentence-transformers do.
    Empty: texts are compared by their words (TF-IDF of single words and pairs)."""


class LabelErrorsStage(_ReadingStage, _Meaning):
    """Rows whose label is likely wrong, by confident learning (Northcutt et al. 2021).

    Classifiers that have not seen a row say how likely each class is. A class is suggested if it is at least as likely as
    it usually is for rows that have it as their label. Rows with another label than the most likely of those get the
    notes `suggested_label` and `label_margin`.
    """

    kind: Literal["label_errors"] = "label_errors"
    action: Literal["note", "reject", "relabel"] = "note"
    """Whether such rows are noted only, rejected, or given the suggested label. Look at what is noted before."""
    folds: int = Field(default=5, ge=2)
    """How many classifiers are fitted, each to be asked about the rows it has not seen. Classes with fewer rows are not judged."""
    min_margin: float = Field(default=0.0, ge=0.0, lt=1.0)
    """By how much the suggested class must be more likely than the label. The higher, the fewer false alarms."""


class ByStatistics(Config):
    """By length, length of words, and shares of letters, digits, punctuation, capitals, spaces and different characters."""

    kind: Literal["statistics"] = "statistics"
    threshold: float = Field(default=8.0, gt=0.0)
    """From which z-score on, of any of these, a row is an outlier. Texts are no normal distribution: 3 would be too low."""


class ByDistance(_Meaning):
    """By the distance from the middle of all rows. Without a model this finds little: most texts share few words."""

    kind: Literal["distance"] = "distance"
    threshold: float = Field(default=3.0, gt=0.0)
    """From which z-score of the distance on a row is an outlier."""


class OutliersStage(_ReadingStage):
    """Rows unlike the others, by robust z-scores: distances from the median in units of the usual distance from it."""

    kind: Literal["outliers"] = "outliers"
    by: Annotated[
        ByStatistics | ByDistance, Field(discriminator="kind"), BeforeValidator(with_default_kind("statistics"))
    ] = ByStatistics()
    """What is measured."""
    action: Literal["reject", "note"] = "reject"
    """Whether outliers are rejected, or noted as `outlier` only."""


class RelevanceStage(_ReadingStage, _Meaning):
    """Rows like a few examples stay: by the cosine to the nearest example, which is noted as `relevance`."""

    kind: Literal["relevance"] = "relevance"
    examples: list[str] = Field(min_length=1)
    """Texts of the kind that is wanted."""
    share: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Share of the rows that stay, the most similar ones."""
    min_similarity: float | None = Field(default=None, ge=-1.0, le=1.0)
    """From which cosine on a row stays."""

    @model_validator(mode="after")
    def one_bound(self) -> Self:
        if (self.share is None) == (self.min_similarity is None):
            raise ValueError(f"share={self.share} and min_similarity={self.min_similarity}: set one of them")
        return self


SelectionStage = (
    ExactDuplicatesStage
    | NearDuplicatesStage
    | SampleStage
    | BootstrapStage
    | ModelLossStage
    | OrderStage
    | LabelErrorsStage
    | OutliersStage
    | RelevanceStage
)
"""The kinds that choose among rows."""
