"""Markdown's code fences: what lies between them is code and is left alone by stages that mend prose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_FENCE = re.compile(r"\s*(```+|~~~+)")


def mark_code(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to fenced code; the fences do too."""
    fence = None
    for line in lines:
        found = _FENCE.match(line)
        if fence is None:
            fence = found[1] if found else None
            yield line, found is not None
        else:
            yield line, True
            if found and found[1].startswith(fence) and not line[found.end() :].strip():
                fence = None


def without_code(text: str) -> str:
    """The lines of a text that are no fenced code."""
    if "```" not in text and "~~~" not in text:
        return text
    return "\n".join(line for line, is_code in mark_code(text.split("\n")) if not is_code)


def ends_in_code(text: str) -> bool:
    """Whether the last fence is still open."""
    inside = False
    for line, is_code in mark_code(text.split("\n")):
        inside = is_code and not (inside and _FENCE.fullmatch(line.rstrip()))
    return inside
