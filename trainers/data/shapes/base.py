"""What the readers of all shapes share: finding columns, checking values, and sentences about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.exceptions import DataError

Row = Mapping[str, Any]
Message = dict[str, Any]

TEXT_COLUMNS = ("text", "sentence", "utterance", "content", "message", "review", "query", "question", "input")
LABEL_COLUMNS = ("label", "category", "intent", "class", "target", "labels")
INSTRUCTION_COLUMNS = ("instruction", "question", "query", "prompt", "input")
OUTPUT_COLUMNS = ("output", "answer", "response")
CONVERSATION_COLUMNS = ("messages", "conversations", "conversation")
MOST_NAMES = 20


class SeenRow(Mapping[str, Any]):
    """A row that remembers which of its columns were read: the others are not learnt from, and travel beside it."""

    def __init__(self, values: Row) -> None:
        self.values_by_name, self.seen = values, set[str]()

    def __getitem__(self, name: str) -> Any:
        value = self.values_by_name[name]
        self.seen.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def __contains__(self, name: object) -> bool:
        return name in self.values_by_name

    def rest(self) -> dict[str, Any]:
        """The columns that nothing has read."""
        return {name: value for name, value in self.values_by_name.items() if name not in self.seen}


def find(names: set[str] | Row, wanted: str | None, usual: Sequence[str]) -> str | None:
    """Which column is meant: the one that the user named, else the first of the usual names."""
    if wanted is not None:
        return wanted if wanted in names else None
    return next((name for name in usual if name in names), None)


def column(row: Row, wanted: str | None, usual: Sequence[str], what: str) -> Any:
    """The value of a column that must be there."""
    name = find(row, wanted, usual)
    if name is None:
        raise DataError(
            f"found the columns {name_list(row)}, expected a column with the {what} "
            f"({wanted or ', '.join(usual)}); name it under data.columns"
        )
    return row[name]


def optional(row: Row, wanted: str | None, usual: str) -> Any:
    """The value of a column that may be missing."""
    return row.get(wanted or usual)


def name_list(names: Any) -> str:
    """Column names for a sentence; of very many the first."""
    listed = sorted(map(str, names))
    more = f", ... ({len(listed)} in all)" if len(listed) > MOST_NAMES else ""
    return (
        ", ".join(name if len(name) <= 60 else name[:57] + "..." for name in listed[:MOST_NAMES]) or "(none)"
    ) + more


def string(value: Any, what: str) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        raise DataError(f"the {what} is {shorten(value)}, expected text")
    return value


def filled(value: Any, what: str) -> str:
    """A value that must be text with something in it."""
    if not string(value, what).strip():
        raise DataError(f"an empty {what}; fill it in or remove the row")
    return str(value)


def truth(value: Any, what: str) -> bool:
    """Yes or no, as JSON, CSV and Parquet files write it."""
    if isinstance(value, str):
        value = {"true": True, "false": False, "1": True, "0": False}.get(value.strip().lower(), value)
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise DataError(f"the {what} is {shorten(value)}, expected true or false")


def is_truth(value: Any) -> bool:
    """Whether `truth` would take a value."""
    try:
        truth(value, "")
    except DataError:
        return False
    return True


def kind(value: Any) -> str:
    """JSON's word for a value that is no object."""
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def shorten(value: Any) -> str:
    """A value as JSON, cut for a sentence."""
    if isinstance(value, str | list):
        value = value[:100]  # no need to write out a megabyte to show its first words
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def parse_if_json(value: Any) -> Any:
    """CSV and Parquet files often carry nested values as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise DataError(f"expected JSON, found {shorten(value)} ({reason})") from error


def list_of(value: Any, kinds: type | tuple[type, ...], what: str, of_what: str) -> list[Any]:
    """A list that is not empty, of values of some types."""
    value = parse_if_json(value)
    if not isinstance(value, list) or not value or not all(type(one) in _as_tuple(kinds) for one in value):
        raise DataError(f"the {what} is {shorten(value)}, expected a list of {of_what}")
    return value


def _as_tuple(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)
