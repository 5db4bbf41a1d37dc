"""A row on its way through the stages: what it says, where it came from, and what happened to it.

Between stages rows travel as blocks of Ray Data with the columns of `SCHEMA`; a stage sees them as `Record`s. A rejected
row stays in the stream until the end, so that it is counted and kept wherever it was rejected.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cluster import exceptions
from cluster.exceptions import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

STAGED = "mobula.staged"
"""Key in the metadata of Parquet files that hold records."""

INPUT_ROLES = ("user", "text", "prompt")
"""Roles of the texts that a model is given."""
OUTPUT_ROLES = ("assistant", "completion", "chosen", "rejected")
"""Roles of the texts that a model is to say."""
FAILURE = "failure: "
"""Reason of a record that is no row but a user's mistake, found in a task: JSON of the error's type and message."""
_TEXT_KEYS = ("text", "prompt", "completion", "chosen", "rejected", "anchor", "positive", "negative")
_TEXT_ROLE = {"anchor": "text", "positive": "text", "negative": "text"}


@dataclasses.dataclass
class Record:
    """One row between two stages.

    Attributes:
        row: what is learnt from, in one of the canonical forms of `trainers.data.shapes` (`{"messages": [...]}`,
            `{"text": ..., "label": ...}`, ...).
        split: `train`, `validation` or `test`.
        place: the file and line it was read from.
        order: file number and position in it; rows leave the stages in this order unless a stage orders them anew.
        columns: the other columns of the source row, by name, such as a user id or a date.
        notes: what stages found out, by name, such as `language`; they end in the prepared rows and in the report.
        rejected: why the row is not used, or None.
        changes: kinds of the stages that changed it.
        before: the row as JSON before its first change; of a row made from another, that other row.
        origin: the place of the row that this one was made from, for augmented rows.
    """

    row: Row
    split: str = "train"
    place: str = ""
    order: tuple[int, int] = (0, 0)
    columns: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    rejected: str | None = None
    changes: list[str] = dataclasses.field(default_factory=list)
    before: str | None = None
    origin: str | None = None

    @property
    def label(self) -> str | None:
        """The class of a classification row."""
        label = self.row.get("label")
        return label if isinstance(label, str) else None

    def texts(self, roles: Sequence[str] | None = None) -> list[str]:
        """Every text of the row, or those of some roles (`system`, `user`, `assistant`, `text`, `prompt`, ...)."""
        return [holder[key] for role, holder, key in _slots(self.row) if roles is None or role in roles]

    def text(self, roles: Sequence[str] | None = None) -> str:
        """Its texts joined by line ends."""
        return "\n".join(self.texts(roles))

    def map_texts(self, change: Callable[[str], str], roles: Sequence[str] | None = None) -> bool:
        """Replace every text (of some roles) by what `change` makes of it; whether any became another."""
        changed = False
        for role, holder, key in _slots(self.row):
            if roles is None or role in roles:
                new = change(holder[key])
                changed = changed or new != holder[key]
                holder[key] = new
        return changed

    def reject(self, reason: str) -> None:
        """Leave it out from here on; `reason` says what was found."""
        self.rejected = reason

    def derive(self, **known: Any) -> Record:
        """A row made from this one: independent of it, and tagged with where it came from and what it was."""
        made = copy.deepcopy(self)
        source = self.before if self.origin is not None else to_json(self.row)
        return dataclasses.replace(made, changes=[], before=source, origin=self.origin or self.place, **known)

    def note_change(self, name: str, before: str) -> None:
        """Write down what a stage did to it.

        Args:
            before: the row as JSON before the stage.
        """
        if self.rejected is not None:
            self.rejected = f"{name}: {self.rejected}"
        if to_json(self.row) != before:
            self.changes.append(name)
            self.before = self.before or before

    def failure(self) -> UserError | None:
        """The user's mistake that this record stands for, if it is one of those."""
        if self.rejected is None or not self.rejected.startswith(FAILURE):
            return None
        kind, message = json.loads(self.rejected.removeprefix(FAILURE))
        return getattr(exceptions, kind)(message)


def failure(error: UserError) -> Record:
    """A user's mistake as a record that ends the run when it arrives: Ray Data loses what a function raises."""
    return Record({}, rejected=FAILURE + json.dumps([type(error).__name__, str(error)]))


def _slots(row: Row) -> Iterator[tuple[str, Any, Any]]:
    """(role, holder, key) of every text in a canonical row."""
    for key in ("messages", "prompt", "chosen", "rejected", "completion"):
        for message in row[key] if isinstance(row.get(key), list) else ():
            if isinstance(message, dict) and isinstance(message.get("content"), str):
                role = message.get("role", key)
                yield (key if key in OUTPUT_ROLES and role == "assistant" else role), message, "content"
    for key in _TEXT_KEYS:
        if isinstance(row.get(key), str):
            yield _TEXT_ROLE.get(key, key), row, key
    for role, key in (("completion", "completions"), ("text", "tokens")):
        for index, text in enumerate(row[key] if isinstance(row.get(key), list) else ()):
            if isinstance(text, str):
                yield role, row[key], index


def schema() -> pa.Schema:
    """Columns of the blocks between stages; the metadata tells files of such rows from other Parquet files."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("row", text),
            ("split", text),
            ("place", text),
            ("file", pa.int32()),
            ("position", pa.int64()),
            ("columns", text),
            ("notes", text),
            ("rejected", text),
            ("changes", pa.list_(text)),
            ("before", text),
            ("origin", text),
        ],
        metadata={STAGED: "1"},
    )


def to_json(value: Any) -> str:
    """JSON as rows are kept: readable text, and dates and the like as text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def to_table(records: Sequence[Record]) -> pa.Table:
    """Records as a block."""
    import pyarrow as pa

    columns = {
        "row": [to_json(one.row) for one in records],
        "split": [one.split for one in records],
        "place": [one.place for one in records],
        "file": [one.order[0] for one in records],
        "position": [one.order[1] for one in records],
        "columns": [to_json(one.columns) for one in records],
        "notes": [to_json(one.notes) for one in records],
        "rejected": [one.rejected for one in records],
        "changes": [one.changes for one in records],
        "before": [one.before for one in records],
        "origin": [one.origin for one in records],
    }
    return pa.table(columns, schema=schema())


def from_table(table: pa.Table) -> list[Record]:
    """The records of a block."""
    return [
        Record(
            row=json.loads(one["row"]),
            split=one["split"],
            place=one["place"],
            order=(one["file"], one["position"]),
            columns=json.loads(one["columns"]),
            notes=json.loads(one["notes"]),
            rejected=one["rejected"],
            changes=one["changes"],
            before=one["before"],
            origin=one["origin"],
        )
        for one in table.to_pylist()
    ]
