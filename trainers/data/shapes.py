"""Row shapes: what a row looks like, told from its columns, and what there is to learn from it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from cluster.config.data import Columns, DataConfig
from cluster.exceptions import DataError

Row = Mapping[str, Any]
Message = dict[str, Any]

TEXT_COLUMNS = ("text", "sentence", "utterance", "content", "message", "review", "query", "question", "input")
LABEL_COLUMNS = ("label", "category", "intent", "class", "target", "labels")
INSTRUCTION_COLUMNS = ("instruction", "question", "query", "prompt", "input")
OUTPUT_COLUMNS = ("output", "answer", "response")
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
KNOWN = (
    "messages ({messages: [{role, content}]}), sharegpt ({conversations: [{from, value}]}), "
    "alpaca ({instruction, input, output}), prompt_completion ({prompt, completion}), text ({text}), "
    "text_label ({text, label})"
)


@dataclasses.dataclass(frozen=True)
class Conversation:
    """Messages to be rendered by a chat template; the assistant's carry loss."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None


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
class LabelledText:
    """A text and its class."""

    text: str
    label: str


Example = Conversation | PromptCompletion | Text | LabelledText


def to_row(example: Example) -> dict[str, Any]:
    """The canonical form of a row, which `read_example` reads back: the fields that are set, by name."""
    fields = ((field.name, getattr(example, field.name)) for field in dataclasses.fields(example))
    return {name: value for name, value in fields if value is not None}


def detect(columns: Mapping[str, Any] | set[str] | list[str], config: DataConfig, classification: bool = False) -> str:
    """Name of the shape that a row with these columns has.

    Args:
        classification: a class is to be learnt, so only text with a label will do.

    Raises:
        DataError: if no known shape has these columns.
    """
    names, renamed = set(columns), config.columns
    if config.shape != "auto":
        return config.shape
    if classification:
        if _find(names, renamed.text, TEXT_COLUMNS) and _find(names, renamed.label, LABEL_COLUMNS):
            return "text_label"
    elif found := _detect_generative(names, renamed):
        return found
    hint = "train.objective.kind=classification needs a text and a label column" if classification else KNOWN
    raise DataError(
        f"found the columns {', '.join(sorted(map(str, names))) or '(none)'}, which are of no known shape; expected {hint}. "
        "Rename the columns, or name them under data.columns"
    )


def _detect_generative(names: set[str], renamed: Columns) -> str | None:
    if (renamed.messages or "messages") in names:
        return "messages"
    if "conversations" in names:
        return "sharegpt"
    if {renamed.prompt or "prompt", renamed.completion or "completion"} <= names:
        return "prompt_completion"
    if _find(names, None, INSTRUCTION_COLUMNS) and _find(names, None, OUTPUT_COLUMNS):
        return "alpaca"
    if (renamed.text or "text") in names:
        return "text"
    return None


def _find(names: set[str] | Row, wanted: str | None, usual: tuple[str, ...]) -> str | None:
    if wanted is not None:
        return wanted if wanted in names else None
    return next((name for name in usual if name in names), None)


