"""What takes room and is not seen: removed, or written in the one usual way."""

from __future__ import annotations

import re

from cluster.config.stages.clean import WhitespaceStage
from trainers.data.record import Record
from trainers.data.stages.base import RowStage
from trainers.data.stages.clean.fences import mark_code

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]")
"""Soft hyphens, zero-width spaces, direction marks, byte order marks."""
_STRAY_JOINERS = re.compile("(?<![^\x00-\u02ff])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\u02ff])")
"""Joiners that do not stand between letters of a script that has them, or between emoji."""
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_RUNS = re.compile("[ \t]+")
_TIDY = re.compile(r"[!-~]+(?: [!-~]+)*")


class Whitespace(RowStage[WhitespaceStage]):
    """Tidies texts line by line."""

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            record.map_texts(self.tidy, self.config.roles)
        return records

    def tidy(self, text: str) -> str:
        """The text with nothing in it that is not seen."""
        if _TIDY.fullmatch(text):
            return text
        text = _CONTROL.sub("", _LINE_ENDS.sub("\n", text))
        if not text.isascii():
            text = _SPACES.sub(" ", _STRAY_JOINERS.sub("", _INVISIBLE.sub("", text)))
        lines: list[str] = []
        blank = 0
        for line, is_code in mark_code(text.split("\n")):
            tidy = line if is_code and self.config.keep_indentation else self._tidy_line(line)
            blank = 0 if tidy.strip() or is_code else blank + 1
            if blank <= self.config.max_blank_lines:
                lines.append(tidy.rstrip())
        whole = "\n".join(lines)
        return whole.strip("\n").rstrip() if self.config.keep_indentation else whole.strip()

    def _tidy_line(self, line: str) -> str:
        is_indented = line.startswith(("  ", "\t"))
        if is_indented and self.config.keep_indentation:
            return line
        return _RUNS.sub(" ", line).strip()
