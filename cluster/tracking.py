"""MLflow, kept out of the way: training never waits for it and never fails because of it.

Importing mlflow takes seconds and the first use of a database ten more, so a tracker hands everything to
one background thread through a queue. The thread sends rows in batches; if MLflow fails it says so once,
and from then on drops what it is given. `finish` waits a bounded time for the queue to empty.
"""

import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config import RunConfig
from cluster.storage import Storage

logger = logging.getLogger(__name__)

_FINISH_TIMEOUT_S = 60.0
_MOST_METRICS_PER_CALL = 900  # MLflow takes 1,000
_MOST_PARAMS_PER_CALL = 100
_LONGEST_PARAM = 500

_clients: dict[str, Any] = {}
_clients_lock = threading.Lock()


def tracking_uri(storage_url: str) -> str:
    """MLFLOW_TRACKING_URI, else an SQLite file beside the runs."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named:
        return named
    storage = Storage.open(storage_url)
    if storage.is_local:
        return f"sqlite:///{storage.place('mlflow.db')}"
    logger.warning(
        "%s cannot hold an SQLite file, so versions are recorded in %s, on this machine only; "
        "set MLFLOW_TRACKING_URI to a server that all machines reach",
        storage_url,
        Path("runs/mlflow.db").absolute(),
    )
    return f"sqlite:///{Path('runs/mlflow.db').absolute()}"


def has_records(storage_url: str) -> bool:
    """Whether anything can have been recorded yet: a server, or an SQLite file that exists."""
    uri = tracking_uri(storage_url)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def mlflow_client(storage_url: str) -> Any:
    """An MlflowClient for a storage folder; one per process, its database made by one process at a time."""
    uri = tracking_uri(storage_url)
    with _clients_lock:
        if uri not in _clients:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.WARNING)
            with _database_lock(uri):
                client = MlflowClient(tracking_uri=uri, registry_uri=uri)
                client.search_experiments(max_results=1)  # opens the store, which makes or migrates its tables
            _clients[uri] = client
        return _clients[uri]


@contextmanager
def _database_lock(uri: str) -> Iterator[None]:
    """Two processes that make the tables of one SQLite file at once would both fail."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    path = Path(uri.removeprefix("sqlite:///") + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def flat_params(config: RunConfig) -> dict[str, str]:
    """The config as MLflow parameters: dotted keys, values as text."""
    found: dict[str, str] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else key, inner)
        elif value is not None:
            found[prefix] = str(value)[:_LONGEST_PARAM]

    add("", config.model_dump(mode="json"))
    return found


@dataclass(frozen=True)
class _Row:
    metrics: dict[str, float]
    step: int
    time_ms: int


@dataclass(frozen=True)
class _End:
    status: str
    metrics: dict[str, float]
    artifacts: Mapping[str, str | Path]


class Tracker:
    """The MLflow run of one training. Every method returns at once, except `finish`."""

    def __init__(self, storage_url: str) -> None:
        self.storage_url = storage_url
        self.run_id: str | None = None
        self._queue: queue.SimpleQueue[_Row | _End] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, config: RunConfig, tags: Mapping[str, str] | None = None) -> None:
        """Begin the MLflow run, in the background."""
        self._thread = threading.Thread(target=self._work, args=(config, dict(tags or {})), daemon=True, name="mlflow")
        self._thread.start()

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Add the numbers among the values to the run's curves."""
        self._queue.put(_Row(numbers(metrics), step, int(time.time() * 1000)))

    def finish(
        self,
        state: str = "finished",
        metrics: Mapping[str, Any] | None = None,
        artifacts: Mapping[str, str | Path] | None = None,
        timeout_s: float = _FINISH_TIMEOUT_S,
    ) -> None:
        """Close the run as `finished` or `failed` and attach small files (name -> path); waits for the background."""
        if self._thread is None:
            return
        status = {"finished": "FINISHED", "failed": "FAILED"}.get(state, "KILLED")
        self._queue.put(_End(status, numbers(metrics or {}), dict(artifacts or {})))
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.warning("MLflow did not take the last rows within %.0f s; they are in metrics.jsonl", timeout_s)
        self._thread = None

    # -- the background thread ------------------------------------------------------------------

    def _work(self, config: RunConfig, tags: dict[str, str]) -> None:
        try:
            client = mlflow_client(self.storage_url)
            self.run_id = _begin(client, self.storage_url, config, tags)
            while not self._send(client, self.run_id, self._batch()):
                pass
        except Exception as error:  # tracking is a mirror of metrics.jsonl; training must outlive it whatever it raises
            logger.warning("MLflow tracking stopped (%s); the run goes on, its metrics are in metrics.jsonl", error)

    def _batch(self) -> list[_Row | _End]:
        """Wait for something to send, then take whatever else is there."""
        batch = [self._queue.get()]
        while not self._queue.empty() and len(batch) < 50:
            batch.append(self._queue.get())
        return batch

    def _send(self, client: Any, run_id: str, batch: list[_Row | _End]) -> bool:
        """Send rows; True once the run is closed."""
        from mlflow.entities import Metric

        points = [
            Metric(name, value, row.time_ms, row.step)
            for row in batch
            if isinstance(row, _Row)
            for name, value in row.metrics.items()
        ]
        log_points(client, run_id, points)
        end = next((one for one in batch if isinstance(one, _End)), None)
        if end is None:
            return False
        for name, value in end.metrics.items():
            client.log_metric(run_id, f"final/{name}", value)
        for name, path in end.artifacts.items():
            client.log_artifact(run_id, str(path), str(Path(name).parent) if "/" in name else None)
        client.set_terminated(run_id, status=end.status)
        return True


def experiment_of(client: Any, storage_url: str, name: str) -> str:
    """Id of the experiment with this name; made if there is none."""
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else Storage.open(storage_url).place("mlflow-files")
    return str(client.create_experiment(name, artifact_location=artifacts))


def log_points(client: Any, run_id: str, points: Sequence[Any]) -> None:
    """Send metrics in calls as large as MLflow takes."""
    for start in range(0, len(points), _MOST_METRICS_PER_CALL):
        client.log_batch(run_id, metrics=points[start : start + _MOST_METRICS_PER_CALL])


def log_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    """Send parameters in calls as large as MLflow takes."""
    from mlflow.entities import Param

    made = [Param(name, value) for name, value in params.items()]
    for start in range(0, len(made), _MOST_PARAMS_PER_CALL):
        client.log_batch(run_id, params=made[start : start + _MOST_PARAMS_PER_CALL])


def _begin(client: Any, storage_url: str, config: RunConfig, tags: dict[str, str]) -> str:
    experiment_id = experiment_of(client, storage_url, config.name)
    run_id: str = client.create_run(experiment_id, run_name=config.name, tags=tags).info.run_id
    log_params(client, run_id, flat_params(config))
    return run_id


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The values that are numbers."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
