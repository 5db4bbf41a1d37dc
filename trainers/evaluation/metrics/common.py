"""What metrics of several families read from rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainers.evaluation.metrics.base import NotDefined
from trainers.evaluation.rows import Rows


def column(rows: Rows, name: str) -> list[Any]:
    """The values of a column of the rows; None where a row lacks it.

    Raises:
        NotDefined: if no row has it.
    """
    if not any(name in one.columns for one in rows.predictions):
        raise NotDefined(f"no row has the column {name!r}; {columns_there(rows)}")
    return [one.columns.get(name) for one in rows.predictions]


def columns_there(rows: Rows) -> str:
    """Which columns the rows have, in words."""
    known = sorted({key for one in rows.predictions[:100] for key in one.columns})
    return f"the rows have {', '.join(map(repr, known))}" if known else "the rows have no other columns"


def accepted(rows: Rows, name: str | None) -> list[list[str]]:
    """The answers that are right for each row: its reference, and those of a column of further ones (text or list)."""
    own = [[] if one is None else [one] for one in rows.references]
    if name is None:
        return own
    return [first + _texts(more) for first, more in zip(own, column(rows, name), strict=True)]


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def best(rows: Rows, wanted: Sequence[Sequence[str]], score: Callable[[str, str], float]) -> np.ndarray | None:
    """The best score of each output against the answers accepted for it, shape (n,); nan where there is nothing to compare."""
    found = [
        max(score(one, output) for one in answers) if answers and output is not None else np.nan
        for answers, output in zip(wanted, rows.outputs, strict=True)
    ]
    values = np.array(found, np.float64)
    return None if np.isnan(values).all() else values


def parse_json(text: str | None) -> Any:
    """What a text says as JSON; None where it is none."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
