"""What every stage of `data.stages` has in common."""

from typing import Literal

from pydantic import Field

from cluster.config.base import Config

Split = Literal["train", "validation", "test"]
Role = Literal["system", "developer", "user", "assistant", "tool", "text", "prompt", "completion", "chosen", "rejected"]
"""Whose words a text of a row is."""


class StageConfig(Config):
    """A named step between reading rows and tokenising them."""

    kind: str
    """Which stage it is."""
    splits: list[Split] = Field(default=["train", "validation", "test"], min_length=1)
    """Rows of which splits it looks at; the others pass by."""
    on_error: Literal["fail", "reject"] = "fail"
    """What happens when the stage itself raises on a row: the run fails and names the row, or the row is rejected."""

    @property
    def name(self) -> str:
        """What it is called in counts and reasons."""
        return self.kind


class TrainOnlyStage(StageConfig):
    """A stage that looks at training rows and at no others, such as augmentation."""

    splits: list[Literal["train"]] = Field(default=["train"], min_length=1)  # type: ignore[assignment]
    """Training rows only: what is measured on stays as it is."""
