"""Row shapes: what a row looks like, told from its columns, and what there is to learn from it.

One file for each family. `read_example` turns a row of any shape into one of the classes of `Example`; `to_row` turns
that into its canonical row, which `read_example` reads back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from cluster.config.data import Columns, DataConfig
from cluster.exceptions import DataError
from trainers.data.shapes.base import (
    INSTRUCTION_COLUMNS,
    LABEL_COLUMNS,
    OUTPUT_COLUMNS,
    TEXT_COLUMNS,
    Message,
    Row,
    SeenRow,
    find,
    is_truth,
    kind,
    name_list,
)
from trainers.data.shapes.classification import (
    TAG_COLUMNS,
    WORD_COLUMNS,
    LabelledText,
    MultiLabelText,
    TaggedTokens,
    from_multi_label,
    from_text_label,
    from_token_classification,
)
from trainers.data.shapes.conversation import (
    Conversation,
    conversation,
    from_alpaca,
    from_messages,
    from_sharegpt,
)
from trainers.data.shapes.embedding import ANCHOR_COLUMNS, TextPair, from_embedding
from trainers.data.shapes.preference import (
    REJECTED_COLUMNS,
    Preference,
    PromptOnly,
    Stepwise,
    Unpaired,
    from_preference,
    from_prompt_only,
    from_stepwise,
    from_unpaired,
)
from trainers.data.shapes.text import (
    PromptCompletion,
    Text,
    TokenIds,
    from_pretokenised,
    from_prompt_completion,
    from_text,
)

Example = (
    Conversation
    | PromptCompletion
    | Text
    | TokenIds
    | LabelledText
    | MultiLabelText
    | TaggedTokens
    | Preference
    | Unpaired
    | Stepwise
    | PromptOnly
    | TextPair
)
SHAPES: dict[str, Callable[[Row, DataConfig], Example]] = {
    "messages": from_messages,
    "sharegpt": from_sharegpt,
    "alpaca": from_alpaca,
    "prompt_completion": from_prompt_completion,
    "text": from_text,
    "pretokenised": from_pretokenised,
    "text_label": from_text_label,
    "multi_label": from_multi_label,
    "token_classification": from_token_classification,
    "preference": from_preference,
    "unpaired": from_unpaired,
    "stepwise": from_stepwise,
    "prompt_only": from_prompt_only,
    "embedding": from_embedding,
}
LEARNT = {
    "sft": ("messages", "sharegpt", "alpaca", "prompt_completion", "text", "pretokenised"),
    "classification": ("text_label",),
}
"""`train.objective.kind` -> shapes of the rows that it learns from."""
KNOWN = (
    "messages ({messages: [{role, content}]}), sharegpt ({conversations: [{from, value}]}), "
    "alpaca ({instruction, input, output}), prompt_completion ({prompt, completion}), text ({text}), "
    "text_label ({text, label}), or another of docs/data-sources.md"
)


def to_row(example: Example) -> dict[str, Any]:
    """The canonical form of a row, which `read_example` reads back: the fields that are set, by name."""
    fields = ((field.name, getattr(example, field.name)) for field in dataclasses.fields(example))
    return {name: value for name, value in fields if value is not None}


def detect(columns: Row | set[str] | list[str], config: DataConfig, classification: bool = False) -> str:
    """Name of the shape that a row with these columns has.

    Args:
        columns: the row, or only the names of its columns.
        classification: a class is to be learnt, so text with a label comes first and text alone will not do.

    Raises:
        DataError: if no known shape has these columns.
    """
    if config.shape != "auto":
        return config.shape
    names, row = set(columns), columns if isinstance(columns, Mapping) else {}
    judged = _judged(names, row, config.columns)
    labelled = _labelled(names, row, config.columns) if classification else None
    generative = None if classification else _generative(names, config.columns)
    if found := labelled or judged or generative or _other(names, config.columns, classification):
        return found
    hint = "train.objective.kind=classification needs a text and a label column" if classification else KNOWN
    raise DataError(
        f"found the columns {name_list(names)}, which are of no known shape; expected {hint}. "
        "Rename the columns, or name them under data.columns"
    )


def _labelled(names: set[str], row: Row, renamed: Columns) -> str | None:
    label = find(names, renamed.label, LABEL_COLUMNS)
    if label is None or not find(names, renamed.text, TEXT_COLUMNS):
        return None
    return "multi_label" if isinstance(row.get(label), list) else "text_label"


def _judged(names: set[str], row: Row, renamed: Columns) -> str | None:
    """Shapes that hold a verdict beside an answer: to learn such an answer as if it were right must be asked for."""
    rejected = find(names, renamed.rejected, REJECTED_COLUMNS)
    if rejected == "rejected_response" or (rejected and (renamed.chosen or "chosen") in names):
        return "preference"
    prompt, label = renamed.prompt or "prompt", renamed.label or "label"
    has_answer = {prompt, renamed.completion or "completion"} <= names
    if "kto_tag" in names or (has_answer and label in names and is_truth(row.get(label, True))):
        return "unpaired"
    return "stepwise" if {prompt, "completions", "labels"} <= names else None


def _generative(names: set[str], renamed: Columns) -> str | None:
    if (renamed.messages or "messages") in names:
        return "messages"
    if "conversations" in names:
        return "sharegpt"
    if {renamed.prompt or "prompt", renamed.completion or "completion"} <= names:
        return "prompt_completion"
    if find(names, None, INSTRUCTION_COLUMNS) and find(names, None, OUTPUT_COLUMNS):
        return "alpaca"
    if (renamed.text or "text") in names:
        return "text"
    return None


def _other(names: set[str], renamed: Columns, classification: bool) -> str | None:
    if find(names, renamed.tokens, WORD_COLUMNS) and find(names, renamed.tags, TAG_COLUMNS):
        return "token_classification"
    if find(names, renamed.anchor, ANCHOR_COLUMNS) and (renamed.positive or "positive") in names:
        return "embedding"
    if classification:
        return None
    if "input_ids" in names:
        return "pretokenised"
    return "prompt_only" if (renamed.prompt or "prompt") in names else None


def read_example(row: Any, config: DataConfig, classification: bool = False) -> Example:
    """What there is to learn from one parsed row.

    Raises:
        DataError: if the row has no known shape, or nothing to learn. The caller adds file and line.
    """
    return read_row(row, config, classification)[0]


def read_row(
    row: Any, config: DataConfig, classification: bool = False, to_learn: bool = True
) -> tuple[Example, dict[str, Any]]:
    """What there is to learn from one parsed row, and its other columns.

    Args:
        to_learn: refuse shapes that no objective learns from; otherwise they are read too, to be looked at.

    Raises:
        DataError: if the row has no known shape, or nothing to learn.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"found a JSON {kind(row)}, expected an object with named columns, as in {KNOWN}")
    shape = detect(row, config, classification)
    _check_objective(shape, "classification" if classification else "sft", to_learn)
    seen = SeenRow(row)
    return SHAPES[shape](seen, config), seen.rest()


