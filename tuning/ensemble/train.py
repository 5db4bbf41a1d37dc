"""Trains members from one run.yaml: other seeds, other samples, other weights, other folds, or other moments of one run.

A member is an ordinary run below `<ensemble>/members/`, trained by workers that stay warm from one to the next. One that
ended in an earlier start is taken as it is; one that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
import numpy as np

from cluster.config import RunConfig
from cluster.config.ensemble import Bagging, Boosting, Folds, Seeds, Snapshots
from cluster.config.stages.select import BootstrapStage
from cluster.config.stages.split import KFoldStage, WeightColumn, WeightsStage
from cluster.exceptions import ConfigError, MobulaError
from cluster.progress import lines as metric_lines
from cluster.runs import Record, RunDirectory
from trainers.evaluation.result import Prediction
from tuning.ensemble.members import MEMBERS, Candidate, data_of, exported, found_members, has_model, opened, snapshots
from tuning.ensemble.rows import training_rows
from tuning.ensemble.workshop import Workshop

logger = logging.getLogger(__name__)

WEIGHT = "boosting_weight"
"""Column of the rows that a boosted member learns from."""


def trained_members(workshop: Workshop, config: RunConfig, plan: Any) -> list[Candidate]:
    """The members that a plan makes. Ray must be initialised.

    Raises:
        ConfigError: for a plan that does not suit the run.
    """
    return TRAINERS[plan.kind](workshop, config, plan)


def _member(workshop: Workshop, config: RunConfig, name: str, **sections: dict[str, Any]) -> RunConfig:
    """The run of one member: the file with some keys replaced, in the ensemble's folder.

    Args:
        sections: `train={...}` and the like: keys of a section that are replaced.
    """
    place = workshop.run.storage.place(MEMBERS)
    values = config.model_dump(exclude={"tune", "ensemble", "gate"}) | {"name": name}
    values["cluster"] |= {"storage_path": place}
    for section, keys in sections.items():
        values[section] |= keys
    return RunConfig.model_validate(values)


def _seeds(workshop: Workshop, config: RunConfig, plan: Seeds) -> list[Candidate]:
    first = config.train.seed
    configs = [
        _member(workshop, config, f"seed-{seed}", train={"seed": seed}) for seed in range(first, first + plan.count)
    ]
    return train(configs)


def _bagging(workshop: Workshop, config: RunConfig, plan: Bagging) -> list[Candidate]:
    configs = []
    for number in range(plan.count):
        stages = [*config.data.stages, BootstrapStage(share=plan.share, sample=number)]
        seed = {"seed": config.train.seed + number}
        configs.append(_member(workshop, config, f"bag-{number}", data={"stages": stages}, train=seed))
    return train(configs)


def _folds(workshop: Workshop, config: RunConfig, plan: Folds) -> list[Candidate]:
    """A run for each fold, of this file or of the file behind each of `ensemble.members`."""
    settings = workshop.settings
    bases = [config]
    if settings.members:
        found = found_members(list(settings.members), workshop.storage_path, settings.top, None)
        bases = [one.folder.config or config for one in found]
    if not (config.data.validation or config.data.val_size):
        raise ConfigError(
            "ensemble.train=folds: found no validation rows beside the folds, and the ensemble is held against its members on "
            "those; set data.validation or data.val_size"
        )
    configs = []
    for number, base in enumerate(bases):
        for fold in range(plan.count):
            stages = [*config.data.stages, KFoldStage(folds=plan.count, fold=fold, into="test")]
            data = {name: getattr(config.data, name) for name in type(config.data).model_fields}
            data |= {"stages": stages, "test": None, "max_length": base.data.max_length}
            configs.append(_member(workshop, base, f"model-{number}-fold-{fold}", data=data))
    made = train(configs)
    held = [_held_rows(RunDirectory.open(one)) for one in configs]
    return [
        dataclasses.replace(one, group=index // plan.count, held=tuple(rows))
        for index, (one, rows) in enumerate(zip(made, held, strict=True))
    ]


def _held_rows(run: RunDirectory) -> list[Any]:
    """The rows of the fold that a run did not learn from."""
    from trainers.data.staging import StagedRows
    from trainers.fit import prepare_data

    prepared = prepare_data(run, data_of(run.config))
    assert prepared.rows_url is not None, "a run with a fold has stages"
    return list(StagedRows.open(prepared.rows_url).files["test"])


def _snapshots(workshop: Workshop, config: RunConfig, plan: Snapshots) -> list[Candidate]:
    made = _member(workshop, config, "snapshots", train={"save_total_limit": plan.count})
    [run] = _run_all([made])
    return snapshots(run, plan.count)


def _boosting(workshop: Workshop, config: RunConfig, plan: Boosting) -> list[Candidate]:
    """AdaBoost SAMME (Zhu et al. 2009): rows that a member gets wrong weigh more for the next, and members vote by the
    log-odds of their weighted accuracy, more than chance."""
    if config.train.objective.kind != "classification":
        raise ConfigError(
            f"boosting weighs classes got wrong; found train.objective.kind={config.train.objective.kind}"
        )
    [first] = train([_member(workshop, config, "boost-0")])
    rows = training_rows(config, workshop.run.storage)
    held = [source if isinstance(source, str) else source.model_dump() for source in workshop.validation]
    found: list[Candidate] = []
    weights = np.ones(len(workshop.answers(first.folder, rows)))
    one = first
    for number in range(1, plan.count + 1):
        answers = workshop.answers(one.folder, rows)
        vote, weights = samme(answers, weights, len(one.folder.labels))
        if vote is None:
            logger.warning("%s is no better than chance on the weighted rows, so boosting ends", one.name)
            break
        found.append(Candidate(one.name, one.folder, one.place, weight=vote))
        if not weights.any() or number == plan.count:
            break
        data = {
            "train": _weighted(workshop, number, answers, weights),
            "validation": held,
            "val_size": 0.0,
            "test": None,
            "shape": "auto",
            "max_rows": None,
            "mix": None,
            "stages": [WeightsStage(by=WeightColumn(column=WEIGHT))],
        }
        [one] = train([_member(workshop, config, f"boost-{number}", data=data)])
    if len(found) < 2:
        raise ConfigError(
            f"boosting ended with {len(found)} member: the first one is right on every training row, or no better than chance; "
            "train it for fewer steps, or use seeds"
        )
    return found


def samme(answers: Sequence[Prediction], weights: np.ndarray, classes: int) -> tuple[float | None, np.ndarray]:
    """The vote of a member, and the weights of the rows for the next one, with a mean of 1.

    Returns:
        None for a member that is no better than chance; weights of 0 where it is right everywhere.
    """
    wrong = np.array([one.output != one.reference for one in answers])
    error = float(weights[wrong].sum() / weights.sum())
    if error <= 0:
        return float(np.log(len(answers) * (classes - 1))), np.zeros(len(answers))
    if error >= 1 - 1 / classes - 1e-9:
        return None, weights
    vote = float(np.log((1 - error) / error) + np.log(classes - 1))
    grown = weights * np.exp(vote * wrong)
    return vote, grown / grown.mean()


def _weighted(workshop: Workshop, number: int, answers: Sequence[Prediction], weights: np.ndarray) -> list[str]:
    """The training rows with their weights, as a file."""
    name = f"boosting-{number}.jsonl"
    lines = [
        json.dumps({"text": one.prompt, "label": one.reference, WEIGHT: round(float(weight), 6)}, ensure_ascii=False)
        for one, weight in zip(answers, weights, strict=True)
    ]
    workshop.run.storage.write_text(name, "".join(f"{line}\n" for line in lines))
    return [workshop.run.storage.place(name)]


TRAINERS: dict[str, Callable[[Workshop, RunConfig, Any], list[Candidate]]] = {
    "seeds": _seeds,
    "bagging": _bagging,
    "boosting": _boosting,
    "folds": _folds,
    "snapshots": _snapshots,
}
"""Kind of `ensemble.train` -> what makes its members."""


# -- training -------------------------------------------------------------------------------------


def train(configs: Sequence[RunConfig]) -> list[Candidate]:
    """Train runs one after the other and write out their models. Those that ended before are not trained again."""
    found = []
    for run in _run_all(configs):
        place = run.storage.place("model") if has_model(run.storage) else exported(run)
        found.append(Candidate(run.config.name, opened(place), place))
    return found


def _run_all(configs: Iterable[RunConfig]) -> list[RunDirectory]:
    """Train what has not ended yet. Data is prepared before the workers take the cluster's CPUs."""
    from trainers.fit import prepare_data, uses_gpu
    from tuning.gang import Gang

    runs = [RunDirectory.open(config) for config in configs]
    waiting = [run for run in runs if (known := run.record()) is None or known.state != "finished"]
    prepared = [prepare_data(run, data_of(run.config)).url for run in waiting]
    if not waiting:
        return runs
    gang = Gang.start(waiting[0].config.cluster, group=None, use_gpu=uses_gpu(waiting[0].config))
    try:
        for number, (run, url) in enumerate(zip(waiting, prepared, strict=True), start=1):
            click.echo(f"training member {number}/{len(waiting)}  {run.config.name}", err=True)
            _train(gang, run, url)
    finally:
        gang.stop()
    return runs


def _train(gang: Any, run: RunDirectory, prepared_url: str) -> None:
    from trainers.run import Setup

    with run.lease() as lease:
        run.write_record(Record("running"))
        try:
            gang.call("begin", Setup(run.config, run.storage.url, prepared_url, lease))
            rows, is_over = [], False
            while not is_over:
                told, is_over = gang.call("advance")
                rows += told
            summary = gang.call("summary")
            gang.call("end")
        except Exception as error:
            run.write_record(Record("running").failed(f"{type(error).__name__}: {error}"))
            raise
        run.storage.write_text("metrics.jsonl", metric_lines(rows))
        scored = [row for row in rows if "eval_loss" in row]
        scores = {name: value for name, value in (scored[-1] if scored else {}).items() if name.startswith("eval_")}
        if not run.storage.exists("checkpoints"):
            raise MobulaError(f"{run.config.name} left no checkpoint; this is a bug")
        result = scores | summary
        run.write_record(Record("running").finished(steps=summary["step"], metrics=scores, details={"result": result}))
