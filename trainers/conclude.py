"""What follows a training: the test rows are scored once, and the model folder gets its figures and its card."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from cluster.config import RunConfig
from cluster.config.data import AnySource
from cluster.runs import RunDirectory
from cluster.storage import Storage
from trainers.data.staging import StagedRows
from trainers.data.store import Prepared
from trainers.datasheet import DATASHEET, datasheet
from trainers.evaluation import EvaluationResult, evaluate_folder
from trainers.folder import ModelFolder
from trainers.modelcard import CARD, model_card
from trainers.report import EVALUATION, SAMPLES

logger = logging.getLogger(__name__)


def conclude(run: RunDirectory, model_path: str, metrics: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    """Score the test rows with the finished model folder; write `metrics.json`, the model card, the datasheet and
    `evaluation.json`.

    Returns:
        The metrics, with those of the test rows as `test_...`.
    """
    storage = Storage.open(model_path)
    calibrated(run, storage)
    result = score_test_rows(run.config, storage, prepared)
    if result is not None:
        metrics = metrics | {f"test_{name}": value for name, value in result.metrics.items()}
        run.storage.write_json(EVALUATION, describe(result))
    storage.write_text("metrics.json", json.dumps(metrics, indent=2) + "\n")
    storage.write_text(DATASHEET, datasheet(run.config, prepared))
    storage.write_text(CARD, model_card(run.config, metrics, storage.read_json("lineage.json")))
    return metrics


def calibrated(run: RunDirectory, model: Storage) -> None:
    """Fit a classifier's probabilities on its validation rows and leave them in its folder, if it has such rows."""
    from trainers.evaluation.confidence.fit import calibrate_run

    calibrate_run(ModelFolder.open(model.local_folder()), model, run.config.evaluate, run.storage.child("scratch"))


def score_test_rows(config: RunConfig, model: Storage, prepared: Prepared) -> EvaluationResult | None:
    """Scores on the test rows as the stages left them, or on `data.test`; None where the run has no test rows."""
    named = config.data.sources("test")
    files: Sequence[str | AnySource] = (
        StagedRows.open(prepared.rows_url).files.get("test", []) if prepared.rows_url else named
    )
    if not files:
        return None
    folder = ModelFolder.open(model.local_folder())
    return evaluate_folder(folder, files, config.evaluate, slices=config.evaluate.slices)


def describe(result: EvaluationResult) -> dict[str, Any]:
    """An evaluation as `evaluation.json` holds it: the scores, and a few rows that came out wrong."""
    wrong = [
        {"place": row.place, "reference": row.reference, "output": row.output}
        for row in result.predictions
        if row.reference is not None and (row.output or "").strip() != row.reference.strip()
    ]
    return result.summary() | {"wrong_predictions": wrong[:SAMPLES]}
