"""From a model folder and data files to an `EvaluationResult`, through Ray Data."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from cluster.config import DataConfig, EvaluateConfig, MetricSpec
from cluster.config.data import AnySource
from cluster.exceptions import DataError, mobula_cause
from trainers.data.formats import Limits
from trainers.data.ray_data import quiet_context
from trainers.data.sources import locate, read
from trainers.evaluation.baseline import baseline
from trainers.evaluation.metrics import measure, specs_for
from trainers.evaluation.metrics.classification import class_report
from trainers.evaluation.result import EvaluationResult, Prediction, from_table
from trainers.evaluation.rows import Rows
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
    result = summarise(folder.kind, Rows(predictions, folder.labels), evaluate, slices)
    return dataclasses.replace(result, duration_s=time.monotonic() - started)


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
                predictions += from_table(pa.table(batch))
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


def _check_slices(slices: Sequence[str], predictions: Sequence[Prediction]) -> None:
    for name in slices:
        if all(prediction.slices[name] == NO_VALUE for prediction in predictions):
            raise DataError(f"no row has the slice column {name!r}; name a column that the rows of --data have")


def summarise(kind: str, rows: Rows, evaluate: EvaluateConfig, slices: Sequence[str] = ()) -> EvaluationResult:
    """Scores of all rows, of each slice, and of always giving the most common reference.

    Raises:
        DataError: for a slice column that no row has.
    """
    _check_slices(slices, rows.predictions)
    specs = specs_for(kind, evaluate.metrics)
    metrics = {name: one.value for name, one in measure(rows, specs).items()}
    floor, answer = baseline(rows, specs)
    return EvaluationResult(
        kind=kind,
        n=len(rows),
        metrics=metrics | {"cut_rows": sum(one.was_cut for one in rows.predictions)},
        baseline=floor,
        baseline_answer=answer,
        slices={name: _scores_by_value(rows, name, specs) for name in slices},
        classes=class_report(rows) if kind == "classification" else {},
        predictions=list(rows.predictions),
        duration_s=0.0,
        labels=list(rows.labels),
    )


def _scores_by_value(rows: Rows, name: str, specs: Sequence[MetricSpec]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Prediction]] = {}
    for prediction in rows.predictions:
        groups.setdefault(prediction.slices[name], []).append(prediction)
    parts = {value: Rows(found, rows.labels) for value, found in sorted(groups.items())}
    return {
        value: {"n": len(part), **{found: one.value for found, one in measure(part, specs).items()}}
        for value, part in parts.items()
    }
