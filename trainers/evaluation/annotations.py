"""What is found out of each prediction once and kept: whether code ran, what a judge said. See `Metric.annotate`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from cluster.config import MetricSpec
from trainers.evaluation.fingerprint import annotator_key
from trainers.evaluation.metrics import find_metric
from trainers.evaluation.result import Prediction
from trainers.evaluation.store import EvaluationDirectory, with_notes

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 256
"""Rows handed to an annotator; what it wrote of them is kept before the next are."""


def annotators(specs: Sequence[MetricSpec]) -> dict[str, MetricSpec]:
    """The metrics that annotate, by the key that their notes are kept under."""
    return {annotator_key(spec): spec for spec in specs if find_metric(spec.name).annotate is not None}


def annotated(
    predictions: Mapping[int, Prediction], specs: Sequence[MetricSpec], directory: EvaluationDirectory | None
) -> dict[int, Prediction]:
    """Predictions with the notes of all metrics that annotate; only rows that have none yet are annotated.

    Args:
        predictions: by rank.
        directory: where notes are kept; None keeps none.

    Raises:
        UserError: from an annotator; notes of the rows before stay good.
    """
    found = dict(predictions)
    for key, spec in annotators(specs).items():
        found = _annotate(found, key, spec, directory)
    return found


def _annotate(
    predictions: dict[int, Prediction], key: str, spec: MetricSpec, directory: EvaluationDirectory | None
) -> dict[int, Prediction]:
    annotate = find_metric(spec.name).annotate
    assert annotate is not None
    notes = directory.notes(key) if directory is not None else {}
    left = [order for order in predictions if order not in notes]
    for start in range(0, len(left), ROWS_AT_ONCE):
        orders = left[start : start + ROWS_AT_ONCE]
        written = annotate([predictions[order] for order in orders], **spec.args)
        assert len(written) == len(orders), f"{spec.name} wrote {len(written)} notes of {len(orders)} rows"
        fresh = dict(zip(orders, written, strict=True))
        if directory is not None:
            directory.write_notes(key, fresh)
        notes |= fresh
        logger.info("%s: %d of %d rows annotated", spec.name, min(start + ROWS_AT_ONCE, len(left)), len(left))
    return with_notes(predictions, notes)
