"""Runs lm-evaluation-harness on what Mobula scores, and keeps what it found as an evaluation directory."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster.exceptions import DataError, mobula_cause
from cluster.runs import now
from cluster.storage import Storage
from trainers.evaluation.harness.settings import PACKAGE, HarnessModel, HarnessSettings, fingerprint, harness_model
from trainers.evaluation.harness.worker import QUIET, run_tasks
from trainers.evaluation.statistic import Sums
from trainers.evaluation.statistics.intervals import interval_for
from trainers.evaluation.store import EVALUATIONS
from trainers.evaluation.subjects import Subject

RESULT = "harness.json"
SAMPLES = "samples"
CACHE = "answers"
NUM_RESAMPLES = 2_000
SAME = 1e-6


@dataclasses.dataclass(frozen=True)
class Score:
    """One metric of one task.

    Attributes:
        metric: its name, with the harness's filter where that is not `none`: `exact_match,strict-match`.
        low: of the interval, where the metric is a mean over rows or its standard error is known; else None.
        n: rows.
    """

    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    stderr: float | None
    n: int
    higher_is_better: bool | None


@dataclasses.dataclass(frozen=True)
class HarnessResult:
    """What the harness found.

    Attributes:
        scores: every metric of every task and group.
        place: folder that it lies in.
        is_cached: whether it was found before.
    """

    model: str
    scores: list[Score]
    settings: dict[str, Any]
    fingerprint: str
    version: str
    scored_at: str
    duration_s: float
    raw: dict[str, Any]
    place: str = ""
    is_cached: bool = False

    def summary(self) -> dict[str, Any]:
        """Ready for JSON."""
        return dataclasses.asdict(self)


def evaluate_with_harness(
    subject: Subject, settings: HarnessSettings, storage_path: str, confidence: float = 0.95, fresh: bool = False
) -> HarnessResult:
    """Score a model on the harness's tasks, on the connected Ray cluster. The same is answered from storage.

    Raises:
        UserError: saying which task, data or model cannot be used, and what to change.
    """
    settings = settings.anchored()
    model = harness_model(subject, settings)
    name = fingerprint(model, settings)
    storage = Storage.open(storage_path).child(EVALUATIONS, name)
    if fresh:
        storage.delete()
    if storage.exists(RESULT):
        known = storage.read_json(RESULT)
        scores = [Score(**score) for score in known.pop("scores")]
        return HarnessResult(**known | {"place": storage.url, "is_cached": True}, scores=scores)
    started = time.monotonic()
    raw = _in_cluster(model, settings, storage)
    samples = raw.pop("samples", {})
    result = HarnessResult(
        model=model.name,
        scores=scores_of(raw, samples, confidence),
        settings=dataclasses.asdict(settings),
        fingerprint=name,
        version=importlib.metadata.version(PACKAGE),
        scored_at=now(),
        duration_s=time.monotonic() - started,
        raw=raw,
        place=storage.url,
    )
    for task, rows in samples.items():
        storage.write_text(f"{SAMPLES}/{task}.jsonl", "".join(json.dumps(row, default=str) + "\n" for row in rows))
    storage.write_json(RESULT, result.summary())
    storage.delete(CACHE)
    return result


def _in_cluster(model: HarnessModel, settings: HarnessSettings, storage: Storage) -> dict[str, Any]:
    import ray

    cpus, gpus = _largest_node()
    cache = None
    if storage.is_local:
        cache = storage.place(f"{CACHE}/cache")
        os.makedirs(storage.place(CACHE), exist_ok=True)
    needs = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": cpus}
    task = ray.remote(run_tasks).options(**needs, max_retries=0, runtime_env={"env_vars": QUIET})
    try:
        found: dict[str, Any] = ray.get(task.remote(model, settings, cpus, cache))
    except Exception as error:  # Ray wraps what a task raised; the user is told of his own mistake only
        mistake = mobula_cause(error)
        if mistake is None:
            raise
        raise mistake from None
    return found


def _largest_node() -> tuple[int, int]:
    """CPUs of the largest node, and whether one has a GPU, as Ray counts them."""
    import ray

    held = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max(int(one.get("CPU", 0)) for one in held) or 1, max(int(one.get("GPU", 0)) for one in held)


# -- scores ---------------------------------------------------------------------------------------


def scores_of(
    raw: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]], confidence: float
) -> list[Score]:
    """Every metric of every task and group, with an interval.

    A metric that is the mean of one value a row gets the interval of such a mean (Wilson for shares, else BCa); of others
    the harness knows a standard error at best.
    """
    found = []
    for task, results in {**raw["results"], **raw.get("groups", {})}.items():
        better = raw.get("higher_is_better", {}).get(task, {})
        for key, value in results.items():
            metric, comma, chosen = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            stderr = results.get(f"{metric}_stderr,{chosen}")
            stderr = float(stderr) if isinstance(stderr, int | float) else None
            rows = [row.get(metric) for row in samples.get(task, ()) if row.get("filter", "none") == chosen]
            low, high = _interval(rows, float(value), stderr, confidence)
            shown = metric if chosen == "none" else key
            n = int(results.get("sample_len", len(samples.get(task, ()))))
            found.append(Score(task, shown, float(value), low, high, stderr, n, better.get(metric)))
    return found


def _interval(
    rows: Sequence[Any], value: float, stderr: float | None, confidence: float
) -> tuple[float | None, float | None]:
    values = [float(one) for one in rows if isinstance(one, int | float)]
    if len(values) > 1 and len(values) == len(rows) and abs(float(np.mean(values)) - value) < SAME:
        try:
            found = interval_for(Sums.mean(values), confidence=confidence, num_resamples=NUM_RESAMPLES)
        except DataError:  # not defined on most samples of so few rows
            return None, None
        return found.low, found.high
    if stderr is None:
        return None, None
    from scipy import stats

    reach = float(stats.norm.ppf(0.5 + confidence / 2)) * stderr
    return value - reach, value + reach
