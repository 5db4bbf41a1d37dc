"""What decides the predictions of an evaluation, and what decides its figures, as hashes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.config import DataConfig, EvaluateConfig, MetricSpec
from trainers.data.sources import Sources
from trainers.data.staging import file_stamps
from trainers.evaluation.judge import ratings_stamp
from trainers.evaluation.result import Prediction
from trainers.evaluation.subjects.base import Subject

VERSION = 1
"""Raised whenever the same model and rows would be predicted differently, or the figures be computed differently."""
_READ_BY = {"shape", "columns", "system", "max_length"}
_WRITTEN_BY = {"max_new_tokens", "max_rows", "num_samples", "temperature", "top_p", "seed", "engine", "engine_kwargs"}
_OF_ENDPOINTS = {"endpoint": {"extra_body"}}


def predictions_fingerprint(subject: Subject, sources: Sources, data: DataConfig, evaluate: EvaluateConfig) -> str:
    """Hash of model, rows and the settings that decide what is predicted."""
    return _hash(
        [
            VERSION,
            subject.kind,
            subject.stamp(evaluate),
            file_stamps({"test": sources}),
            data.model_dump(mode="json", include=_READ_BY),
            evaluate.model_dump(mode="json", include=_WRITTEN_BY),
            evaluate.model_dump(mode="json", include=_OF_ENDPOINTS),
        ]
    )


def figures_fingerprint(evaluate: EvaluateConfig, slices: Sequence[str], calibration: str | None = None) -> str:
    """Hash of what decides the figures, given the predictions; a team's own metric counts with its code.

    Args:
        calibration: hash of the calibrator in the model folder.
    """
    settings = evaluate.model_dump(mode="json", exclude={"suites", "endpoint", "batch_size", "seen_rows"})
    codes = [code_of(spec) for spec in evaluate.metrics]
    return _hash([VERSION, settings, list(slices), codes, calibration, ratings_stamp(evaluate.ratings)])


def annotator_key(spec: MetricSpec) -> str:
    """Name of the folder with what an annotator wrote."""
    name = "".join(letter if letter.isalnum() else "-" for letter in spec.label or spec.name)[:40]
    return f"{name}-{_hash([spec.name, spec.args, code_of(spec)])[:12]}"


def data_fingerprint(predictions: Sequence[Prediction]) -> str:
    """Hash of what the rows say, whatever file or order they come in."""
    return _hash(sorted(one.key for one in predictions))


def code_of(spec: MetricSpec) -> str | None:
    """Hash of the file that a metric named by import path lies in."""
    module, colon, _ = spec.name.partition(":")
    if not colon:
        return None
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    path = Path(found.origin) if found and found.origin else None
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() if path and path.is_file() else None


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]
