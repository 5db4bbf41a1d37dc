"""Rows of a query, in pages, from any database that SQLAlchemy reaches."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from cluster.config.data import SqlSource
from cluster.exceptions import DataError
from trainers.data.datafile import DataFile, Limits, Rows

ROWS_PER_PAGE = 1000


def query_file(source: SqlSource, limits: Limits) -> DataFile:
    """A query as a file. It is run once to count its rows and hash them, in whatever order they come."""
    file = DataFile(source.label, source.sql, "sql", "sql", 0, url_variable=source.url_variable, limits=limits)
    total, size, rows = 0, 0, 0
    for _, row in read_sql(file, 0, None):
        total += int.from_bytes(hashlib.blake2b(row.encode(), digest_size=16).digest(), "big")
        rows, size = rows + 1, size + len(row)
    if not rows:
        raise DataError(f"{file.name}: the query returns no rows; expected at least one")
    return dataclasses.replace(file, size=size, stamp=f"{rows}:{total % 2**128:032x}")


def read_sql(file: DataFile, start: int, end: int | None) -> Rows:
    """The rows of a query; their position is their number."""
    del start, end
    from sqlalchemy.exc import SQLAlchemyError

    try:
        for position, row in enumerate(_result(file), start=1):
            yield position, json.dumps(row, ensure_ascii=False, default=str)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise DataError(f"{file.name}: the query failed ({reason}); check it and ${file.url_variable}") from error


def _result(file: DataFile) -> Iterator[dict[str, Any]]:
    import sqlalchemy

    url = os.environ.get(file.url_variable)
    if not url:
        raise DataError(
            f"{file.name}: the environment variable {file.url_variable} is not set; set it to the database's URL, as in "
            "postgresql://user:password@host/name, wherever Ray's workers run"
        )
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except ImportError as error:
        raise DataError(f"{file.name}: the database's driver is missing ({error}); install it") from error
    with engine.connect().execution_options(stream_results=True, max_row_buffer=ROWS_PER_PAGE) as connection:
        result = connection.exec_driver_sql(file.path)
        for page in result.mappings().partitions(ROWS_PER_PAGE):
            yield from map(dict, page)
