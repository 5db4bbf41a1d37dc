"""What trials answered on the validation rows, row by row: what tells a lead from luck.

Trials keep scores only. The best of them, whose checkpoints are there, can be asked again; their answers are kept in
`answers/` in their run directories.
"""

from __future__ import annotations

import math

import numpy as np

from cluster.exceptions import ConfigError
from cluster.session import ray_session
from cluster.storage import Storage
from trainers.evaluation import EvaluationResult
from trainers.evaluation.store import load, save
from tuning.report.facts import StudyFacts
from tuning.report.reading import StudyFolder
from tuning.study import TRIALS

ANSWERS = "answers"


def known_values(folder: StudyFolder, study: StudyFacts) -> dict[str, np.ndarray]:
    """One value a row of each trial whose answers are kept, the same rows in the same order; empty where fewer than two
    are, or the metric is no mean over rows."""
    results = {
        trial.name: load(_answers(folder, trial.name))
        for trial in study.ranked
        if _answers(folder, trial.name).exists("evaluation.json")
    }
    found = {name: row_values(result, study.objective.name) for name, result in results.items()}
    keys = {name: [(one.place, one.key) for one in result.predictions] for name, result in results.items()}
    same = [name for name, values in found.items() if values is not None and keys[name] == next(iter(keys.values()))]
    return {name: found[name] for name in same} if len(same) >= 2 else {}  # type: ignore[misc]


def row_values(result: EvaluationResult, metric: str) -> np.ndarray | None:
    """Right or wrong, or the loss, of each row, shape (n,), float64; None for metrics that are no mean of either."""
    if metric.endswith(("accuracy", "exact_match")):
        pairs = [(one.reference or "", one.output or "") for one in result.predictions]
        return np.array([expected.strip() == given.strip() for expected, given in pairs], float)
    if metric == "eval_loss":
        losses = [one.loss_sum / one.loss_units if one.loss_units else math.nan for one in result.predictions]
        return np.array(losses, float)
    return None


def ask(folder: StudyFolder, study: StudyFacts, count: int) -> list[str]:
    """Let the best trials whose weights are there answer the validation rows, and keep what they say.

    Returns:
        Names of those that have answered, now or before.

    Raises:
        ConfigError: if fewer than two have weights, or the study has no validation rows.
    """
    trials = [trial.name for trial in study.ranked if _has_weights(folder, trial.name)][:count]
    if len(trials) < 2:
        raise ConfigError(
            f"{folder.storage.url}: found {len(trials)} trials whose checkpoints are there; expected at least 2: a study keeps "
            "those of its best tune.keep trials"
        )
    missing = [name for name in trials if not _answers(folder, name).exists("evaluation.json")]
    if missing:
        with ray_session(folder.config.cluster):
            for name in missing:
                _ask(folder, name)
    return trials


def _ask(folder: StudyFolder, name: str) -> None:
    from trainers.evaluation.evaluate import evaluate_subject
    from trainers.evaluation.subjects import FolderSubject
    from tuning.ensemble.members import of_trial
    from tuning.ensemble.rows import validation_rows

    trial = folder.storage.child(TRIALS, name)
    rows = validation_rows(folder.config, folder.storage.child(ANSWERS))
    evaluate = folder.config.evaluate.model_copy(
        update={"seen_rows": "flag"}
    )  # what chose it is just what is asked for
    save(evaluate_subject(FolderSubject(of_trial(trial, name).folder), rows, evaluate), _answers(folder, name))


def _has_weights(folder: StudyFolder, name: str) -> bool:
    trial = folder.storage.child(TRIALS, name)
    return trial.exists("model/config.json") or trial.exists("checkpoints")


def _answers(folder: StudyFolder, name: str) -> Storage:
    return folder.storage.child(TRIALS, name, ANSWERS)
