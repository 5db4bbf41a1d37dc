"""Stages that decide what is learnt from and what is measured on, and how much each class counts."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cluster.config.base import Config, with_default_kind
from cluster.config.stages.base import TrainOnlyStage
from cluster.config.stages.select import NearComparison


class RandomSides(Config):
    """Rows are drawn."""

    kind: Literal["random"] = "random"


class StratifiedSides(Config):
    """Rows are drawn from every class by itself, so that all sides have the classes in the same shares."""

    kind: Literal["stratified"] = "stratified"
    column: str = "label"
    """Label or other column that says the class of a row."""


class GroupedSides(Config):
    """Groups are drawn, and all rows of a group go to one side: no user on both. Shares are met as well as groups allow."""

    kind: Literal["group"] = "group"
    column: str
    """Column that names the group of a row, such as a user."""


class SidesByTime(Config):
    """The latest rows are `test`, those before them `validation`. Rows of one time go to one side.

    Of equal rows the latest decides, so that nothing from after the cut is learnt from.
    """

    kind: Literal["time"] = "time"
    column: str
    """Column with a number or an ISO date."""


Sides = Annotated[
    RandomSides | StratifiedSides | GroupedSides | SidesByTime,
    Field(discriminator="kind"),
    BeforeValidator(with_default_kind("random")),
]


class SplitStage(TrainOnlyStage):
    """Moves some training rows to validation and test.

    Where a row goes depends on `data.seed` and on what it says, not on its place, nor on the stages before. Rows that say
    the same go to the same side.
    """

    kind: Literal["split"] = "split"
    validation: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the training rows that are moved to validation."""
    test: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the training rows that are moved to test."""
    by: Sides = RandomSides()
    """What stays together, and what is drawn."""

    @model_validator(mode="after")
    def some_rows_move_and_some_stay(self) -> Self:
        if not 0 < self.validation + self.test < 1:
            raise ValueError(
                f"validation={self.validation:g} and test={self.test:g} must come to more than 0 and less than 1 together"
            )
        return self


class KFoldStage(TrainOnlyStage):
    """Moves one fold of the training rows to validation or test: a run for each `fold` measures on every row once.

    Folds are of the same size, and have the classes in the same shares where rows have labels. Rows that say the same
    are in the same fold.
    """

    kind: Literal["kfold"] = "kfold"
    folds: int = Field(default=5, ge=2)
    """How many folds there are."""
    fold: int = Field(ge=0)
    """Which of them is moved, counted from 0."""
    column: str | None = None
    """Column that names a group, such as a user, whose rows are all in one fold."""
    time: str | None = None
    """Column with a number or an ISO date. The rows fall into `folds` + 1 stretches of time; the fold that is moved is the
    stretch behind those that are learnt from, and later rows are rejected."""
    into: Literal["validation", "test"] = "validation"
    """Where the fold goes."""

    @model_validator(mode="after")
    def fold_is_one_of_the_folds(self) -> Self:
        if self.fold >= self.folds:
            raise ValueError(f"fold={self.fold} is not one of {self.folds} folds, expected 0 to {self.folds - 1}")
        return self

    @model_validator(mode="after")
    def rows_are_dealt_in_one_way(self) -> Self:
        if self.column is not None and self.time is not None:
            raise ValueError(f"column={self.column} and time={self.time} deal rows out in different ways; keep one")
        return self


class LeakCheckStage(NearComparison):
    """Looks for training rows that validation or test rows repeat, exactly or nearly: what is measured would be memory.

    Its place is behind the stages that split and make rows. Labels do not count. Near repeats are found by MinHash.
    """

    kind: Literal["leak_check"] = "leak_check"
    action: Literal["fail", "reject_train", "note"] = "fail"
    """What happens if there are any: the run fails, the training rows are rejected, or the rows measured on are noted
    as `leak`, with the place of the training row."""


class BalanceStage(TrainOnlyStage):
    """As many training rows of every class: rows of small classes are copied, rows of large ones rejected.

    Which rows, is drawn. Copies are tagged as made from their row, so they are counted as added.
    """

    kind: Literal["balance"] = "balance"
    column: str = "label"
    """Label or other column that says the class of a row."""
    target: Literal["max", "min", "median"] | Annotated[int, Field(ge=1)] = "max"
    """Rows that each class shall have: as many as the largest, smallest or median class, or a number."""
    smaller: Literal["copy", "keep"] = "copy"
    """What happens to classes with fewer rows than that."""
    larger: Literal["reject", "keep"] = "reject"
    """What happens to classes with more rows than that."""
    max_copies: int = Field(default=10, ge=1)
    """Most copies made of a row, even if its class stays short: what is seen too often is learnt by heart."""


class InverseFrequency(Config):
    """Classes count alike: a row weighs rows / (classes x rows of its class)."""

    kind: Literal["inverse_frequency"] = "inverse_frequency"
    column: str = "label"
    """Label or other column that says the class of a row."""


class EffectiveNumber(Config):
    """Milder than `inverse_frequency`: by the effective number of rows of a class, (1 - beta^rows) / (1 - beta) (Cui et al. 2019).

    Weights are scaled so that their mean over the rows is 1.
    """

    kind: Literal["effective_number"] = "effective_number"
    beta: float = Field(default=0.999, ge=0.0, lt=1.0)
    """0 weighs all rows alike; the nearer to 1, the nearer to `inverse_frequency`."""
    column: str = "label"
    """Label or other column that says the class of a row."""


class GivenWeights(Config):
    """Weights of classes by name."""

    kind: Literal["given"] = "given"
    weights: dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]] = Field(min_length=1)
    """Class and weight; a class that is not named weighs 1."""
    column: str = "label"
    """Label or other column that says the class of a row."""


class WeightColumn(Config):
    """Each row says its own weight."""

    kind: Literal["column"] = "column"
    column: str
    """Column with a number of at least 0."""


class WeightsStage(TrainOnlyStage):
    """How much each training row counts in the loss. A weight that a row has already is multiplied."""

    kind: Literal["weights"] = "weights"
    by: Annotated[
        InverseFrequency | EffectiveNumber | GivenWeights | WeightColumn,
        Field(discriminator="kind"),
        BeforeValidator(with_default_kind("inverse_frequency")),
    ] = InverseFrequency()
    """Where weights come from."""


SplittingStage = SplitStage | KFoldStage | LeakCheckStage | BalanceStage | WeightsStage
"""The kinds that decide what is learnt from and what is measured on, and how much it counts."""
