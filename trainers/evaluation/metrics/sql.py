"""SQL that a model wrote, compared by what it finds in an SQLite database."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.metrics.base import LeftOut, Notes
from trainers.evaluation.metrics.code import code_of
from trainers.evaluation.metrics.common import columns_there
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.sandbox import Limits, Outcome, run_python

WORKER = Path(__file__).with_name("sql_worker.py")
AT_ONCE = 64
"""Rows that one worker goes through; a query that ends it costs the others a new one."""
OUTPUT_BYTES = 1 << 20
START_S = 10


def sql_execution(
    rows: Rows,
    *,
    database: str = "database",
    schema: str = "schema",
    folder: str | None = None,
    time_limit_s: float = 5.0,
    memory_mb: int = 512,
) -> Mapping[str, np.ndarray] | LeftOut:
    """`sql_execution.accuracy`: share of answers that find the same rows as the reference, in the same order where the
    reference has an ORDER BY of its own; `sql_execution.valid`: share that can be run.

    Queries only read: all else is refused. A query that takes too long or too much memory is wrong.

    Args:
        database: column with the database: an SQLite file, or the name of one under `folder` (Spider: `NAME/NAME.sqlite`).
        schema: column with SQL that makes a database, for rows without one.
        folder: where databases lie.
        time_limit_s: for one query.
        memory_mb: address space of the process that runs them.
    """
    found = {"accuracy": rows.note("sql_correct"), "valid": rows.note("sql_valid")}
    if np.isnan(found["valid"]).all():
        lacking = f"no row has an answer, a reference and a database in {database!r} or {schema!r}"
        return LeftOut(f"{lacking}; {columns_there(rows)}")
    return found


def run_queries(
    predictions: Sequence[Prediction],
    *,
    database: str = "database",
    schema: str = "schema",
    folder: str | None = None,
    time_limit_s: float = 5.0,
    memory_mb: int = 512,
) -> Notes:
    """Whether each answer finds what the reference finds.

    Raises:
        DataError: for a database that is not there, or a reference that cannot be run.
    """
    notes: Notes = [{} for _ in predictions]
    jobs = []
    for at, one in enumerate(predictions):
        source = (
            _source(one, database, schema, folder) if one.output is not None and one.reference is not None else None
        )
        if source is not None:
            jobs.append(
                {"at": at, **source, "want": one.reference, "got": _query(str(one.output)), "limit_s": time_limit_s}
            )
    for start in range(0, len(jobs), AT_ONCE):
        for at, verdict in _verdicts(jobs[start : start + AT_ONCE], time_limit_s, memory_mb):
            if "reference" in verdict:
                raise DataError(
                    f"{predictions[at].place}: metric sql_execution: the reference cannot be run ({verdict['reference']}); "
                    "mend the reference, or name the database it is for"
                )
            notes[at] = {f"sql_{name}": value for name, value in verdict.items()}
    return notes


def _query(text: str) -> str:
    return code_of(text, ("sql", "sqlite", "")).strip()


def _source(one: Prediction, database: str, schema: str, folder: str | None) -> dict[str, str] | None:
    name, script = one.columns.get(database), one.columns.get(schema)
    if not name:
        return {"schema": str(script)} if script else None
    places = [Path(folder or "", str(name))]
    if folder is not None:
        places += [Path(folder, str(name), f"{name}.sqlite"), Path(folder, f"{name}.sqlite")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        tried = ", ".join(map(str, places))
        raise DataError(f"{one.place}: metric sql_execution: there is no database {name!r}; looked for {tried}")
    return {"database": str(found.resolve())}


def _verdicts(
    jobs: Sequence[Mapping[str, Any]], time_limit_s: float, memory_mb: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and verdict of each job; a worker that a query ended is followed by another for the rest."""
    left = list(jobs)
    while left:
        whole_s = 2 * time_limit_s * len(left) + START_S
        outcome = run_python(
            WORKER.read_text(encoding="utf-8"),
            stdin=json.dumps(left),
            readable=sorted({job["database"] for job in left if "database" in job}),
            limits=Limits(
                wall_s=whole_s, cpu_s=int(whole_s), memory_bytes=memory_mb << 20, processes=1, output_bytes=OUTPUT_BYTES
            ),
        )
        done = [json.loads(line) for line in outcome.stdout.splitlines(keepends=True) if line.endswith("\n")]
        for job, verdict in zip(left, done, strict=False):
            yield job["at"], verdict
        if len(done) < len(left):
            yield left[len(done)]["at"], {"correct": 0.0, "valid": 0.0, "error": _why(outcome)}
        left = left[len(done) + 1 :]


def _why(outcome: Outcome) -> str:
    if outcome.exit_code == -signal.SIGALRM or outcome.kind == "timed_out":
        return "took too long"
    return f"ended the process that ran it ({outcome.reason or outcome.stderr.strip()[-200:] or outcome.exit_code})"
