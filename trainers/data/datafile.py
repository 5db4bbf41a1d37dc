"""A file of rows: where it lies, how its bytes are opened, and which line a place in it is on."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.config.data import DataConfig
from cluster.exceptions import DataError
from trainers.data.web import SCHEMES, web

Rows = Iterator[tuple[int, str]]
"""Position and JSON text of each row; a row that cannot be read is a `fault` in its place."""

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
CHUNK = 1 << 20
MOST_COLUMNS = 10_000
_FAULT = "\0"
_BINARY = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a ZIP archive",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"SQLite format 3": "an SQLite database",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF",
}
"""How files begin that are sometimes taken for text."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Where reading stops.

    Attributes:
        max_row_bytes: a longer row is a fault.
        timeout_s: silence after which a `https://` address is given up.
    """

    max_row_bytes: int = 16 << 20
    timeout_s: float = 60.0

    @classmethod
    def of(cls, config: DataConfig) -> Limits:
        """Those of the data's settings."""
        return cls(config.max_row_bytes, config.timeout_s)


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
        subset: configuration of a Hub data set.
        explicit: the user named this very file, so it may not be empty.
        source: what the user wrote to name it (a folder or glob names many).
        url_variable: environment variable with the database's URL, of a query.
        limits: where reading it stops.
    """

    name: str
    path: str
    scheme: str
    format: str
    size: int
    stamp: str = ""
    split: str | None = None
    subset: str | None = None
    explicit: bool = True
    source: str = ""
    url_variable: str = ""
    limits: Limits = Limits()

    @property
    def max_row_bytes(self) -> int:
        """A longer row is a fault."""
        return self.limits.max_row_bytes

    @property
    def compression(self) -> str | None:
        """How it is compressed, told from its extension."""
        return COMPRESSIONS.get(Path(without_query(self.path)).suffix.lower())

    @property
    def splittable(self) -> bool:
        """Whether byte ranges of it can be read by themselves."""
        can_seek = self.scheme not in SCHEMES  # few servers would
        return self.format in ("jsonl", "text") and can_seek and self.compression is None

    def where(self, position: int) -> str:
        """The place of a row, as `file:line` where there are lines."""
        if self.splittable:
            return f"{self.name}:{_line_counter(self).line_at(position)}"
        if self.format in ("jsonl", "text", "json", "csv"):
            return f"{self.name}:{position}"
        return f"{self.name}: row {position}"


def split_scheme(spec: str) -> tuple[str, str]:
    """The file system that an address names, and the path in it."""
    scheme, mark, path = spec.partition("://")
    if not mark:
        return "file", spec
    if scheme == "file":
        return "file", path
    return scheme, (spec if scheme in SCHEMES else path)


def without_query(path: str) -> str:
    """A path, or an address without what stands behind its `?`."""
    return path.partition("?")[0] if path.startswith(("http://", "https://")) else path


def file_system(scheme: str, path: str, timeout_s: float = 60.0) -> Any:
    """The pyarrow file system behind a scheme; fsspec serves what pyarrow has no own implementation of."""
    from pyarrow import fs

    if scheme == "file":
        return fs.LocalFileSystem()
    if scheme in ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"):
        return fs.FileSystem.from_uri(f"{scheme}://{path}")[0]
    import fsspec

    if scheme in SCHEMES:
        return fs.PyFileSystem(fs.FSSpecHandler(web(timeout_s)))
    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))


def open_stream(file: DataFile, start: int = 0) -> io.BufferedReader:
    """The bytes of a file from `start` on, decompressed by its extension."""
    system = file_system(file.scheme, file.path, file.limits.timeout_s)
    if start:
        raw = system.open_input_file(file.path)
        raw.seek(start)
    else:
        raw = system.open_input_stream(file.path, compression=file.compression)
    return io.BufferedReader(raw, CHUNK)


def open_text(file: DataFile, start: int = 0) -> io.BufferedReader:
    """The bytes of a file that is to hold text.

    Raises:
        DataError: if it begins as no text does.
    """
    stream = open_stream(file, start)
    if not start:
        head = stream.peek(4096)[:4096]
        if found := _binary(head):
            stream.close()
            raise DataError(
                f"{file.name}: is {found}, expected {file.format.upper()} as UTF-8 text; name the file by what is in it, "
                "unpack it or save it as text"
            )
    return stream


def _binary(head: bytes) -> str | None:
    """What a file is that is not UTF-8 text, told from its first bytes."""
    for magic, name in _BINARY.items():
        if head.startswith(magic):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text in UTF-16"
    return "binary data, or text in UTF-16 (it holds NUL bytes)" if b"\0" in head else None


class LineCounter:
    """Line numbers of byte offsets. Asked in ascending order it reads the file once, and it may be asked in any."""

    def __init__(self, file: DataFile) -> None:
        self.file = file
        self.starts, self.lines = [0], [1]
        self.chunk, self.start = b"", 0
        self.at, self.line = 0, 1

    def line_at(self, offset: int) -> int:
        """1-based number of the line that starts at byte `offset`."""
        if not self.start <= offset < self.start + len(self.chunk):
            self._load(offset)
        if offset < self.at:
            self.at, self.line = self.start, self.lines[bisect.bisect_right(self.starts, self.start) - 1]
        self.line += self.chunk.count(b"\n", self.at - self.start, offset - self.start)
        self.at = offset
        return self.line

    def _load(self, offset: int) -> None:
        """Read on, from the nearest chunk of which the line is known, to the chunk that holds `offset`."""
        known = bisect.bisect_right(self.starts, offset) - 1
        start, line = self.starts[known], self.lines[known]
        with open_stream(self.file, start) as stream:
            while chunk := stream.read(CHUNK):
                if start > self.starts[-1]:
                    self.starts.append(start)
                    self.lines.append(line)
                if offset < start + len(chunk):
                    break
                start, line = start + len(chunk), line + chunk.count(b"\n")
        self.chunk, self.start, self.at, self.line = chunk, start, start, line


@functools.lru_cache(maxsize=64)
def _line_counter(file: DataFile) -> LineCounter:
    return LineCounter(file)


def fault(message: str, found: str = "") -> str:
    """What stands for a row that cannot be read, while the reader goes on; no JSON text begins so.

    Args:
        message: what is wrong with it. Whoever reads the row puts file and line before it.
        found: what can be shown of it.
    """
    return f"{_FAULT}{message}{_FAULT}{found}"


def fault_of(row: str) -> tuple[str, str] | None:
    """Message and excerpt of a row that could not be read."""
    if not row.startswith(_FAULT):
        return None
    _, message, found = row.split(_FAULT, 2)
    return message, found


def check_width(file: DataFile, columns: int) -> None:
    """Refuse a table that is wider than any that was meant."""
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{file.name}: found {columns} columns, expected at most {MOST_COLUMNS}; rows and columns may have been "
            "exchanged, or the wrong character parts the fields"
        )


def too_long(file: DataFile, what: str = "a row") -> str:
    """What is said of a row that nobody can mean."""
    return (
        f"{what} of more than data.max_row_bytes={file.max_row_bytes} bytes; is a line end or a closing quote missing? "
        "Raise data.max_row_bytes if it is meant"
    )


def not_utf8(raw: bytes, error: UnicodeDecodeError, offset: int) -> str:
    """What is said of bytes that are not UTF-8: which and where, and what they may be.

    Args:
        offset: of `raw` in the file.
    """
    byte = raw[error.start]
    guess = raw[error.start : error.start + 1].decode("cp1252", errors="replace")
    likely = f"; in Windows-1252 it is {guess}" if guess.isalpha() or guess in "€‘’“”–—…§°£" else ""
    return (
        f"not UTF-8 (byte 0x{byte:02x} at offset {offset + error.start}{likely}); save the file as UTF-8, as with "
        "iconv -f WINDOWS-1252 -t UTF-8"
    )
