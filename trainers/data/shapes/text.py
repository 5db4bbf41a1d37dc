"""Text to be generated without a template, and tokens."""

from __future__ import annotations

import dataclasses

from cluster.config.data import DataConfig
from cluster.exceptions import DataError
from trainers.data.shapes.base import (
    INSTRUCTION_COLUMNS,
    OUTPUT_COLUMNS,
    Row,
    column,
    filled,
    list_of,
    string,
)
from trainers.data.shapes.conversation import Conversation, answered, assistant, read_messages


@dataclasses.dataclass(frozen=True)
class PromptCompletion:
    """Text that is given and text that follows it; no template."""

    prompt: str
    completion: str


@dataclasses.dataclass(frozen=True)
class Text:
    """Text that carries loss from end to end."""

    text: str


@dataclasses.dataclass(frozen=True)
class TokenIds:
    """A row that is tokenised already; `labels` are the ids that carry loss, -100 elsewhere. Default: all of them."""

    input_ids: list[int]
    labels: list[int] | None = None


def from_prompt_completion(row: Row, config: DataConfig) -> Conversation | PromptCompletion:
    """Plain text stays as it is; lists of messages make one conversation."""
    prompt = column(row, config.columns.prompt, ("prompt", *INSTRUCTION_COLUMNS), "prompt")
    completion = column(row, config.columns.completion, ("completion", *OUTPUT_COLUMNS), "completion")
    if isinstance(prompt, list) or isinstance(completion, list):
        turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        answer = completion if isinstance(completion, list) else [assistant(completion)]
        return answered(read_messages(turns + answer, config.columns), row, config)
    if not isinstance(completion, str) or not completion.strip():
        raise DataError("an empty answer: the completion has no text; fill it in or remove the row")
    return PromptCompletion(string(prompt, "prompt"), completion)


def from_text(row: Row, config: DataConfig) -> Text:
    return Text(filled(column(row, config.columns.text, ("text",), "text"), "text"))


def from_pretokenised(row: Row, config: DataConfig) -> TokenIds:
    """Ids as they are; what `attention_mask` hides is padding and left out."""
    del config
    ids = list_of(row["input_ids"], int, "input_ids", "token ids") if "input_ids" in row else None
    if ids is None:
        raise DataError("a pretokenised row has no column input_ids; add it or change data.shape")
    labels = list_of(row["labels"], int, "labels", "token ids") if row.get("labels") is not None else None
    mask = list_of(row["attention_mask"], int, "attention_mask", "0 and 1") if row.get("attention_mask") else None
    for name, other in (("labels", labels), ("attention_mask", mask)):
        if other is not None and len(other) != len(ids):
            raise DataError(f"{name} has {len(other)} entries and input_ids {len(ids)}, expected as many")
    shown = [bool(one) for one in mask] if mask else [True] * len(ids)
    kept = [index for index, is_shown in enumerate(shown) if is_shown]
    return TokenIds([ids[index] for index in kept], [labels[index] for index in kept] if labels else None)
