"""How the rows of several sources are mixed."""

from typing import Literal, Self

from pydantic import Field, model_validator

from cluster.config.stages.base import TrainOnlyStage


class MixStage(TrainOnlyStage):
    """Rows of several sources, drawn one by one with the weights of the sources, in the order of each source."""

    kind: Literal["mix"] = "mix"
    stop: Literal["first_exhausted", "all_exhausted", "tokens"] = "first_exhausted"
    """When to stop drawing: as the first source has given its last row, so that none is drawn twice; as every source has
    given its last, those that run out earlier starting again; or after so many `tokens`."""
    tokens: int | None = Field(default=None, ge=1)
    """With `stop: tokens`: how many. They are estimated as a quarter of the bytes of a row's texts, because mixing comes
    before any tokenizer."""

    @model_validator(mode="after")
    def tokens_are_given_to_stop_by_them(self) -> Self:
        if (self.stop == "tokens") != (self.tokens is not None):
            raise ValueError(
                f"stop={self.stop} and tokens={self.tokens} do not fit; give tokens with stop: tokens only"
            )
        return self
