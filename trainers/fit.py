"""One training run from its config to a registered version, as the driver sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.config import RunConfig
from cluster.exceptions import MobulaError, mobula_cause
from cluster.progress import ProgressLine, Row, following
from cluster.registry import Registry
from cluster.runs import Record, RunDirectory
from cluster.session import check_workers_fit, ray_session
from cluster.storage import Storage
from cluster.tracking import Tracker
from trainers.conclude import conclude
from trainers.report import write_report
from trainers.run import TOKENIZER, Setup

if TYPE_CHECKING:
    from trainers.data.store import Prepared

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """What a finished run leaves behind."""

    run_dir: str
    state: str
    model_path: str
    version: int | None
    steps: int
    metrics: dict[str, Any] = field(default_factory=dict)
    data_report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    """One start of a run."""

    lease: str
    stop_after: int | None = None


def fit(
    config: RunConfig, listeners: list[Callable[[Row], None]] | None = None, stop_after: int | None = None
) -> FitResult:
    """Train what `config` describes, or continue it where an interrupted run stands.

    Args:
        listeners: called in this process with every row of metrics. Default: a progress line on stderr.
        stop_after: fail after this step as if killed there; for tests of resuming.

    Raises:
        UserError: for whatever the user can mend: data, model, resources, a run directory of another config.
        MobulaError: if a worker failed; the record of the run says so.
    """
    run = RunDirectory.open(config)
    config = run.config
    with run.lease() as lease, ray_session(config.cluster):
        known = run.record()
        if known is not None and known.state == "finished":
            logger.warning("%s is finished already; its model is in %s", config.name, known.model_path)
            return _result(run, known)
        check_workers_fit(config.cluster)
        begun = Record("running")
        run.write_record(begun)
        try:
            ended = _train(run, listeners, Launch(lease, stop_after))
        except BaseException as error:
            cause = mobula_cause(error) or error
            run.write_record(begun.failed(f"{type(cause).__name__}: {cause}"))
            raise cause from error
        run.write_record(begun.finished(**ended))
        write_report(run)
        return _result(run, begun.finished(**ended))


def _train(run: RunDirectory, listeners: list[Callable[[Row], None]] | None, launch: Launch) -> dict[str, Any]:
    """Train, export and register; returns what the record of the run is to say."""
    config = run.config
    prepared = prepare_data(run)
    tracker = Tracker(config.cluster.storage_path)
    tracker.start(config, {"fingerprint": prepared.fingerprint})
    line = ProgressLine(config.name)
    heard: list[Callable[[Row], None]] = [*(listeners if listeners is not None else [line.show])]
    heard = [*heard, lambda row: tracker.log_metrics(row, row["step"])]
    state = "failed"
    try:
        ended = _run_workers(run, prepared, heard, launch)
        line.close()
        published = publish(run, prepared, ended, home=config, mlflow_run_id=tracker.run_id)
        state = "finished"
    finally:
        tracker.finish(state)
    return published


def publish(
    run: RunDirectory, prepared: Prepared, ended: dict[str, Any], *, home: RunConfig, mlflow_run_id: str | None
) -> dict[str, Any]:
    """Make a model folder of a run whose training ended, score its test rows, and register it.

    Args:
        ended: what the workers report (`trainers.worker.summary`).
        home: whose name the model gets in the registry of its `cluster.storage_path`: the run's own config, or its study's.
        mlflow_run_id: of the run that the version belongs to.

    Returns:
        What the record of the run is to say.
    """
    import ray

    from trainers.export import export

    metrics = _metrics(ended, run.metrics())
    task = ray.remote(num_cpus=1)(export)
    model_path = ray.get(task.remote(run.config, run.storage.url, prepared.url, ended["best_step"], metrics))
    metrics = conclude(run, model_path, metrics, prepared)
    tags = {"fingerprint": prepared.fingerprint, "run_dir": run.storage.url}
    registry = Registry(home.cluster.storage_path)
    version = registry.register(home.name, model_path, metrics, tags, mlflow_run_id)
    return {
        "metrics": metrics,
        "model_path": model_path,
        "version": version,
        "steps": ended["step"],
        "details": {"data": prepared.report},
    }


def prepare_data(run: RunDirectory, storage: Storage | None = None) -> Prepared:
    """The prepared data of a run, and in its directory the tokenizer it was prepared with; each made once.

    Args:
        storage: where prepared data sets lie. Default: `data` in the run's `cluster.storage_path`.
    """
    from transformers import AutoTokenizer

    from trainers.data.prepare import prepare
    from trainers.data.staging import stage_rows
    from trainers.models import check_positions
    from trainers.tokenizer import load_tokenizer, training_texts

    config = run.config
    storage = storage or Storage.open(config.cluster.storage_path).child("data")
    check_positions(config)
    rows = stage_rows(config, storage, to_learn=True) if config.data.is_staged else None
    if not run.storage.exists(f"{TOKENIZER}/tokenizer_config.json"):
        files = rows.files["train"] if rows else None
        texts = training_texts(config, files) if config.model.kind == "scratch" else None
        upload_saved(load_tokenizer(config.model, texts).save_pretrained, run.storage, TOKENIZER)
    tokenizer = AutoTokenizer.from_pretrained(run.storage.local_folder(TOKENIZER))
    return prepare(config, tokenizer, storage, rows)


def upload_saved(save: Callable[[str], Any], storage: Storage, name: str) -> None:
    """Let a `save_pretrained` write to a temporary folder, and put that into storage."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mobula-") as temporary:
        folder = Path(temporary, name)
        save(str(folder))
        storage.upload_folder(folder, name)


