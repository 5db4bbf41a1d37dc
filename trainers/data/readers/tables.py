"""Parquet: any table, and rows that went through the stages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from cluster.exceptions import DataError
from trainers.data.datafile import DataFile, Rows, check_width, file_system
from trainers.data.record import STAGED

ROWS_PER_BATCH = 1024
BATCH_BYTES = 16 << 20
COLUMNS = "_columns"
"""Key of staged rows with the columns of the source that are not learnt from."""
PLACE = "_place"
"""Key of staged rows with the file and line that a row was first read from."""
MADE = "_made"
"""Key of staged rows that augmentation made of another row."""


def read_parquet(file: DataFile, start: int, end: int | None) -> Rows:
    """The rows of a table; their position is their number."""
    del start, end
    for position, row in enumerate(_rows(file), start=1):
        yield position, json.dumps(row, ensure_ascii=False, default=str)


def _rows(file: DataFile, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows, a batch at a time; of long ones fewer at a time."""
    with _opened(file) as table:
        check_width(file, table.metadata.num_columns)
        for group in range(table.metadata.num_row_groups):
            known = table.metadata.row_group(group)
            row_bytes = known.total_byte_size // max(known.num_rows, 1) + 1
            size = max(1, min(ROWS_PER_BATCH, BATCH_BYTES // row_bytes))
            for batch in table.iter_batches(batch_size=size, row_groups=[group], columns=columns):
                yield from batch.to_pylist()


@contextlib.contextmanager
def _opened(file: DataFile) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    stream = file_system(file.scheme, file.path, file.limits.timeout_s).open_input_file(file.path)
    try:
        table = parquet.ParquetFile(stream)
    except (pa.ArrowInvalid, OSError) as error:
        stream.close()
        raise DataError(
            f"{file.name}: not a Parquet file ({str(error).splitlines()[0]}); it may be cut short: fetch or write it again"
        ) from error
    with table:
        yield table


def read_staged(file: DataFile, start: int, end: int | None) -> Rows:
    """Rows that went through the stages (`trainers.data.staging`), each with the place that it came from."""
    del start, end
    for position, row in enumerate(_rows(file, ["row", "place", "columns", "origin"]), start=1):
        yield position, staged_row(row["row"], row["place"], row["columns"], is_made=row["origin"] is not None)


def staged_row(row: str, place: str, columns: str, *, is_made: bool = False) -> str:
    """A row in canonical form as JSON, with the place and the other columns (as JSON) of the row it was read from."""
    made = f'"{MADE}": true, ' if is_made else ""
    return f'{{"{PLACE}": {json.dumps(place, ensure_ascii=False)}, {made}"{COLUMNS}": {columns}, {row[1:]}'


def is_staged(file: DataFile) -> bool:
    """Whether a Parquet file holds rows that went through the stages."""
    try:
        with _opened(file) as table:
            return STAGED.encode() in (table.schema_arrow.metadata or {})
    except DataError:  # the reader will say what is wrong with it
        return False
