"""A study: trials over a search space, and the best of them as a registered version.

A study is a folder `<storage_path>/<name>/`: `trials/<name>-<hash of its values>/` are ordinary run directories, `optuna.db`
is the search's memory (Optuna's dashboard opens it), `study.json` the outcome. Nothing else is needed to go on: a study
that was killed, or whose `num_trials` was raised, is continued by running it again.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from typing import TYPE_CHECKING, Any

from cluster.config import RunConfig
from cluster.config.load import dump_config
from cluster.exceptions import ConfigError, MobulaError, ResourceError
from cluster.runs import Record, RunDirectory
from cluster.session import ray_session, resources
from cluster.storage import Storage
from tuning.space import Values, check_space

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from ray.tune.search import Searcher

    from tuning.trial import StudyPlan

logger = logging.getLogger(__name__)

STUDY, TRIALS = "study.json", "trials"
FILE = "study.yaml"
"""The file that the study was last run with, as resolved."""


@dataclasses.dataclass(frozen=True)
class TrialOutcome:
    """What is known of a trial that ended.

    Attributes:
        name: of its run directory.
        values: what it was trained with.
        result: its last scores, with `step`, `tokens`, `train_s` and `best_step`; empty where it failed.
        stopped: a scheduler stopped it early.
        error: why it failed.
    """

    name: str
    values: Values
    result: dict[str, Any]
    stopped: bool = False
    error: str | None = None

    @classmethod
    def of(cls, name: str, record: Record) -> TrialOutcome:
        """What the record of a trial says."""
        known = record.details
        result = known.get("result") or {}
        return cls(name, known.get("values", {}), result, stopped=bool(known.get("stopped")), error=record.error)


@dataclasses.dataclass(frozen=True)
class StudyOutcome:
    """What a study found.

    Attributes:
        best: the winner; its run directory holds the model folder.
        published: metrics (test rows among them), `model_path` and `version` of the winner.
    """

    name: str
    trials: list[TrialOutcome]
    best: TrialOutcome
    published: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return dataclasses.asdict(self)


class Study:
    """The study that a run.yaml with a `tune:` section describes.

    Raises:
        ConfigError: if there is no such section, or a corner of the space is no valid run.
    """

    def __init__(self, config: RunConfig) -> None:
        if config.tune is None:
            raise ConfigError(
                "found no `tune:` section; expected one with `space:`, such as {train.learning_rate: {...}}"
            )
        check_space(config)
        self.config, self.settings = config, config.tune
        self.storage = Storage.open(config.cluster.storage_path).child(config.name)

    def run(self) -> StudyOutcome:
        """Run the trials that are still to be run, and publish the best.

        Raises:
            ResourceError: if the cluster cannot hold one trial.
            MobulaError: if no trial ended with a score.
        """
        from tuning.report import conclude_study
        from tuning.report.reading import StudyFolder

        self.storage.write_text(FILE, dump_config(self.config))
        with ray_session(self.config.cluster):
            self._check_room()
            self._prepare()
            missing = self.settings.num_trials - len(self.outcomes())
            if missing > 0:
                self._search(missing)
            outcome = self._conclude()
        self.storage.write_json(STUDY, outcome.summary())
        conclude_study(StudyFolder(self.storage, self.config))
        return outcome

    def outcomes(self) -> list[TrialOutcome]:
        """Trials that ended, by name."""
        folder = self.storage.child(TRIALS)
        found = []
        for name in sorted(folder.list()):
            if not folder.exists(f"{name}/record.json"):
                continue
            record = Record(**folder.read_json(f"{name}/record.json"))
            if record.state != "running":
                found.append(TrialOutcome.of(name, record))
        return found

    def _check_room(self) -> None:
        cluster, (cpus, _) = self.config.cluster, resources()
        wanted = cluster.num_workers * cluster.cpus_per_worker
        if wanted > cpus:
            raise ResourceError(
                f"a trial takes {cluster.num_workers} workers of {cluster.cpus_per_worker:g} CPUs = {wanted:g}, and the "
                f"cluster has {cpus:g}; lower cluster.num_workers or cluster.cpus_per_worker, or start Ray with more"
            )

    def _prepare(self) -> None:
        """Prepare the data of the file as it stands, so that trials which share it find it made."""
        from trainers.fit import prepare_data
        from tuning.space import trial_config

        if not self.settings.prepares_data:
            first = trial_config(self.config, {})
            beside = first.cluster.model_copy(update={"storage_path": self.storage.place()})
            prepare_data(RunDirectory.open(first.model_copy(update={"name": "data", "cluster": beside})), self._data())

    def _data(self) -> Storage:
        return Storage.open(self.config.cluster.storage_path).child("data")

    def _search(self, missing: int) -> None:
        os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}  # read when it is imported
        from ray import tune

        from tuning.schedulers import build_scheduler, first_draws
        from tuning.trial import Trial
        from tuning.watch import GiveUp, Watch

        watch = Watch(self.config.name, self.settings, self.storage.child(TRIALS), self.settings.num_trials - missing)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(Trial, plan=self._plan()), self._bundles()),
            param_space=first_draws(self.settings) if self.settings.is_population else None,
            tune_config=tune.TuneConfig(
                search_alg=None if self.settings.is_population else self._searcher(self.settings.num_trials - missing),
                scheduler=build_scheduler(self.settings),
                num_samples=missing,
                max_concurrent_trials=self._concurrency(),
                time_budget_s=self.settings.time_budget_s,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="ray_tune",
                storage_path=self.storage.place(),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[watch],
                stop=GiveUp(watch),
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is told by the watch, in one line each
        tuner.fit()
        if watch.same_failure is not None:
            raise MobulaError(
                f"the last {self.settings.max_failures} trials failed for the same reason, so the study stopped: "
                f"{watch.same_failure}"
            )

    def _searcher(self, num_known: int) -> Searcher:
        from tuning.search import build_searcher

        return build_searcher(self.settings, self._optuna_storage(), self.config.name, num_known)

    def _plan(self) -> StudyPlan:
        from trainers.fit import uses_gpu
        from tuning.trial import StudyPlan

        return StudyPlan(self.config, uses_gpu(self.config), self._data().url)

    def _bundles(self) -> Any:
        """One bundle a worker, placed together or not at all; the actor that steers them takes none."""
        from ray import tune

        from trainers.fit import uses_gpu

        worker = {"CPU": self.config.cluster.cpus_per_worker} | ({"GPU": 1} if uses_gpu(self.config) else {})
        return tune.PlacementGroupFactory([{}, *[worker] * self.config.cluster.num_workers])

    def _concurrency(self) -> int:
        """Trials that the cluster holds at once. One CPU stays free where trials prepare data of their own."""
        cluster, (cpus, _) = self.config.cluster, resources()
        prepares = self.settings.prepares_data
        fit = int((cpus - prepares) // (cluster.num_workers * cluster.cpus_per_worker))
        return max(1, min(fit, self.settings.max_concurrent or fit))

    def _optuna_storage(self) -> BaseStorage:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if not self.storage.is_local:
            return optuna.storages.InMemoryStorage()
        return optuna.storages.RDBStorage(f"sqlite:///{self.storage.place('optuna.db')}")

    def _conclude(self) -> StudyOutcome:
        """Publish the best trial: its model folder, its scores on the test rows (once), its version."""
        from trainers.fit import prepare_data, publish

        outcomes = self.outcomes()
        best = self.best(outcomes)
        run = RunDirectory.find(self.storage.place(TRIALS), best.name)
        record = run.record()
        assert record is not None
        if record.model_path is None:
            prepared = prepare_data(run, self._data())
            published = publish(run, prepared, best.result, home=self.config, mlflow_run_id=None)
            details = record.details | published.pop("details")
            record = dataclasses.replace(record, **published, details=details)
            run.write_record(record)
        known = {"metrics": record.metrics, "model_path": record.model_path, "version": record.version}
        return StudyOutcome(self.config.name, outcomes, best, known)

    def best(self, outcomes: list[TrialOutcome]) -> TrialOutcome:
        """The trial with the best score at its best evaluation.

        Raises:
            MobulaError: if none has a score, saying why they failed.
        """
        scored = [one for one in outcomes if math.isfinite(one.result.get(self.settings.metric, math.nan))]
        if not scored:
            reasons = {one.error for one in outcomes if one.error} or {f"none reported {self.settings.metric}"}
            raise MobulaError(f"none of {len(outcomes)} trials ended with a score: {'; '.join(sorted(reasons)[:3])}")
        return (max if self.settings.maximises else min)(scored, key=lambda one: one.result[self.settings.metric])
