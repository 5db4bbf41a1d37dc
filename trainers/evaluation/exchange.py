"""What a row asks of a model and what it expects: the same for a model that is loaded here and one behind an endpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from cluster.config import DataConfig
from trainers.data.encode import ParsedRow, parse_row
from trainers.data.shapes import Conversation, Example, LabelledText, PromptCompletion, PromptOnly, to_row
from trainers.data.sources import Sources
from trainers.evaluation.result import Prediction

Messages = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One question.

    Attributes:
        asked: the turns before the answer, or a text that is continued.
        reference: the answer that is expected; None where the row has none.
        tools: functions that the model may call.
    """

    asked: Messages | str
    reference: str | None
    tools: list[dict[str, Any]] | None = None

    @property
    def prompt(self) -> str:
        """What is asked, as people read it."""
        if isinstance(self.asked, str):
            return self.asked
        if len(self.asked) == 1:
            return str(self.asked[0]["content"])
        return "\n".join(f"{message['role']}: {message['content']}" for message in self.asked)


def exchange(example: Example) -> Exchange | None:
    """The last question of a row; None where nothing is asked (plain text) or the answer is the call of a function."""
    if isinstance(example, PromptCompletion):
        return Exchange(example.prompt, example.completion)
    if isinstance(example, PromptOnly):
        asked = example.prompt
        return Exchange(asked if isinstance(asked, str) else list(asked), None, example.tools)
    if not isinstance(example, Conversation):
        return None
    turns = [at for at, message in enumerate(example.messages) if message["role"] == "assistant"]
    if not turns:
        return Exchange(list(example.messages), None, example.tools)
    reference = example.messages[turns[-1]]["content"]
    if not reference.strip():  # a call of a function: its text depends on the template
        return None
    return Exchange(list(example.messages[: turns[-1]]), reference, example.tools)


def read_row(
    sources: Sources, place: tuple[int, int], row: str, config: DataConfig, kind: str, *, to_learn: bool = True
) -> ParsedRow:
    """One row of the data, given as JSON text.

    Args:
        kind: of the model that is scored.
        to_learn: refuse rows without an answer.

    Raises:
        DataError: with file and line.
    """
    return parse_row(sources, place, row, config, kind == "classification", to_learn=to_learn)


def described(prediction: Prediction, parsed: ParsedRow, place: str) -> Prediction:
    """A prediction with what is known of its row whatever the model.

    Args:
        place: file and line it was read from, where the row does not say so itself.
    """
    return dataclasses.replace(
        prediction,
        place=parsed.place or place,
        key=row_key(parsed.example),
        prompt=_prompt(parsed.example),
        columns=parsed.columns,
    )


def row_key(example: Example) -> str:
    """Hash of what a row says, whatever file it is in and whatever its other columns hold."""
    said = json.dumps(to_row(example), sort_keys=True, default=str)
    return hashlib.blake2b(said.encode(), digest_size=12).hexdigest()


def _prompt(example: Example) -> str | None:
    if isinstance(example, LabelledText):
        return example.text
    found = exchange(example)
    return found.prompt if found else _before_last_answer(example)


def _before_last_answer(example: Example) -> str | None:
    """The turns before a call of a function."""
    if not isinstance(example, Conversation):
        return None
    turns = [at for at, message in enumerate(example.messages) if message["role"] == "assistant"]
    return Exchange(list(example.messages[: turns[-1]]), None).prompt if turns else None