def _run_workers(
    run: RunDirectory, prepared: Prepared, listeners: list[Callable[[Row], None]], launch: Launch
) -> dict[str, Any]:
    """Train on Ray Train workers; returns what they report at the end."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    from trainers.checkpoint import Checkpoints
    from trainers.worker import OUTCOME, train_worker

    config = run.config
    checkpoints = Checkpoints(run.storage.child("checkpoints"), prepared.fingerprint)
    if steps := checkpoints.steps():
        newest = checkpoints.load(steps[-1])  # refuses other data here, before any worker starts
        logger.warning("%s continues from step %d", config.name, newest.position.step)
    use_gpu = uses_gpu(config)
    run.storage.delete(OUTCOME)
    with following(run.storage, listeners) as mailbox:
        setup = Setup(config, run.storage.url, prepared.url, launch.lease, mailbox, launch.stop_after)
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"setup": setup},
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.cluster.num_workers,
                use_gpu=use_gpu,
                resources_per_worker={"CPU": config.cluster.cpus_per_worker} | ({"GPU": 1} if use_gpu else {}),
            ),
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
            run_config=ray.train.RunConfig(
                name="ray_train",
                storage_path=run.storage.place("logs"),
                failure_config=ray.train.FailureConfig(max_failures=config.cluster.max_failures),
            ),
        )
        result = trainer.fit()
    if result.error is not None or not run.storage.exists(OUTCOME):
        raise MobulaError(f"the workers of {config.name} ended without a result: {result.error}")
    return run.storage.read_json(OUTCOME)


def uses_gpu(config: RunConfig) -> bool:
    from cluster.session import resources

    return bool(resources()[1]) if config.cluster.use_gpu == "auto" else config.cluster.use_gpu


def _metrics(ended: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """What a run is remembered by: the last training row and the evaluation of the exported step."""
    logged = [row for row in rows if "loss" in row]
    evaluated = [row for row in rows if "eval_loss" in row and row["step"] == ended["best_step"]]
    found = {"train_loss": logged[-1]["loss"]} if logged else {}
    if evaluated:
        found |= {key: value for key, value in evaluated[-1].items() if key.startswith("eval_") and key != "eval_s"}
    found |= {"best_step": ended["best_step"], "train_s": round(ended["train_s"], 3), "tokens": ended["tokens"]}
    return found | {"tokens_per_s": ended["tokens"] / max(ended["train_s"], 1e-9)}


def _result(run: RunDirectory, record: Record) -> FitResult:
    assert record.model_path is not None and record.steps is not None
    return FitResult(
        run.storage.url,
        record.state,
        record.model_path,
        record.version,
        record.steps,
        record.metrics,
        record.details.get("data", {}),
    )
