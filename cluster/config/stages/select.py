"""Stages that choose among rows: doubles, samples, weights, order, rows that look wrong."""

from typing import Literal

from pydantic import Field

from cluster.config.stages.base import Split, StageConfig

Ignored = Literal["case", "whitespace", "punctuation"]


class _Duplicates(StageConfig):
    """A stage that compares rows with each other."""

    roles: list[str] | None = None
    """Compare only the texts of these roles (`user`, `assistant`, `text`, ...). Empty: all that a row says."""
    ignore: list[Ignored] = Field(default=["case", "whitespace"])
    """Differences that do not count. Unicode's ways to write the same letter never do."""
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


SelectionStage = ExactDuplicatesStage
"""The kinds that choose among rows."""