def _check_objective(shape: str, objective: str, to_learn: bool) -> None:
    """Refuse rows that belong to another objective, and rows of none unless they are only looked at."""
    if shape in LEARNT[objective]:
        return
    if any(shape in shapes for shapes in LEARNT.values()):
        wanted = "a label to learn" if objective == "classification" else "text to generate"
        raise DataError(
            f"rows of shape {shape} do not fit train.objective.kind={objective}, which needs {wanted}; "
            "change data.shape or the objective"
        )
    if to_learn:
        learnt = "; ".join(f"{name} learns from {', '.join(shapes)}" for name, shapes in LEARNT.items())
        raise DataError(
            f"rows of shape {shape} can be looked at, but no objective learns from them yet ({learnt}); "
            "give other rows, or say with data.shape how to read these"
        )


__all__ = [
    "KNOWN",
    "LEARNT",
    "SHAPES",
    "Conversation",
    "Example",
    "LabelledText",
    "Message",
    "MultiLabelText",
    "Preference",
    "PromptCompletion",
    "PromptOnly",
    "Row",
    "Stepwise",
    "TaggedTokens",
    "Text",
    "TextPair",
    "TokenIds",
    "Unpaired",
    "conversation",
    "detect",
    "read_example",
    "read_row",
    "to_row",
]
