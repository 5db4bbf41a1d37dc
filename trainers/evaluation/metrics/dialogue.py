"""Whether conversations got where they should."""

from __future__ import annotations

import math
from typing import Any

from cluster.exceptions import DataError
from trainers.evaluation.metrics.base import LeftOut
from trainers.evaluation.metrics.common import columns_there
from trainers.evaluation.rows import Rows

YES = frozenset({"1", "true", "yes", "y", "success", "successful", "solved", "resolved", "done"})
NO = frozenset({"0", "false", "no", "n", "failure", "failed", "unsolved", "unresolved", "escalated"})
DEFAULT_NAMES = ("success", "resolved", "goal_reached")


def dialogue_success(rows: Rows, source: str | None = None) -> list[float] | LeftOut:
    """Share of conversations that ended well: tasks done, questions resolved.

    Args:
        source: note of an annotator (a simulated dialogue, a judge, a person) or column that says so: yes or no, true or
            false, resolved or unresolved, or a share between 0 and 1. Default: `success`, `resolved` or `goal_reached`.

    Raises:
        DataError: for a value that is none of these.
    """
    names = DEFAULT_NAMES if source is None else (source,)
    name = next(
        (name for name in names if any(name in one.notes or name in one.columns for one in rows.predictions)), None
    )
    if name is None:
        return LeftOut(f"no row has a note or column {' or '.join(map(repr, names))}; {columns_there(rows)}")
    found = [one.notes.get(name, one.columns.get(name)) for one in rows.predictions]
    return [_as_share(value, one.place, name) for value, one in zip(found, rows.predictions, strict=True)]


def _as_share(value: Any, place: str, name: str) -> float:
    """Yes as 1, no as 0, a number between them as itself, nothing as nan."""
    text = "" if value is None else str(value).strip().lower()
    if text in YES or text in NO:
        return float(text in YES)
    try:
        share = float(text or "nan")
    except ValueError:
        share = -1.0
    if math.isnan(share) or 0 <= share <= 1:
        return share
    raise DataError(
        f"{place}: metric dialogue_success: found {value!r} in {name!r}; expected yes or no, resolved or unresolved, or a "
        "share between 0 and 1"
    )
