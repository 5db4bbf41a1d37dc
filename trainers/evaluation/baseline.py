"""What a model that always gives the most common reference would score: the floor that figures stand on."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

from cluster.config import MetricSpec
from trainers.evaluation.metrics import measure
from trainers.evaluation.metrics.text import dumped, most_common, reference_objects
from trainers.evaluation.rows import Rows


def baseline(rows: Rows, specs: Sequence[MetricSpec]) -> tuple[dict[str, float], str | None]:
    """Metrics of always giving the most common reference (of a JSON field: its most common value), and that reference."""
    answer = most_common(rows.references)
    if answer is None:
        return {}, None
    usual = [spec for spec in specs if spec.name in ("accuracy", "macro_f1", "exact_match", "json")]
    found = {name: one.value for name, one in measure(_answering(rows, answer), usual).items()}
    objects = reference_objects(rows)
    if objects is not None:
        by_field = measure(_answering(rows, json.dumps(_common_values(objects))), usual)
        found |= {name: one.value for name, one in by_field.items() if name.startswith("field.")}
    return found, answer


def _answering(rows: Rows, answer: str) -> Rows:
    given = [dataclasses.replace(one, output=answer) if one.reference is not None else one for one in rows.predictions]
    return Rows(given, rows.labels)


def _common_values(objects: Sequence[dict[str, object]]) -> dict[str, object]:
    names = dict.fromkeys(name for one in objects for name in one)
    counted = {name: Counter(dumped(one, name) for one in objects if one).most_common(1)[0][0] for name in names}
    return {name: json.loads(value) for name, value in counted.items() if value is not None}
