"""Parts on their way from a worker to the driver: a table, since that is what Ray Data carries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cluster import exceptions
from cluster.exceptions import UserError
from trainers.evaluation.result import from_table, to_table
from trainers.evaluation.store import ORDER, Part

if TYPE_CHECKING:
    import pyarrow as pa

FACTS, PROBLEM = "facts", "problem"


def packed(part: Part, problem: UserError | None = None) -> pa.Table:
    """A part as a table; with a problem that ended it, whatever rows were done before.

    What a worker raises reaches the driver as text and takes the finished rows with it, so a problem travels as a value.
    """
    import pyarrow as pa

    said = json.dumps([type(problem).__name__, str(problem)]) if problem else None
    rows = len(part.orders)
    table = to_table(part.predictions)
    table = table.append_column(ORDER, pa.array(part.orders, pa.int64()))
    table = table.append_column(FACTS, pa.array([None] * rows, pa.string()))
    table = table.append_column(PROBLEM, pa.array([None] * rows, pa.string()))
    told = {name: [None] for name in table.column_names} | {
        ORDER: [-1],
        FACTS: [json.dumps(list(part.facts))],
        PROBLEM: [said],
    }
    return pa.concat_tables([table, pa.table(told, schema=table.schema)])


def unpacked(table: pa.Table) -> tuple[Part, UserError | None]:
    """The part, and the problem that ended it."""
    import pyarrow.compute as pc

    told = table.filter(pc.equal(table[ORDER], -1))
    rows = table.filter(pc.not_equal(table[ORDER], -1))
    facts = [fact for text in told[FACTS].to_pylist() for fact in json.loads(text)]
    problems = [json.loads(text) for text in told[PROBLEM].to_pylist() if text]
    part = Part(rows[ORDER].to_pylist(), from_table(rows.drop_columns([ORDER, FACTS, PROBLEM])), facts)
    if not problems:
        return part, None
    kind, message = problems[0]
    return part, getattr(exceptions, kind)(message)
