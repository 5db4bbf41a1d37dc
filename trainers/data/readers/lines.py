"""JSONL and plain text, by byte range, so that one large file feeds many tasks."""

from __future__ import annotations

import io
import json

from trainers.data.datafile import CHUNK, DataFile, Rows, fault, fault_of, not_utf8, open_text, too_long


def read_lines(file: DataFile, start: int, end: int | None) -> Rows:
    """Lines that begin in the byte range; blank ones are skipped.

    The position of a line is the offset at which it begins, because a task that starts in the middle of a file cannot
    know its number; in a compressed file, which is read from its start, it is the number.
    """
    with open_text(file, max(start - 1, 0)) as stream:
        offset, number = start, 1
        if start:
            offset += _skip_line(stream) - 1  # the line before belongs to the range before
        while end is None or offset < end:
            line = stream.readline(file.max_row_bytes + 1)
            if not line:
                return
            size, text = len(line), _text(file, line, offset)
            if size > file.max_row_bytes and not line.endswith(b"\n"):
                size += _skip_line(stream)
                text = fault(too_long(file, "a line"), text[:200])
            if text.strip():
                yield offset if file.splittable else number, text
            offset, number = offset + size, number + 1


def _text(file: DataFile, line: bytes, offset: int) -> str:
    try:
        return line.decode("utf-8-sig" if offset == 0 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return fault(not_utf8(line, error, offset), line[:200].decode("utf-8", errors="replace"))


def _skip_line(stream: io.BufferedReader) -> int:
    """Bytes up to the next line end, never held together."""
    size = 0
    while chunk := stream.readline(CHUNK):
        size += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return size


def read_text(file: DataFile, start: int, end: int | None) -> Rows:
    """Plain text: one row per line that is not blank."""
    for offset, line in read_lines(file, start, end):
        yield offset, line if fault_of(line) else json.dumps({"text": line}, ensure_ascii=False)
