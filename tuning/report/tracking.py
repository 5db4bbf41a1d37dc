"""A study in MLflow: one run for the study, and below it one for each trial.

Whatever is there already is left as it is, so a study that was extended is recorded by the same call.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cluster.config import RunConfig
from cluster.tracking import experiment_of, flat_params, log_params, log_points, mlflow_client, numbers
from tuning.report.facts import StudyFacts, TrialFacts
from tuning.report.history import best_so_far

logger = logging.getLogger(__name__)

STUDY_TAG, TRIAL_TAG, ENDED_TAG = "mobula.study", "mobula.trial", "mobula.finished_at"
_MOST_RUNS = 1000
"""In one answer of MLflow."""


def record_study(storage_url: str, config: RunConfig, study: StudyFacts, files: Mapping[str, str]) -> str | None:
    """Record a study and its trials.

    Args:
        storage_url: where the MLflow file lies, unless MLFLOW_TRACKING_URI names a server.
        files: small files to attach to the run of the study, name -> path.

    Returns:
        Id of the run of the study; None if MLflow did not take it, which is said and stops nothing.
    """
    try:
        return _record(mlflow_client(storage_url), storage_url, config, study, files)
    except Exception as error:  # MLflow mirrors the folder of the study, which holds all of this
        logger.warning("MLflow did not take the study (%s); it is in its folder", error)
        return None


def _record(client: Any, storage_url: str, config: RunConfig, study: StudyFacts, files: Mapping[str, str]) -> str:
    from mlflow.entities import Metric

    experiment = experiment_of(client, storage_url, config.name)
    parent = _found(client, experiment, STUDY_TAG, study.name)
    if parent is None:
        tags = {STUDY_TAG: study.name}
        parent = str(client.create_run(experiment, run_name=f"{study.name} (study)", tags=tags).info.run_id)
        log_params(client, parent, flat_params(config))
    known = _children(client, experiment, parent)
    for trial in study.trials:
        run_id, ended = known.get(trial.name, ("", ""))
        if run_id and ended == trial.finished_at:
            continue
        if run_id:
            client.delete_run(run_id)  # it failed or was stopped, and has been trained again since
        _record_trial(client, experiment, parent, trial)
    best = best_so_far(study.scores(), study.objective.maximises)
    name = f"best/{study.objective.name}"
    log_points(client, parent, [Metric(name, float(one), 0, at) for at, one in enumerate(best, start=1)])
    for name, value in numbers(study.published.get("metrics", {})).items():
        client.log_metric(parent, f"final/{name}", value)
    for path in files.values():
        client.log_artifact(parent, path)
    client.set_terminated(parent, status="FINISHED")
    return parent


def _record_trial(client: Any, experiment: str, parent: str, trial: TrialFacts) -> None:
    from mlflow.entities import Metric

    tags = {"mlflow.parentRunId": parent, TRIAL_TAG: trial.name, ENDED_TAG: trial.finished_at}
    began = _ms(trial.started_at)
    run_id = client.create_run(experiment, start_time=began, run_name=trial.name, tags=tags).info.run_id
    log_params(client, run_id, {key: str(value) for key, value in trial.outcome.values.items()})
    points = [
        Metric(name, value, began or 0, int(row["step"]))
        for row in trial.rows
        for name, value in numbers(row).items()
        if name != "step" and math.isfinite(value)
    ]
    final = numbers(trial.outcome.result).items()
    points += [Metric(f"final/{name}", value, began or 0, 0) for name, value in final if math.isfinite(value)]
    log_points(client, run_id, points)
    if trial.outcome.error:
        client.set_tag(run_id, "mobula.error", trial.outcome.error[:4000])
    status = "FAILED" if trial.outcome.error else "KILLED" if trial.outcome.stopped else "FINISHED"
    client.set_terminated(run_id, status=status, end_time=_ms(trial.finished_at))


def _found(client: Any, experiment: str, tag: str, value: str) -> str | None:
    runs = client.search_runs([experiment], f"tags.`{tag}` = '{value}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _children(client: Any, experiment: str, parent: str) -> dict[str, tuple[str, str]]:
    """Run and end of each trial that is recorded."""
    found, token = {}, None
    while True:
        page = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'", 1, _MOST_RUNS, None, token)
        for run in page:
            found[run.data.tags.get(TRIAL_TAG, "")] = run.info.run_id, run.data.tags.get(ENDED_TAG, "")
        token = page.token
        if not token:
            return found


def _ms(moment: str) -> int | None:
    return int(datetime.fromisoformat(moment).timestamp() * 1000) if moment else None
