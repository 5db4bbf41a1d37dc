"""From a model folder and data files to an `EvaluationResult`, through Ray Data."""

from __future__ import annotations

import itertools
import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from cluster.config import DataConfig, EvaluateConfig
from cluster.config.data import AnySource
from cluster.exceptions import DataError, mobula_cause
from trainers.data.formats import Limits
from trainers.data.ray_data import quiet_context
from trainers.data.sources import locate, read
from trainers.evaluation.metrics import (
    AnswerScorer,
    Metrics,
    class_report,
    label_metrics,
    loss_metrics,
    most_common,
)
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.scorers import NO_VALUE, SCORERS, Task
from trainers.folder import ModelFolder

logger = logging.getLogger(__name__)

BATCHES_PER_WINDOW = 4
MOST_ACTORS = 8
CPU_SHARE = 0.5
"""Logical CPUs that one actor reserves: half of one, so that as many actors as cores leave room for the reading tasks."""
Progress = Callable[[int], None]


def evaluate_folder(
    folder: ModelFolder,
    data: Sequence[str | AnySource],
    evaluate: EvaluateConfig | None = None,
    *,
    slices: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> EvaluationResult:
    """Score a model folder on data files, on the connected Ray cluster; nothing but the folder is needed.

    Args:
        data: files, folders, globs or URLs, as in `data.test`. Row shape, column names and system message are those
            of the run that made the folder.
        slices: columns whose values are scored one by one as well.
        on_progress: told how many rows are done, after each window.

    Raises:
        DataError: for unreadable rows, a label that training never saw, or a slice column that no row has.
    """
    started = time.monotonic()
    evaluate = evaluate or EvaluateConfig()
    config = _data_config(folder, data)
    sources = locate(list(data), "test", limits=Limits.of(config))
    task = Task(folder, sources, config, evaluate, tuple(slices))
    predictions = _predict(task, on_progress or (lambda _: None))
    return summarise(folder.kind, predictions, slices, time.monotonic() - started)


def _data_config(folder: ModelFolder, data: Sequence[str | AnySource]) -> DataConfig:
    """How rows are read: as the folder's own run read them, else by the defaults."""
    known = folder.config.data.model_dump() if folder.config else {}
    unused = dict.fromkeys(("validation", "test", "max_rows", "mix"))
    return DataConfig(**{**known, **unused, "train": list(data), "val_size": 0.0})


def _predict(task: Task, on_progress: Progress) -> list[Prediction]:
    """Stream the rows through actors that hold the model; predictions come back in the order of the files."""
    import pyarrow as pa

    predictions: list[Prediction] = []
    window = task.evaluate.batch_size * BATCHES_PER_WINDOW
    num_windows = _num_windows(task, window)
    try:
        with quiet_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray Data warns of its own deprecations and of small inputs
            rows = read(task.sources)
            if task.evaluate.max_rows is not None:
                rows = rows.limit(task.evaluate.max_rows)
            scored = rows.repartition(target_num_rows_per_block=window).map_batches(
                SCORERS[task.folder.kind],
                fn_constructor_args=(task,),
                batch_size=window,
                batch_format="pyarrow",
                **_placement(num_windows),
            )
            for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                predictions += [Prediction(**json.loads(line)) for line in pa.table(batch)["prediction"].to_pylist()]
                on_progress(len(predictions))
    except Exception as error:  # Ray Data wraps what a task raised; the user is told of his own mistake only
        mistake = mobula_cause(error)
        if mistake is None:
            raise
        raise mistake from None
    return predictions


def _num_windows(task: Task, window: int) -> int:
    """How many windows there are, counted up to as many as there could be actors."""
    most = min(task.evaluate.max_rows or MOST_ACTORS * window, MOST_ACTORS * window)
    every_row = itertools.chain.from_iterable(plan.rows() for plan in task.sources.plans)
    rows = sum(1 for _ in itertools.islice(every_row, most))
    if not rows:
        names = ", ".join(dict.fromkeys(file.source for file in task.sources.files))
        raise DataError(f"{names}: no rows were found to score; expected at least one")
    return -(-rows // window)


def _placement(num_windows: int) -> dict[str, Any]:
    """Actors that fit the work and the cluster: one for each GPU, else one for each core."""
    import ray
    from ray.data import ActorPoolStrategy

    from cluster.session import resources

    cpus, gpus = resources()
    number = max(min(int(gpus) or int(cpus), num_windows, MOST_ACTORS), 1)
    placement = {"compute": ActorPoolStrategy(size=number), "num_cpus": CPU_SHARE}
    if len(ray.nodes()) == 1:  # where one machine is all there is, a lost actor would be lost again
        placement["max_restarts"] = 0
    return placement | ({"num_gpus": 1} if gpus >= 1 else {})


def _check_slices(slices: Sequence[str], predictions: list[Prediction]) -> None:
    for name in slices:
        if all(prediction.slices[name] == NO_VALUE for prediction in predictions):
            raise DataError(f"no row has the slice column {name!r}; name a column that the rows of --data have")


def summarise(kind: str, predictions: list[Prediction], slices: Sequence[str], duration_s: float) -> EvaluationResult:
    """Scores of all rows, of each slice, and of always giving the most common reference.

    Raises:
        DataError: for a slice column that no row has.
    """
    _check_slices(slices, predictions)
    score, baseline, answer = (_label_scores if kind == "classification" else _answer_scores)(predictions)
    compared = [prediction for prediction in predictions if prediction.reference is not None]
    references, outputs = [one.reference or "" for one in compared], [one.output or "" for one in compared]
    by_slice = {
        name: {value: {"n": len(rows), **score(rows)} for value, rows in _groups(predictions, name).items()}
        for name in slices
    }
    metrics = score(predictions) | {"cut_rows": sum(prediction.was_cut for prediction in predictions)}
    return EvaluationResult(
        kind=kind,
        n=len(predictions),
        metrics=metrics,
        baseline=baseline,
        baseline_answer=answer,
        slices=by_slice,
        classes=class_report(references, outputs) if kind == "classification" else {},
        predictions=predictions,
        duration_s=duration_s,
    )


Score = Callable[[Sequence[Prediction]], Metrics]


def _answer_scores(predictions: list[Prediction]) -> tuple[Score, Metrics, str | None]:
    references = [prediction.reference for prediction in predictions if prediction.reference is not None]
    scorer = AnswerScorer(references)
    answer = most_common(references)

    def score(rows: Sequence[Prediction]) -> Metrics:
        pairs = [(row.reference, row.output) for row in rows if row.reference is not None and row.output is not None]
        return loss_metrics(rows) | scorer.score(pairs)

    return score, scorer.baseline(references, answer) if answer is not None else {}, answer


def _label_scores(predictions: list[Prediction]) -> tuple[Score, Metrics, str | None]:
    references = [prediction.reference or "" for prediction in predictions]
    answer = most_common(references)

    def score(rows: Sequence[Prediction]) -> Metrics:
        loss = {"loss": loss_metrics(rows)["loss"]}
        return loss | label_metrics([row.reference or "" for row in rows], [row.output or "" for row in rows])

    return score, label_metrics(references, [answer or ""] * len(references)), answer


def _groups(predictions: list[Prediction], name: str) -> dict[str, list[Prediction]]:
    groups: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction.slices[name], []).append(prediction)
    return dict(sorted(groups.items()))
