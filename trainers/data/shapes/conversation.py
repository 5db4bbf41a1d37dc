"""Conversations, however they are written: messages, sharegpt, alpaca."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cluster.config.data import Columns, DataConfig
from cluster.exceptions import DataError
from trainers.data.shapes.base import (
    INSTRUCTION_COLUMNS,
    OUTPUT_COLUMNS,
    Message,
    Row,
    column,
    find,
    optional,
    parse_if_json,
    shorten,
    string,
)

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "observation": "tool",
    "function_call": "function_call",
    "function": "tool",
}


@dataclasses.dataclass(frozen=True)
class Conversation:
    """Messages to be rendered by a chat template; the assistant's carry loss."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None


def from_messages(row: Row, config: DataConfig) -> Conversation:
    turns = column(row, config.columns.messages, ("messages",), "conversation")
    return answered(read_messages(turns, config.columns), row, config)


def from_sharegpt(row: Row, config: DataConfig) -> Conversation:
    turns = column(row, config.columns.messages, ("conversations", "conversation", "messages"), "conversation")
    return answered(read_messages(turns, config.columns), row, config)


def answered(messages: list[Message], row: Row, config: DataConfig) -> Conversation:
    """Messages of a row with its system message and tools, as a conversation to learn from."""
    return conversation(messages, system_of(row, config), tools_of(row, config))


def system_of(row: Row, config: DataConfig) -> str | None:
    """What is put before a conversation that has no system message."""
    system = optional(row, config.columns.system, "system") or config.system
    return system if isinstance(system, str) else None


def with_system(messages: list[Message], system: str | None) -> list[Message]:
    """Messages with the system message before them, if they have none."""
    if system and messages[0]["role"] not in ("system", "developer"):
        return [{"role": "system", "content": system}, *messages]
    return messages


def conversation(
    messages: list[Message], system: str | None, tools: list[dict[str, Any]] | None = None
) -> Conversation:
    """A conversation with something to learn in it, `system` put before it if it has no system message.

    Raises:
        DataError: if no message is the assistant's, or one of the assistant's is empty.
    """
    messages = with_system(messages, system)
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(f"no assistant message to learn from: found the roles {roles}; add the answer")
    for answer in answers:
        check_answer(answer)
    return Conversation(messages, tools)


def check_answer(answer: Message) -> None:
    """Refuse an answer that says nothing."""
    if not answer.get("tool_calls") and not answer["content"].strip():
        raise DataError("an empty answer: the assistant's message has no text; fill it in or remove the row")


def read_messages(turns: Any, columns: Columns) -> list[Message]:
    """Messages in the usual form: roles of any tool's vocabulary become `system`, `user`, `assistant` and `tool`."""
    turns = parse_if_json(turns)
    if not isinstance(turns, list) or not turns:
        raise DataError(f"the conversation is {shorten(turns)}, expected a list of messages with role and content")
    return [_message(turn, columns) for turn in turns]


def _message(turn: Any, columns: Columns) -> Message:
    if not isinstance(turn, Mapping):
        raise DataError(f"a message is {shorten(turn)}, expected an object with role and content")
    said = _first(turn, (columns.role, "role", "from"))  # Parquet gives every message all keys, some of them null
    content = _first(turn, (columns.content, "content", "value"))
    known = {**ROLES, **columns.roles}
    role = known.get(said) if isinstance(said, str) else None
    if role is None:
        raise DataError(
            f"a message has the role {shorten(said)}, expected one of {', '.join(sorted(known))}; "
            "say what it stands for under data.columns.roles"
        )
    if role == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": _function_calls(content)}
    calls = _tool_calls(turn["tool_calls"]) if turn.get("tool_calls") else None
    message: Message = {"role": role, "content": _content(content, calls is not None)}
    extra = {key: turn[key] for key in ("name", "tool_call_id", "reasoning_content") if turn.get(key)}
    return message | extra | ({"tool_calls": calls} if calls else {})


def _first(turn: Mapping[str, Any], keys: tuple[str | None, ...]) -> Any:
    """The first value that is set."""
    return next((turn[key] for key in keys if key is not None and turn.get(key) is not None), None)


def _tool_calls(calls: Any) -> Any:
    calls = parse_if_json(calls)
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if not functions or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in functions):
        raise DataError(
            f"tool_calls is {shorten(calls)}, expected a list of "
            '{"type": "function", "function": {"name": ..., "arguments": {...}}}'
        )
    return calls


def _content(content: Any, may_be_missing: bool) -> str:
    if content is None and may_be_missing:
        return ""
    if isinstance(content, list):
        if any(not isinstance(part, Mapping) or part.get("type", "text") != "text" for part in content):
            raise DataError(f"a message holds {shorten(content)}, expected text parts only")
        return "".join(str(part.get("text") or "") for part in content)
    if content is None:
        return ""
    return string(content, "message content")


def _function_calls(content: Any) -> list[dict[str, Any]]:
    calls = parse_if_json(content)
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, Mapping) and "name" in call for call in calls):
        raise DataError(f"a function_call is {shorten(content)}, expected JSON with name and arguments")
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": call.get("arguments", {})}}
        for call in calls
    ]


def tools_of(row: Row, config: DataConfig) -> list[dict[str, Any]] | None:
    """The tools that a conversation may call."""
    tools = optional(row, config.columns.tools, "tools")
    tools = parse_if_json(tools) if tools else None
    if tools is not None and not isinstance(tools, list):
        raise DataError(f"tools is {shorten(tools)}, expected a list of JSON schemas")
    return [_as_served(tool) for tool in tools or []] or None


def _as_served(tool: Any) -> dict[str, Any]:
    """A tool in the very form in which a chat endpoint (vLLM 0.29) hands it to the template."""
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise DataError(
            f"a tool is {shorten(tool)}, expected "
            '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'
        )
    kept = {key: function.get(key) for key in ("name", "description", "parameters")}
    return {"type": "function", "function": kept}


def from_alpaca(row: Row, config: DataConfig) -> Conversation:
    """Instruction and output; `input` is put below the instruction, `history` holds earlier exchanges."""
    answer = column(row, config.columns.completion, OUTPUT_COLUMNS, "output")
    return answered([*instruction(row, config), assistant(answer)], row, config)


def instruction(row: Row, config: DataConfig) -> list[Message]:
    """Everything before the answer of an alpaca row, but for the system message."""
    columns = config.columns
    name = find(row, columns.prompt, INSTRUCTION_COLUMNS)
    question = string(column(row, columns.prompt, INSTRUCTION_COLUMNS, "instruction"), "instruction")
    below = columns.input or "input"
    if name != below and row.get(below):
        question = f"{question}\n{string(row[below], 'input')}".lstrip("\n")
    history = parse_if_json(optional(row, columns.history, "history")) or []
    if not isinstance(history, list):
        raise DataError(f"history is {shorten(history)}, expected pairs of question and answer")
    messages: list[Message] = []
    for exchange in history:
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise DataError(f"history holds {shorten(exchange)}, expected pairs of question and answer")
        messages += [{"role": "user", "content": string(exchange[0], "instruction")}, assistant(exchange[1])]
    return [*messages, {"role": "user", "content": question}]


def assistant(answer: Any) -> Message:
    """An answer as a message."""
    return {"role": "assistant", "content": "" if answer is None else string(answer, "output")}
