"""Runs queries one after another, in the sandbox: JSON on stdin, one verdict a line on stdout. The standard library only.

A query that SQLite cannot be made to stop in time is ended by the alarm, together with this process.
"""

import json
import re
import signal
import sqlite3
import sys
import time
from collections import Counter
from typing import Any

MOST_ROWS = 100_000
LONGEST_VALUE = 10_000_000
STEPS = 10_000
"""Steps of SQLite's machine between looks at the clock."""
READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_UNSEEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORDS = re.compile(r"[()]|order\s+by", re.IGNORECASE)


class WrongQuery(Exception):
    pass


def is_ordered(query: str) -> bool:
    """Whether a query has an ORDER BY of its own, not only inside parentheses, quotes or comments."""
    depth = 0
    for word in _WORDS.findall(_UNSEEN.sub(" ", query)):
        if word in "()":
            depth += 1 if word == "(" else -1
        elif depth == 0:
            return True
    return False


def may_read(action: int, first: str | None, second: str | None, *where: Any) -> int:
    is_reading = action in READING and second != "load_extension"
    return sqlite3.SQLITE_OK if is_reading else sqlite3.SQLITE_DENY


def connect(job: dict[str, Any]) -> sqlite3.Connection:
    """A database that can only be read."""
    if "database" in job:
        connection = sqlite3.connect(
            f"file:{job['database'].replace('?', '%3f').replace('#', '%23')}?immutable=1", uri=True
        )
    else:
        connection = sqlite3.connect(":memory:")
        connection.executescript(job["schema"])
    connection.text_factory = lambda value: value.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.set_authorizer(may_read)
    return connection


def found_by(connection: sqlite3.Connection, query: str, limit_s: float) -> list[tuple[Any, ...]]:
    deadline = time.monotonic() + limit_s
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    signal.setitimer(signal.ITIMER_REAL, limit_s + 1)
    try:
        rows = connection.execute(query).fetchmany(MOST_ROWS + 1)
    except sqlite3.OperationalError as error:
        raise WrongQuery("took too long" if "interrupted" in str(error) else str(error)) from error
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError, OverflowError) as error:
        raise WrongQuery(str(error) or type(error).__name__) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if len(rows) > MOST_ROWS:
        raise WrongQuery(f"found more than {MOST_ROWS:,} rows")
    return [tuple(float(f"{value:.9g}") if isinstance(value, float) else value for value in row) for row in rows]


def verdict(job: dict[str, Any]) -> dict[str, Any]:
    try:
        connection = connect(job)
        wanted = found_by(connection, job["want"], job["limit_s"])
    except (sqlite3.Error, sqlite3.Warning, WrongQuery) as error:
        return {"reference": str(error)}
    try:
        given = found_by(connection, job["got"], job["limit_s"])
    except WrongQuery as error:
        return {"correct": 0.0, "valid": 0.0, "error": str(error)}
    finally:
        connection.close()
    is_same = wanted == given if is_ordered(job["want"]) else Counter(wanted) == Counter(given)
    return {"correct": float(is_same), "valid": 1.0}


if __name__ == "__main__":
    for one in json.load(sys.stdin):
        sys.stdout.write(json.dumps(verdict(one)) + "\n")
        sys.stdout.flush()
