"""Rows with a hole in them: rejected, or the hole filled by rule."""

from __future__ import annotations

from typing import Any, get_args

from cluster.config.stages.base import Role
from cluster.config.stages.clean import MissingStage
from trainers.data.record import Record
from trainers.data.stages.base import RowStage, StageContext

_AROUND = " \t\r\n.,;:!*_\"'`"


class Missing(RowStage[MissingStage]):
    """Looks for empty texts, labels and columns."""

    def __init__(self, config: MissingStage, context: StageContext) -> None:
        super().__init__(config, context)
        self.placeholders = {_bare(one) for one in config.placeholders}
        self.contains = [one.casefold() for one in config.contains]

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            holes = self._fill_texts(record) + self._fill_columns(record)
            if holes:
                name, value = holes[0]
                shown = "it is not there" if value is None else f"it is {str(value)[:40]!r}"
                record.reject(f"{name} is missing ({shown})")
        return records

    def is_missing(self, value: Any) -> bool:
        """Whether a value says nothing."""
        if not isinstance(value, str):
            return value is None or value != value  # noqa: PLR0124 - NaN
        bare = _bare(value)
        return not value.strip() or bare in self.placeholders or any(one in bare for one in self.contains)

    def _fill_texts(self, record: Record) -> list[tuple[str, Any]]:
        """Holes that no rule fills, by name."""
        holes: list[tuple[str, Any]] = []
        calls_tools = any("tool_calls" in message for message in record.row.get("messages") or ())

        def fill(text: str) -> str:
            if not self.is_missing(text) or (calls_tools and not text):
                return text
            if role not in self.config.fill:
                holes.append((f"{role} text", text))
            return self.config.fill.get(role, text)

        for role in self.config.roles or get_args(Role):
            record.map_texts(fill, [role])
        if record.label is not None and self.is_missing(record.label):
            holes.append(("label", record.label))
        return holes

    def _fill_columns(self, record: Record) -> list[tuple[str, Any]]:
        holes = []
        for name in self.config.columns:
            value = record.columns.get(name)
            if self.is_missing(value) and name in self.config.fill:
                record.columns[name] = self.config.fill[name]
            elif self.is_missing(value):
                holes.append((f"column {name}", value))
        return holes


def _bare(text: str) -> str:
    """Without what may stand around a placeholder, unless that is all there is."""
    text = text.casefold()
    return text.strip(_AROUND) or text.strip()
