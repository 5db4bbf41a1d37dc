"""What is learnt from judged answers: pairs of a better and a worse one, single ones, steps, and prompts alone."""

from __future__ import annotations

import dataclasses
from typing import Any

from cluster.config.data import DataConfig
from cluster.exceptions import DataError
from trainers.data.shapes.base import (
    CONVERSATION_COLUMNS,
    INSTRUCTION_COLUMNS,
    OUTPUT_COLUMNS,
    Message,
    Row,
    column,
    filled,
    find,
    list_of,
    parse_if_json,
    shorten,
    string,
    truth,
)
from trainers.data.shapes.conversation import (
    assistant,
    check_answer,
    instruction,
    read_messages,
    system_of,
    tools_of,
    with_system,
)

TextOrMessages = str | list[Message]
REJECTED_COLUMNS = ("rejected", "rejected_response")
VERDICT_COLUMNS = ("kto_tag", "label")


@dataclasses.dataclass(frozen=True)
class Preference:
    """A prompt with a better and a worse answer: plain text, or messages to be rendered by a chat template."""

    prompt: TextOrMessages
    chosen: TextOrMessages
    rejected: TextOrMessages
    tools: list[dict[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Unpaired:
    """A prompt with one answer, and whether it is a good one."""

    prompt: TextOrMessages
    completion: TextOrMessages
    label: bool
    tools: list[dict[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Stepwise:
    """A prompt with the steps of an answer, and for each whether it is right."""

    prompt: str
    completions: list[str]
    labels: list[bool]


@dataclasses.dataclass(frozen=True)
class PromptOnly:
    """A prompt without an answer. What a reward needs to know stands in the other columns of the row."""

    prompt: TextOrMessages
    tools: list[dict[str, Any]] | None = None


def from_preference(row: Row, config: DataConfig) -> Preference:
    """Prompt, chosen and rejected; a conversation with both answers; or one with its answer and `rejected_response`."""
    columns = config.columns
    rejected = parse_answer(column(row, columns.rejected, REJECTED_COLUMNS, "worse answer"))
    turns = find(row, columns.messages, CONVERSATION_COLUMNS)
    if turns is not None and row[turns]:
        prompt, chosen = _conversation_and_chosen(row, row[turns], config)
    else:
        chosen = parse_answer(column(row, columns.chosen, ("chosen",), "better answer"))
        prompt, chosen, rejected = _apart(row, chosen, rejected, config)
    tools = None
    if isinstance(prompt, str) and isinstance(chosen, str) and isinstance(rejected, str):
        chosen, rejected = filled(chosen, "chosen answer"), filled(rejected, "rejected answer")
    else:
        prompt, tools = _as_messages(prompt, row, config), tools_of(row, config)
        chosen, rejected = _answer(chosen, config), _answer(rejected, config)
    if chosen == rejected:
        raise DataError(f"chosen and rejected are the same, {shorten(chosen)}; there is nothing to prefer")
    return Preference(prompt, chosen, rejected, tools)


def _conversation_and_chosen(row: Row, turns: Any, config: DataConfig) -> tuple[TextOrMessages, Any]:
    """A conversation and the better answer: in a column of its own, or the last message."""
    messages = read_messages(turns, config.columns)
    if find(row, config.columns.chosen, ("chosen",)):
        return messages, parse_answer(row[config.columns.chosen or "chosen"])
    return split_answer(messages)


def _apart(row: Row, chosen: Any, rejected: Any, config: DataConfig) -> tuple[TextOrMessages, Any, Any]:
    """Prompt and answers, where both answers may begin with the prompt."""
    if not (isinstance(chosen, list) and isinstance(rejected, list)):
        return _prompt(row, config), chosen, rejected
    chosen, rejected = (read_messages(one, config.columns) for one in (chosen, rejected))
    if chosen[0]["role"] == "assistant":
        return _prompt(row, config), chosen, rejected
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    if not 0 < same < min(len(chosen), len(rejected)):
        raise DataError("chosen and rejected do not part after a common prompt; give the prompt in a column of its own")
    row.get(config.columns.prompt or "prompt")  # said in the answers already, so it does not travel beside them
    return chosen[:same], chosen[same:], rejected[same:]


def _prompt(row: Row, config: DataConfig) -> TextOrMessages:
    """Plain text in a column `prompt` stays as it is; an instruction becomes a message."""
    columns = config.columns
    if columns.input is not None or (columns.prompt is None and "prompt" not in row):
        return instruction(row, config)
    prompt = column(row, columns.prompt, ("prompt", *INSTRUCTION_COLUMNS), "prompt")
    return read_messages(prompt, columns) if isinstance(prompt, list) else string(prompt, "prompt")


def parse_answer(value: Any) -> Any:
    """An answer as text, as one message, or as several; nested ones may be JSON text."""
    if isinstance(value, str) and value.lstrip()[:2] in ("[{", '{"'):
        try:
            return parse_if_json(value)
        except DataError:  # an answer that only begins like JSON
            return value
    return value


def _as_messages(prompt: TextOrMessages, row: Row, config: DataConfig) -> list[Message]:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return with_system(messages, system_of(row, config))


def _answer(value: Any, config: DataConfig) -> list[Message]:
    if isinstance(value, dict):
        value = [value]
    messages = read_messages(value, config.columns) if isinstance(value, list) else [assistant(value)]
    if messages[0]["role"] != "assistant":
        raise DataError(f"an answer begins with the role {messages[0]['role']}, expected assistant")
    check_answer(messages[0])
    return messages


def split_answer(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """The prompt, and the answer at its end."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(f"found the roles {roles}, expected a prompt with an assistant message as its last")
    return messages[:-1], messages[-1:]


def from_unpaired(row: Row, config: DataConfig) -> Unpaired:
    """A prompt with an answer, or a conversation, and `label` or `kto_tag`."""
    columns = config.columns
    label = truth(column(row, columns.label, VERDICT_COLUMNS, "verdict"), "label of an unpaired row")
    turns = find(row, columns.messages, CONVERSATION_COLUMNS)
    if turns is not None and row[turns]:
        prompt, completion = split_answer(read_messages(row[turns], columns))
        check_answer(completion[0])
        return Unpaired(_as_messages(prompt, row, config), completion, label, tools_of(row, config))
    given = _prompt(row, config)
    answer = parse_answer(column(row, columns.completion, ("completion", *OUTPUT_COLUMNS), "completion"))
    if isinstance(given, str) and isinstance(answer, str):
        return Unpaired(given, filled(answer, "completion"), label)
    return Unpaired(_as_messages(given, row, config), _answer(answer, config), label, tools_of(row, config))


def from_stepwise(row: Row, config: DataConfig) -> Stepwise:
    columns = config.columns
    prompt = string(column(row, columns.prompt, ("prompt", *INSTRUCTION_COLUMNS), "prompt"), "prompt")
    steps = list_of(column(row, columns.completion, ("completions",), "steps"), str, "completions", "texts")
    labels = parse_if_json(column(row, columns.label, ("labels",), "verdict on each step"))
    if not isinstance(labels, list) or len(labels) != len(steps):
        raise DataError(f"labels is {shorten(labels)}, expected true or false for each of {len(steps)} completions")
    return Stepwise(prompt, steps, [truth(label, "label of a step") for label in labels])


def from_prompt_only(row: Row, config: DataConfig) -> PromptOnly:
    """A prompt as text or messages; the other columns, such as an answer, travel beside it."""
    columns = config.columns
    turns = find(row, columns.messages, CONVERSATION_COLUMNS)
    if turns is None:
        prompt = column(row, columns.prompt, ("prompt", *INSTRUCTION_COLUMNS), "prompt")
        if not isinstance(prompt, list):
            return PromptOnly(filled(prompt, "prompt"))
    messages = read_messages(row[turns] if turns else prompt, columns)
    if messages[-1]["role"] == "assistant":
        raise DataError("the prompt ends with an assistant message, expected one of the user; remove the answer")
    return PromptOnly(with_system(messages, system_of(row, config)), tools_of(row, config))
