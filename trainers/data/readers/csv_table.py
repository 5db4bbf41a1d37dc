"""CSV and TSV with a header line; a quoted field may span lines."""

from __future__ import annotations

import collections
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from cluster.exceptions import DataError
from trainers.data.datafile import DataFile, Rows, check_width, fault, not_utf8, open_text, too_long, without_query


def read_csv(file: DataFile, start: int, end: int | None) -> Rows:
    """The rows below the header; their position is the line in which they begin."""
    del start, end
    csv.field_size_limit(file.max_row_bytes)
    with open_text(file) as stream:
        lines = _Lines(file, stream)
        header: list[str] = []
        line = 1
        try:
            first = next(lines, "")
            reader = csv.reader(_chain(first, lines), delimiter=_delimiter(file, first), strict=True)
            for fields in reader:
                if not header:
                    header = _header(file, fields, lines.bad)
                elif fields:
                    yield line, fault(lines.bad) if lines.bad else _row(header, fields)
                lines.begin_row()
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{file.name}:{line}: not CSV ({error}); check the quotes") from error


class _Lines:
    """The lines of a file as text. What is not UTF-8 becomes a note on the row, so that the rows after it are read."""

    def __init__(self, file: DataFile, stream: io.BufferedReader) -> None:
        self.file, self.stream = file, stream
        self.offset, self.row_bytes = 0, 0
        self.bad = ""

    def begin_row(self) -> None:
        self.row_bytes, self.bad = 0, ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.stream.readline(self.file.max_row_bytes + 1)
        if not line:
            raise StopIteration
        self.row_bytes += len(line)
        if self.row_bytes > self.file.max_row_bytes:
            raise csv.Error(too_long(self.file))
        try:
            text = line.decode("utf-8-sig" if self.offset == 0 else "utf-8")
        except UnicodeDecodeError as error:
            self.bad = self.bad or not_utf8(line, error, self.offset)
            text = line.decode("utf-8", errors="replace")
        self.offset += len(line)
        return text


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(file: DataFile, header: str) -> str:
    if ".tsv" in Path(without_query(file.path)).suffixes:
        return "\t"
    counts = {mark: header.count(mark) for mark in ",;\t"}
    return max(counts, key=lambda mark: counts[mark])


def _header(file: DataFile, fields: list[str], bad: str) -> list[str]:
    names = [name.strip() for name in fields]
    if bad:
        raise DataError(f"{file.name}:1: {bad}")
    check_width(file, len(names))
    [(name, count)] = collections.Counter(names).most_common(1) or [("", 0)]
    if count > 1:
        raise DataError(
            f"{file.name}:1: the column {name!r} is named {count} times; give each column a name of its own"
        )
    return names


def _row(header: list[str], fields: list[str]) -> str:
    if len(fields) != len(header):
        shown = ", ".join(header[:10]) + (", ..." if len(header) > 10 else "")
        return fault(
            f"found {len(fields)} fields, expected {len(header)} as in the header ({shown}); "
            "quote fields that contain the delimiter",
            json.dumps(fields, ensure_ascii=False)[:200],
        )
    return json.dumps(dict(zip(header, fields, strict=True)), ensure_ascii=False)
