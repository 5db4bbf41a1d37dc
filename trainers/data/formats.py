"""File formats: how the bytes of a data file become rows.

A reader yields `(position, row)` pairs: the row as JSON text, so that rows of any shape share one block schema,
and a position from which `DataFile.where` finds the place to name in an error. Every reader streams. A row that cannot
be read is a `fault` in its place where the reader can go on behind it; where it cannot, it raises a DataError.
"""

from __future__ import annotations

from collections.abc import Callable

from trainers.data.datafile import (
    CHUNK,
    DataFile,
    Limits,
    Rows,
    fault,
    fault_of,
    file_system,
    open_stream,
    split_scheme,
    too_long,
)
from trainers.data.readers.csv_table import read_csv
from trainers.data.readers.json_array import read_json
from trainers.data.readers.lines import read_lines, read_text
from trainers.data.readers.sql import query_file, read_sql
from trainers.data.readers.tables import COLUMNS, MADE, PLACE, is_staged, read_parquet, read_staged, staged_row

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
READERS: dict[str, Callable[[DataFile, int, int | None], Rows]] = {
    "jsonl": read_lines,
    "text": read_text,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
    "staged": read_staged,
    "sql": read_sql,
}


def sniff(file: DataFile) -> str:
    """The format of a file by its first character: an array, or one object per line; empty where it is neither."""
    with open_stream(file) as stream:
        first = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return {b"[": "json", b"{": "jsonl"}.get(first, "")


__all__ = [
    "CHUNK",
    "COLUMNS",
    "EXTENSIONS",
    "MADE",
    "PLACE",
    "READERS",
    "DataFile",
    "Limits",
    "Rows",
    "fault",
    "fault_of",
    "file_system",
    "is_staged",
    "query_file",
    "read_lines",
    "sniff",
    "split_scheme",
    "staged_row",
    "too_long",
]
