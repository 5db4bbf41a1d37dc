"""What follows a training: the test rows are scored once, and the model folder gets its figures and its card."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from cluster.config import EvaluateConfig, RunConfig
from cluster.config.data import AnySource
from cluster.exceptions import UserError
from cluster.runs import RunDirectory
from cluster.storage import Storage
from trainers.data.staging import StagedRows
from trainers.data.store import Prepared
from trainers.datasheet import DATASHEET, datasheet
from trainers.evaluation import EvaluationResult, How, evaluate_subject
from trainers.evaluation.protocol.seen import write_seen_rows
from trainers.evaluation.protocol.suites import SuiteResult, run_suite
from trainers.evaluation.subjects import FolderSubject
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
    write_seen_rows(run.config, prepared, storage)
    calibrated(run, storage)
    result = score_test_rows(run.config, storage, prepared)
    suites = score_suites(run.config, storage, result)
    if result is not None:
        metrics = metrics | {f"test_{name}": value for name, value in result.metrics.items()}
    metrics = metrics | {f"suite_{one.name}_{name}": value for one in suites for name, value in _told(one).items()}
    if result is not None or suites:
        found = describe(result) if result is not None else {}
        run.storage.write_json(EVALUATION, found | {"suites": {one.name: one.summary() for one in suites}})
    storage.write_text("metrics.json", json.dumps(metrics, indent=2) + "\n")
    storage.write_text(DATASHEET, datasheet(run.config, prepared))
    scored = [*([result] if result is not None else []), *(one.result for one in suites)]
    storage.write_text(CARD, model_card(run.config, metrics, storage.read_json("lineage.json"), scored))
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
    return evaluate_subject(
        _subject(config, model), files, _settings(config), slices=config.evaluate.slices, how=_how(config)
    )


def score_suites(config: RunConfig, model: Storage, tested: EvaluationResult | None) -> list[SuiteResult]:
    """Scores on the suites of `evaluate.suites`. One that cannot be scored is told of and left out: the model is made."""
    found = []
    metrics = tested.metrics if tested is not None else None
    for name, suite in config.evaluate.suites.items():
        try:
            one = run_suite(_subject(config, model), name, suite, _settings(config), _how(config), tested=metrics)
        except UserError as error:
            logger.warning("evaluate.suites.%s could not be scored: %s", name, error)
            continue
        for miss in one.misses:
            logger.warning("evaluate.suites.%s: %s", name, miss)
        found.append(one)
    return found


def _subject(config: RunConfig, model: Storage) -> FolderSubject:
    return FolderSubject(ModelFolder.open(model.local_folder()), config.name)


def _settings(config: RunConfig) -> EvaluateConfig:
    """What was named as test rows is scored, come what may: a finished training is no time to refuse."""
    return config.evaluate.model_copy(update={"seen_rows": "flag"})


def _how(config: RunConfig) -> How:
    return How(config.cluster.storage_path, purpose="training")


def _told(suite: SuiteResult) -> dict[str, float]:
    """The scores of a suite that a run is remembered by: the headline, and what the suite asks for."""
    names = {suite.result.headline, *(miss.metric for miss in suite.misses)}
    return {name: suite.result.metrics[name] for name in sorted(names) if name in suite.result.metrics}


def describe(result: EvaluationResult) -> dict[str, Any]:
    """An evaluation as `evaluation.json` holds it: the scores, and a few rows that came out wrong."""
    wrong = [
        {"place": row.place, "reference": row.reference, "output": row.output}
        for row in result.predictions
        if row.reference is not None and (row.output or "").strip() != row.reference.strip()
    ]
    return result.summary() | {"wrong_predictions": wrong[:SAMPLES]}
