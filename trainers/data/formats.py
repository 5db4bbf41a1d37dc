"""File formats: how the bytes of a data file become rows.

A reader yields `(position, row)` pairs: the row as JSON text, so that rows of any shape share one block schema,
and a position from which `DataFile.where` finds the place to name in an error. Every reader streams. JSONL and plain
text are also read by byte range, so that one large file feeds many tasks; their position is the byte offset of the
line, because a task that starts in the middle of a file cannot know its line numbers. Only an error counts lines.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from cluster.exceptions import DataError
from trainers.data.record import STAGED

Rows = Iterator[tuple[int, str]]

EXTENSIONS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
    ".text": "text",
}
COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4", ".xz")
COLUMNS = "_columns"
"""Key of staged rows with the columns of the source that are not learnt from."""
CHUNK = 1 << 20
PLACE = "_place"
"""Key of staged rows with the file and line that a row was first read from."""


@dataclasses.dataclass(frozen=True)
class DataFile:
    """One file, or one split of a `datasets` folder or Hub data set.

    Attributes:
        name: what the user calls it, for messages.
        path: path inside its file system (URL for http), folder, or Hub id.
        scheme: file system: `file`, `s3`, `gs`, `http`, ... ; `datasets` for folders and Hub ids.
        format: key of `READERS`.
        size: bytes, or rows for `datasets`.
        stamp: what changes when the content does (hash, modification time, Hub commit).
        split: of a `datasets` folder or Hub data set.
        explicit: the user named this very file, so it may not be empty.
        source: what the user wrote to name it (a folder or glob names many).
    """

    name: str
    path: str
    scheme: str
    format: str
    size: int
    stamp: str = ""
    split: str | None = None
    explicit: bool = True
    source: str = ""

    @property
    def splittable(self) -> bool:
        """Whether byte ranges of it can be read by themselves."""
        return self.format in ("jsonl", "text") and not self.path.endswith(COMPRESSIONS)

    def where(self, position: int) -> str:
        """The place of a row, as `file:line` where there are lines."""
        if self.format in ("jsonl", "text"):
            return f"{self.name}:{line_number(self, position)}"
        if self.format in ("json", "csv"):
            return f"{self.name}:{position}"
        return f"{self.name}: row {position}"


def file_system(scheme: str, path: str) -> Any:
    """The pyarrow file system behind a scheme; fsspec serves what pyarrow has no own implementation of."""
    from pyarrow import fs

    if scheme == "file":
        return fs.LocalFileSystem()
    if scheme in ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"):
        return fs.FileSystem.from_uri(f"{scheme}://{path}")[0]
    import fsspec

    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))


def open_stream(file: DataFile, start: int = 0) -> io.BufferedReader:
    """The bytes of a file from `start` on, decompressed by its extension."""
    system = file_system(file.scheme, file.path)
    if start:
        raw = system.open_input_file(file.path)
        raw.seek(start)
    else:
        raw = system.open_input_stream(file.path, compression="detect")
    return io.BufferedReader(raw, CHUNK)


def line_number(file: DataFile, offset: int) -> int:
    """1-based number of the line that starts at byte `offset`; reads the file up to there."""
    lines, left = 1, offset
    with open_stream(file) as stream:
        while left and (chunk := stream.read(min(CHUNK, left))):
            lines += chunk.count(b"\n")
            left -= len(chunk)
    return lines


def read_lines(file: DataFile, start: int, end: int | None) -> Iterator[tuple[int, str]]:
    """Lines that begin in the byte range, with the offset at which they begin; blank ones are skipped."""
    with open_stream(file, max(start - 1, 0)) as stream:
        offset = start
        if start:
            offset += len(stream.readline()) - 1  # the line before belongs to the range before
        while end is None or offset < end:
            line = stream.readline()
            if not line:
                return
            try:
                text = line.decode("utf-8-sig" if offset == 0 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise DataError(f"{file.where(offset)}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
            if text.strip():
                yield offset, text
            offset += len(line)


def read_text(file: DataFile, start: int, end: int | None) -> Rows:
    """Plain text: one row per line that is not blank."""
    for offset, line in read_lines(file, start, end):
        yield offset, json.dumps({"text": line}, ensure_ascii=False)


def read_json(file: DataFile, start: int, end: int | None) -> Rows:
    """A JSON array of objects, parsed element by element, never as a whole."""
    del start, end
    with io.TextIOWrapper(open_stream(file), encoding="utf-8-sig") as stream:
        yield from JsonArray(file, stream).elements()


def sniff(file: DataFile) -> str:
    """The format of a file by its first character: an array, or one object per line; empty where it is neither."""
    with open_stream(file) as stream:
        first = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return {b"[": "json", b"{": "jsonl"}.get(first, "")


class JsonArray:
    """Elements of a JSON array read from a text stream, with the line each begins in."""

    def __init__(self, file: DataFile, stream: io.TextIOWrapper) -> None:
        self.file, self.stream = file, stream
        self.buffer, self.cursor, self.line = "", 0, 1
        self.decoder = json.JSONDecoder()

    def more(self, size: int = CHUNK) -> bool:
        """Append to the buffer what follows in the stream."""
        try:
            text = self.stream.read(max(size, len(self.buffer) - self.cursor))  # doubling keeps long elements linear
        except UnicodeDecodeError as error:
            raise DataError(f"{self.file.name}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
        self.buffer, self.cursor = self.buffer[self.cursor :] + text, 0
        return bool(text)

    def peek(self) -> str:
        """Next character that is not white space, or an empty string at the end."""
        while True:
            while self.cursor < len(self.buffer) and self.buffer[self.cursor].isspace():
                self.line += self.buffer[self.cursor] == "\n"
                self.cursor += 1
            if self.cursor < len(self.buffer):
                return self.buffer[self.cursor]
            if not self.more():
                return ""

    def take(self, expected: str) -> None:
        """Step over one character."""
        found = self.peek()
        if not found or found not in expected:
            found = repr(found) if found else "the end of the file"
            raise DataError(
                f"{self.file.name}:{self.line}: not a JSON array: found {found}, expected one of {' '.join(expected)}"
            )
        self.cursor += 1

    def elements(self) -> Rows:
        self.take("[")
        if self.peek() == "]":
            return
        while True:
            self.peek()
            line, start = self.line, self.cursor
            start, end = self.element()
            text = self.buffer[start:end]
            self.line += text.count("\n")
            self.cursor = end
            yield line, text
            if self.peek() == "]":
                return
            self.take(",]")

    def element(self) -> tuple[int, int]:
        """Bounds in the buffer of the element that begins at the cursor."""
        while True:
            try:
                _, end = self.decoder.raw_decode(self.buffer, self.cursor)
            except json.JSONDecodeError as error:
                if self.more():
                    continue
                line = self.line + self.buffer.count("\n", self.cursor, error.pos)
                raise DataError(f"{self.file.name}:{line}: not JSON ({error.msg})") from error
            if end < len(self.buffer) or not self.more():  # a number may go on in the next chunk
                return self.cursor, end


def read_csv(file: DataFile, start: int, end: int | None) -> Rows:
    """CSV or TSV with a header line; a quoted field may span lines."""
    del start, end
    csv.field_size_limit(2**31 - 1)
    with io.TextIOWrapper(open_stream(file), encoding="utf-8-sig", newline="") as stream:
        header_line = stream.readline()
        reader = csv.reader(_chain_lines(header_line, stream), delimiter=_delimiter(file, header_line), strict=True)
        header: list[str] = []
        line = 1
        try:
            for fields in reader:
                if not header:
                    header = [name.strip() for name in fields]
                elif fields:
                    yield line, _csv_row(file, line, header, fields)
                line = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{file.name}:{line}: not CSV ({error}); check the quotes and the encoding") from error


def _chain_lines(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(file: DataFile, header: str) -> str:
    if file.path.removesuffix(".gz").endswith(".tsv"):
        return "\t"
    counts = {mark: header.count(mark) for mark in ",;\t"}
    return max(counts, key=lambda mark: counts[mark])


def _csv_row(file: DataFile, line: int, header: list[str], fields: list[str]) -> str:
    if len(fields) != len(header):
        raise DataError(
            f"{file.name}:{line}: found {len(fields)} fields, expected {len(header)} as in the header "
            f"({', '.join(header)}); quote fields that contain the delimiter"
        )
    return json.dumps(dict(zip(header, fields, strict=True)), ensure_ascii=False)


def read_parquet(file: DataFile, start: int, end: int | None) -> Rows:
    """Parquet, a batch of rows at a time."""
    del start, end
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file_system(file.scheme, file.path).open_input_file(file.path)) as table:
            position = 0
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    position += 1
                    yield position, json.dumps(row, ensure_ascii=False, default=str)
    except pa.ArrowInvalid as error:
        raise DataError(f"{file.name}: not a Parquet file ({str(error).splitlines()[0]})") from error


def read_staged(file: DataFile, start: int, end: int | None) -> Rows:
    """Rows that went through the stages (`trainers.data.staging`), each with the place that it came from."""
    del start, end
    from pyarrow import parquet

    with parquet.ParquetFile(file_system(file.scheme, file.path).open_input_file(file.path)) as table:
        position = 0
        for batch in table.iter_batches(batch_size=1024, columns=["row", "place", "columns"]):
            for row, place, columns in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                position += 1
                origin = json.dumps(place, ensure_ascii=False)
                yield position, f'{{"{PLACE}": {origin}, "{COLUMNS}": {columns}, {row[1:]}'


def is_staged(file: DataFile) -> bool:
    """Whether a Parquet file holds rows that went through the stages."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file_system(file.scheme, file.path).open_input_file(file.path)) as table:
            return STAGED.encode() in (table.schema_arrow.metadata or {})
    except (pa.ArrowInvalid, OSError):  # the reader will say what is wrong with it
        return False


READERS: dict[str, Callable[[DataFile, int, int | None], Rows]] = {
    "jsonl": read_lines,
    "text": read_text,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
    "staged": read_staged,
}
