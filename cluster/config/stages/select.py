"""Stages that choose among rows: doubles, samples, weights, order, rows that look wrong."""

from typing import Literal

from pydantic import Field

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


SelectionStage = ExactDuplicatesStage | NearDuplicatesStage
"""The kinds that choose among rows."""
