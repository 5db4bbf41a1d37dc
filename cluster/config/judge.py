"""`evaluate.judge`, `evaluate.ratings` and dialogue files: answers judged by a model, by people, and in conversations."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from cluster.config.base import Config
from cluster.config.engine import EngineConfig, OpenAIEngine


class Criterion(Config):
    """One thing that an answer is scored for."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$")
    """What it is called in the results: `judge.NAME`."""
    description: str = Field(min_length=1)
    """What the judge is told about it: what a low and what a high score mean."""
    weight: float = Field(default=1.0, gt=0.0)
    """How much it counts in the mean of all criteria."""


class Rubric(Config):
    """Scores for criteria."""

    criteria: list[Criterion] = Field(min_length=1)
    """What answers are scored for."""
    lowest: int = 1
    """Worst score."""
    highest: int = 5
    """Best score."""

    @model_validator(mode="after")
    def scores_can_differ(self) -> Self:
        if self.lowest >= self.highest:
            raise ValueError(f"lowest={self.lowest} is not below highest={self.highest}; widen the scale")
        return self

    @field_validator("criteria")
    @classmethod
    def names_are_distinct(cls, criteria: list[Criterion]) -> list[Criterion]:
        names = [criterion.name for criterion in criteria]
        if len(names) != len(set(names)):
            raise ValueError(f"criteria have the names {', '.join(names)}; give each its own")
        return criteria


class Pairwise(Config):
    """Two answers to the same question compared, each in the first place once: a verdict that turns with the places is a tie."""

    against: str = "reference"
    """What the model's answers are compared with: `reference`, or the column of the rows that holds other answers."""
    question: str = "Which of the two answers serves the person who asked better?"
    """What the judge decides."""


class Factuality(Config):
    """Claims of an answer checked against sources: each is supported by them, contradicted, or not found in them."""

    sources: str = Field(min_length=1)
    """Column of the rows that holds the sources: a text, or a list of texts."""


class Grading(Config):
    """Answers graded against the reference."""

    instructions: str = (
        "An answer is correct if it says what the reference says, in whatever words; partly, if it says some of it and "
        "nothing that contradicts it; wrong otherwise."
    )
    """What makes an answer correct, partly correct or wrong."""


class JudgeConfig(Config):
    """A language model that judges answers. At least one of `rubric`, `pairwise`, `factuality` and `grading` says what for."""

    engine: EngineConfig
    """Who judges: better a larger model than the one judged, and not the same one."""
    rubric: Rubric | None = None
    """Score each answer for criteria."""
    pairwise: Pairwise | None = None
    """Compare each answer with another one."""
    factuality: Factuality | None = None
    """Check each answer against sources."""
    grading: Grading | None = None
    """Grade each answer against its reference."""
    system: str | None = None
    """Who the judge is told to be. Default: an impartial judge."""
    structured: bool = True
    """Have the engine hold the judge to the form of its answer (`response_format` with a JSON schema). `false` for endpoints
    that refuse this; the form is then only asked for."""
    reasons: bool = True
    """Have the judge say why before it decides: slower, and more often right."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Spread of the judge's words."""
    max_tokens: int = Field(default=512, ge=16)
    """Longest verdict, in tokens."""

    @model_validator(mode="after")
    def something_is_judged(self) -> Self:
        if not (self.rubric or self.pairwise or self.factuality or self.grading):
            raise ValueError("nothing to judge; add rubric, pairwise, factuality or grading")
        return self


class RatingsConfig(Config):
    """Ratings by people: one line for each row and rater, in JSONL or CSV."""

    path: str = Field(min_length=1)
    """The file."""
    by: Literal["key", "place", "prompt"] = "key"
    """What names the row: its `key` or `place` as in the predictions that `mobula evaluate --output` writes, or its prompt."""
    row: str | None = None
    """Column that holds this name. Default: `key`, `place` or `prompt`, as `by` says."""
    rater: str = "rater"
    """Column that says who rated."""
    rating: str = "rating"
    """Column that holds the rating, a number."""
    lowest: float | None = None
    """Lowest rating there can be; one below it is refused."""
    highest: float | None = None
    """Highest rating there can be; one above it is refused."""


class Persona(Config):
    """A simulated user."""

    name: str = Field(min_length=1)
    """What it is called in the results."""
    description: str = Field(min_length=1)
    """Who it is and how it writes."""
    goal: str = Field(min_length=1)
    """What it wants; the dialogue succeeds when it gets this."""
    opening: str | None = None
    """Its first message. Default: the user model writes one."""


class DialogueConfig(Config):
    """A file for `mobula evaluate --dialogues`: simulated users talk to the scored endpoint, then success is judged."""

    personas: list[Persona] = Field(min_length=1)
    """Who talks."""
    user: OpenAIEngine
    """The model that plays the users, behind an endpoint: it is asked once for each message."""
    judge: EngineConfig | None = None
    """The model that decides whether a user got what it wanted. Default: the one that plays the users."""
    system: str | None = None
    """System message of the scored model."""
    max_turns: int = Field(default=6, ge=1, le=50)
    """Most messages that a user writes in one dialogue."""
    repeats: int = Field(default=1, ge=1)
    """Dialogues of each persona; users are drawn with `temperature`, so that they differ."""
    temperature: float = Field(default=0.7, ge=0.0)
    """Spread of what users write. The scored model answers at temperature 0."""
    max_tokens: int = Field(default=256, ge=1)
    """Longest message, in tokens."""
    structured: bool = True
    """Have the engine hold the judge to the form of its answer; `false` for endpoints that refuse this."""
    seed: int = Field(default=0, ge=0)
    """Seeds what users write, where the endpoint takes a seed."""

    @field_validator("personas")
    @classmethod
    def names_are_distinct(cls, personas: list[Persona]) -> list[Persona]:
        names = [persona.name for persona in personas]
        if len(names) != len(set(names)):
            raise ValueError(f"personas have the names {', '.join(names)}; give each its own")
        return personas
