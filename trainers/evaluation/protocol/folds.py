"""Cross-validation: each fold is trained as an ordinary run without it and scored on it once.

The runs lie below `<storage_path>/cross-validation/`, with a registry of their own: none of them is a version of the model.
A run that is finished is not trained again, so an interrupted cross-validation goes on where it stood.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cluster.config import RunConfig
from cluster.config.stages.split import KFoldStage, SplitStage
from cluster.exceptions import ConfigError
from cluster.storage import Storage
from trainers.evaluation.result import EvaluationResult
from trainers.evaluation.store import EVALUATIONS, SUMMARY, EvaluationDirectory, load, save

logger = logging.getLogger(__name__)

CROSS_VALIDATION = "cross-validation"
LONGEST_NAME = 40


@dataclasses.dataclass(frozen=True)
class Folds:
    """How rows are dealt out.

    Attributes:
        number: folds.
        repeats: how often they are dealt, each time anew.
        groups: column whose values are not torn apart.
        time: column by which a fold lies behind the rows that are learnt from.
    """

    number: int
    repeats: int = 1
    groups: str | None = None
    time: str | None = None

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ConfigError: saying what.
        """
        if self.groups is not None and self.time is not None:
            raise ConfigError(
                f"--fold-groups {self.groups} and --fold-time {self.time} deal rows out in different ways; keep one"
            )
        if self.time is not None and self.repeats > 1:
            raise ConfigError("--repeats deals the folds anew, and by time there is only one way; leave it out")

    @property
    def test_to_train(self) -> float:
        """Rows scored for each row learnt from, on average over the folds."""
        if self.time is None:
            return 1 / (self.number - 1)
        return float(np.mean([1 / (fold + 1) for fold in range(self.number)]))


@dataclasses.dataclass(frozen=True)
class FoldScore:
    """A metric over the folds.

    Attributes:
        values: one for each fold of each repeat.
        interval: of the mean; None where the folds cannot tell.
    """

    metric: str
    mean: float
    sd: float
    interval: tuple[float, float] | None
    values: list[float]


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation found.

    Attributes:
        directory: the evaluation with the predictions of all folds (of the first repeat).
    """

    name: str
    folds: Folds
    scores: list[FoldScore]
    runs: list[str]
    directory: str
    confidence: float

    @property
    def note(self) -> str:
        """What the figures are, in words."""
        sure = f"{100 * self.confidence:g} %"
        return (
            f"{len(self.runs)} runs; the mean with a {sure} t interval that counts in that folds share training rows "
            f"(Nadeau and Bengio 2003); predictions of every row are in {self.directory}"
        )

    def summary(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**dataclasses.asdict(self), "note": self.note}


def cross_validate(config: RunConfig, folds: Folds) -> CrossValidation:
    """Train and score every fold of a run's training rows; its test rows stay untouched.

    Raises:
        ConfigError: if the run splits its rows already.
    """
    from cluster.session import ray_session

    folds.check()
    _check_stages(config)
    storage = _storage(config, folds)
    results: list[EvaluationResult] = []
    runs: list[str] = []
    with ray_session(config.cluster):
        for number, one in enumerate(_fold_configs(config, folds, storage), start=1):
            logger.info("cross-validation: run %d of %d", number, folds.number * folds.repeats)
            run_dir, result = _train_and_score(one)
            runs.append(run_dir)
            results.append(result)
    scores = fold_scores(results, folds, config.evaluate.confidence)
    directory = _save_pooled(config, folds, results[: folds.number], scores)
    return CrossValidation(config.name, folds, scores, runs, directory, config.evaluate.confidence)


def _check_stages(config: RunConfig) -> None:
    for stage in config.data.stages:
        if isinstance(stage, KFoldStage) or (isinstance(stage, SplitStage) and stage.test):
            raise ConfigError(
                f"data.stages: {stage.kind} sets rows aside to be scored already; remove it, --folds deals them out"
            )


def _storage(config: RunConfig, folds: Folds) -> Storage:
    """Below the run's storage, a folder for this way to deal: fold 0 of 5 is not fold 0 of 10."""
    kind = json.dumps([folds.number, folds.groups, folds.time])
    name = f"{config.name[:LONGEST_NAME]}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"
    return Storage.open(config.cluster.storage_path).child(CROSS_VALIDATION, name)


