"""Answers compared with references: as JSON objects where every reference is one, else as text.

Two JSON objects match when they parse to equal values, whatever their spacing and order of keys. Text matches when it is
equal without white space at the ends.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.evaluation.rows import Rows


def parse_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None."""
    try:
        value = json.loads(text) if text is not None else None
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def most_common(references: Sequence[str | None]) -> str | None:
    """The reference given most often (the first such, so that the answer is the same every time)."""
    counted = Counter(reference for reference in references if reference is not None)
    return counted.most_common(1)[0][0] if counted else None


def reference_objects(rows: Rows) -> list[dict[str, Any]] | None:
    """The references as JSON objects, empty ones for rows without a reference; None where one is no object."""
    found = [{} if reference is None else parse_object(reference) for reference in rows.references]
    return [one or {} for one in found] if any(found) and all(one is not None for one in found) else None


def exact_match(rows: Rows) -> list[float] | None:
    """Share of answers that say what the reference says."""
    if not rows.is_compared.any():
        return None
    objects = reference_objects(rows)
    if objects is None:
        hits = [
            (want or "").strip() == (got or "").strip() for want, got in zip(rows.references, rows.outputs, strict=True)
        ]
    else:
        hits = [want == parse_object(got) for want, got in zip(objects, rows.outputs, strict=True)]
    return _where_compared(rows, hits)


def json_fields(rows: Rows) -> dict[str, list[float]] | None:
    """`json_valid`, the share of answers that are JSON objects, and `field.NAME`, the share in which a field is right."""
    objects = reference_objects(rows)
    if objects is None or not rows.is_compared.any():
        return None
    given = [parse_object(output) for output in rows.outputs]
    found = {"json_valid": _where_compared(rows, [one is not None for one in given])}
    for name in dict.fromkeys(name for one in objects for name in one):
        agree = [
            got is not None and dumped(want, name) == dumped(got, name)
            for want, got in zip(objects, given, strict=True)
        ]
        found[f"field.{name}"] = _where_compared(rows, agree)
    return found


def dumped(value: dict[str, Any], name: str) -> str | None:
    """A field in one spelling, so that equal values compare equal and `true` is not 1."""
    return json.dumps(value[name], sort_keys=True) if name in value else None


def _where_compared(rows: Rows, hits: Sequence[bool]) -> list[float]:
    return [float(hit) if both else np.nan for hit, both in zip(hits, rows.is_compared, strict=True)]