def read_example(row: Any, config: DataConfig, classification: bool = False) -> Example:
    """What there is to learn from one parsed row.

    Raises:
        DataError: if the row has no known shape, or nothing to learn. The caller adds file and line.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"found a JSON {_kind(row)}, expected an object with named columns, as in {KNOWN}")
    shape = detect(row, config, classification)
    if (shape == "text_label") != classification:
        wanted = "a label to learn" if classification else "text to generate"
        raise DataError(
            f"rows of shape {shape} do not fit train.objective.kind="
            f"{'classification' if classification else 'sft'}, which needs {wanted}; change data.shape or the objective"
        )
    return SHAPES[shape](row, config)


def _kind(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _column(row: Row, wanted: str | None, usual: tuple[str, ...], what: str) -> Any:
    name = _find(row, wanted, usual)
    if name is None:
        raise DataError(
            f"found the columns {', '.join(sorted(map(str, row)))}, expected a column with the {what} "
            f"({wanted or ', '.join(usual)}); name it under data.columns"
        )
    return row[name]


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"the {what} is {_shorten(value)}, expected text")
    return value


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def from_messages(row: Row, config: DataConfig) -> Conversation:
    messages = _column(row, config.columns.messages, ("messages",), "conversation")
    return _conversation(messages, row, config)


def from_sharegpt(row: Row, config: DataConfig) -> Conversation:
    turns = _column(row, config.columns.messages, ("conversations", "conversation", "messages"), "conversation")
    return _conversation(turns, row, config)


def _conversation(turns: Any, row: Row, config: DataConfig) -> Conversation:
    turns = _parse_if_json(turns)
    if not isinstance(turns, list) or not turns:
        raise DataError(f"the conversation is {_shorten(turns)}, expected a list of messages with role and content")
    messages = [_message(turn) for turn in turns]
    system = row.get("system") or config.system
    return conversation(messages, system if isinstance(system, str) else None, _tools(row.get("tools")))


def conversation(
    messages: list[Message], system: str | None, tools: list[dict[str, Any]] | None = None
) -> Conversation:
    """A conversation with something to learn in it, `system` put before it if it has no system message.

    Raises:
        DataError: if no message is the assistant's, or one of the assistant's is empty.
    """
    if system and messages[0]["role"] not in ("system", "developer"):
        messages = [{"role": "system", "content": system}, *messages]
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(f"no assistant message to learn from: found the roles {roles}; add the answer")
    for answer in answers:
        if not answer.get("tool_calls") and not answer["content"].strip():
            raise DataError("an empty answer: the assistant's message has no text; fill it in or remove the row")
    return Conversation(messages, tools)


def _message(turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise DataError(f"a message is {_shorten(turn)}, expected an object with role and content")
    role = turn.get("role") or turn.get("from")  # Parquet gives every message all keys, some of them null
    content = turn["content"] if turn.get("content") is not None else turn.get("value")
    if role not in ROLES:
        raise DataError(f"a message has the role {_shorten(role)}, expected one of {', '.join(sorted(ROLES))}")
    if ROLES[role] == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": _function_calls(content)}
    message: Message = {"role": ROLES[role], "content": _content(content, bool(turn.get("tool_calls")))}
    extra = {key: turn[key] for key in ("name", "tool_call_id", "reasoning_content") if turn.get(key)}
    if turn.get("tool_calls"):
        extra["tool_calls"] = _parse_if_json(turn["tool_calls"])
    return message | extra


def _content(content: Any, may_be_missing: bool) -> str:
    if content is None and may_be_missing:
        return ""
    if isinstance(content, list):
        if any(not isinstance(part, Mapping) or part.get("type", "text") != "text" for part in content):
            raise DataError(f"a message holds {_shorten(content)}, expected text parts only")
        return "".join(str(part.get("text", "")) for part in content)
    if content is None:
        return ""
    return _string(content, "message content")


def _function_calls(content: Any) -> list[dict[str, Any]]:
    calls = _parse_if_json(content)
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, Mapping) and "name" in call for call in calls):
        raise DataError(f"a function_call is {_shorten(content)}, expected JSON with name and arguments")
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": call.get("arguments", {})}}
        for call in calls
    ]


def _tools(tools: Any) -> list[dict[str, Any]] | None:
    tools = _parse_if_json(tools) if tools else None
    if tools is not None and not isinstance(tools, list):
        raise DataError(f"tools is {_shorten(tools)}, expected a list of JSON schemas")
    return [_as_served(tool) for tool in tools or []] or None


def _as_served(tool: Any) -> dict[str, Any]:
    """A tool in the very form in which a chat endpoint (vLLM 0.29) hands it to the template."""
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise DataError(
            f"a tool is {_shorten(tool)}, expected "
            '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'
        )
    kept = {key: function.get(key) for key in ("name", "description", "parameters")}
    return {"type": "function", "function": kept}


def _parse_if_json(value: Any) -> Any:
    """CSV and Parquet files often carry nested values as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise DataError(f"expected JSON, found {_shorten(value)} ({error.msg})") from error


def from_alpaca(row: Row, config: DataConfig) -> Conversation:
    """Instruction and output; `input` is put below the instruction, `history` holds earlier exchanges."""
    name = _find(row, config.columns.prompt, INSTRUCTION_COLUMNS)
    question = _string(_column(row, config.columns.prompt, INSTRUCTION_COLUMNS, "instruction"), "instruction")
    answer = _column(row, config.columns.completion, OUTPUT_COLUMNS, "output")
    if name != "input" and row.get("input"):
        question = f"{question}\n{_string(row['input'], 'input')}"
    messages: list[Message] = []
    for exchange in _parse_if_json(row.get("history")) or []:
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise DataError(f"history holds {_shorten(exchange)}, expected pairs of question and answer")
        messages += _exchange(*exchange)
    system = row.get("system") or config.system
    return conversation(messages + _exchange(question, answer), system if isinstance(system, str) else None)


def _exchange(question: Any, answer: Any) -> list[Message]:
    answer = "" if answer is None else _string(answer, "output")
    return [{"role": "user", "content": _string(question, "instruction")}, {"role": "assistant", "content": answer}]


def from_prompt_completion(row: Row, config: DataConfig) -> Conversation | PromptCompletion:
    """Plain text stays as it is; lists of messages make one conversation."""
    prompt = _column(row, config.columns.prompt, ("prompt", *INSTRUCTION_COLUMNS), "prompt")
    completion = _column(row, config.columns.completion, ("completion", *OUTPUT_COLUMNS), "completion")
    if isinstance(prompt, list) or isinstance(completion, list):
        turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        answer = completion if isinstance(completion, list) else [{"role": "assistant", "content": completion}]
        return _conversation(turns + answer, row, config)
    if not isinstance(completion, str) or not completion.strip():
        raise DataError("an empty answer: the completion has no text; fill it in or remove the row")
    return PromptCompletion(_string(prompt, "prompt"), completion)


def from_text(row: Row, config: DataConfig) -> Text:
    text = _string(_column(row, config.columns.text, ("text",), "text"), "text")
    if not text.strip():
        raise DataError("an empty text; fill it in or remove the row")
    return Text(text)


def from_text_label(row: Row, config: DataConfig) -> LabelledText:
    text = _string(_column(row, config.columns.text, TEXT_COLUMNS, "text"), "text")
    label = _column(row, config.columns.label, LABEL_COLUMNS, "label")
    if not text.strip():
        raise DataError("an empty text; fill it in or remove the row")
    if isinstance(label, bool):
        label = str(label).lower()
    if not isinstance(label, str | int) or not str(label).strip():
        raise DataError(f"the label is {_shorten(label)}, expected a class name or number")
    return LabelledText(text, str(label).strip())


SHAPES: dict[str, Callable[[Row, DataConfig], Example]] = {
    "messages": from_messages,
    "sharegpt": from_sharegpt,
    "alpaca": from_alpaca,
    "prompt_completion": from_prompt_completion,
    "text": from_text,
    "text_label": from_text_label,
}