def _fold_configs(config: RunConfig, folds: Folds, storage: Storage) -> Iterator[RunConfig]:
    for repeat in range(folds.repeats):
        for fold in range(folds.number):
            stage = KFoldStage(folds=folds.number, fold=fold, column=folds.groups, time=folds.time, into="test")
            data = config.data.model_dump() | {
                "stages": [stage, *config.data.stages],
                "test": None,
                "seed": config.data.seed + repeat,
            }
            evaluate = config.evaluate.model_copy(update={"suites": {}, "seen_rows": "flag"})
            yield RunConfig.model_validate(
                config.model_dump()
                | {
                    "name": f"{config.name[:LONGEST_NAME]}-{repeat}-{fold}",
                    "data": data,
                    "evaluate": evaluate.model_dump(),
                    "cluster": config.cluster.model_dump() | {"storage_path": storage.url},
                }
            )


def _train_and_score(config: RunConfig) -> tuple[str, EvaluationResult]:
    """One fold as an ordinary run; its directory, and the evaluation it ended with."""
    from trainers.fit import fit
    from trainers.report import EVALUATION

    found = fit(config)
    fingerprint = Storage.open(found.run_dir).read_json(EVALUATION)["fingerprint"]
    return found.run_dir, load(EvaluationDirectory.of(config.cluster.storage_path, fingerprint).storage)


def fold_scores(results: Sequence[EvaluationResult], folds: Folds, confidence: float) -> list[FoldScore]:
    """Each metric that every fold has, over the folds."""
    names = [name for name in results[0].metrics if all(name in one.metrics for one in results)]
    return [_score(name, [float(one.metrics[name]) for one in results], folds, confidence) for name in names]


def _score(name: str, values: list[float], folds: Folds, confidence: float) -> FoldScore:
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    interval = corrected_interval(values, folds.test_to_train, confidence) if math.isfinite(sd) else None
    return FoldScore(name, mean, sd, interval, values)


def corrected_interval(values: Sequence[float], test_to_train: float, confidence: float) -> tuple[float, float]:
    """Interval of the mean over runs whose training rows overlap (Nadeau and Bengio 2003, "Inference for the
    Generalization Error"): the variance of the mean is (1/J + rows scored / rows learnt from) times that of the values.
    """
    from scipy import stats

    number = len(values)
    half = stats.t.ppf((1 + confidence) / 2, number - 1) * math.sqrt(
        (1 / number + test_to_train) * float(np.var(values, ddof=1))
    )
    mean = float(np.mean(values))
    return mean - half, mean + half


def _save_pooled(
    config: RunConfig, folds: Folds, results: Sequence[EvaluationResult], scores: Sequence[FoldScore]
) -> str:
    """The predictions of all folds as one evaluation, for slices and comparisons; its metrics are the means."""
    first = results[0]
    predictions = [one for result in results for one in result.predictions]
    parts = json.dumps([*(result.fingerprint for result in results), dataclasses.asdict(folds)])
    fingerprint = hashlib.sha256(parts.encode()).hexdigest()[:24]
    pooled = dataclasses.replace(
        first,
        n=len(predictions),
        metrics={score.metric: score.mean for score in scores},
        intervals={score.metric: score.interval for score in scores if score.interval is not None},
        slices={},
        slice_intervals={},
        predictions=predictions,
        duration_s=sum(result.duration_s for result in results),
        fingerprint=fingerprint,
        subject=f"{config.name}, {folds.number} folds",
        sections={"folds": {"scores": [dataclasses.asdict(score) for score in scores]}},
    )
    storage = Storage.open(config.cluster.storage_path).child(EVALUATIONS, fingerprint)
    save(pooled, storage)
    return storage.place(SUMMARY).rpartition("/")[0]
