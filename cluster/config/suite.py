"""`evaluate.suites` data sets that every new version is scored on beside its own test rows."""

from typing import Literal, Self

from pydantic import Field, model_validator

from cluster.config.base import Config
from cluster.config.source import AnySource, Entries, as_sources


class SuiteConfig(Config):
    """A named data set that a model is scored on at the end of its training, and by `mobula evaluate --suite`."""

    kind: Literal["out_of_domain", "left_out_task", "language", "regression"] = "out_of_domain"
    """What it is for. `out_of_domain` and `left_out_task`: data of another kind than the model learnt from; how far its
    scores lie below those of the test rows is shown. `language`: scores by language. `regression`: a new version must
    reach `minimum`."""
    data: Entries
    """Its rows, in the shape of the run's own."""
    minimum: dict[str, float] = Field(default_factory=dict)
    """Metric and the value it must at least reach (for losses: at most). `mobula evaluate --suite` ends with status 3
    where one does not."""
    slices: list[str] = Field(default_factory=list)
    """Columns or expressions whose values are scored one by one. Default: `evaluate.slices`."""

    @model_validator(mode="after")
    def a_regression_suite_asks_for_something(self) -> Self:
        if self.kind == "regression" and not self.minimum:
            raise ValueError("kind=regression asks for nothing; set minimum, such as {accuracy: 0.9}")
        return self

    @property
    def sources(self) -> list[AnySource]:
        """Where its rows lie, in the long form."""
        return as_sources(self.data)
