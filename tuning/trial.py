"""A trial as Ray Tune sees it: an ordinary run on a warm gang, one evaluation at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from typing import Any

from ray import tune

from cluster.config import RunConfig
from cluster.exceptions import MobulaError, RunConflict, mobula_cause
from cluster.progress import lines
from cluster.runs import Record, RunDirectory
from cluster.storage import Storage
from trainers.checkpoint import Checkpoints
from trainers.data.store import Prepared
from trainers.run import Setup
from tuning.gang import Gang
from tuning.space import Values, trial_config, trial_name


def described(values: Values, result: dict[str, Any] | None = None, **known: Any) -> dict[str, Any]:
    """What the record of a trial says: its values, its last scores, and what else there is to know."""
    return {"values": dict(values), "result": result, **known}


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """What every trial of a study has to know; a plain value that travels to it."""

    config: RunConfig
    use_gpu: bool
    data_url: str
    """Folder of prepared data sets, shared by all trials."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a trial stood when it was left: what Ray Tune keeps as its checkpoint.

    Attributes:
        member: Ray Tune's id of the trial.
        run: name of its run directory.
        step: of the checkpoint there.
        evaluations: reported until then.
        values: what it was trained with.
    """

    member: str
    run: str
    step: int
    evaluations: int
    values: Values


class Trial(tune.Trainable):
    """Trains one set of values after another on the same gang.

    Each `step` trains to the next evaluation. A trial whose run directory is there already goes on from its newest
    checkpoint, so an interrupted study loses at most what came after that. A trial that takes over another's weights and
    optimizer (population-based training) goes on in a run directory of its own, which begins with that checkpoint.
    """

    def setup(self, config: Values, plan: StudyPlan) -> None:  # type: ignore[override]
        """Make the gang; the trial begins with its first step."""
        import ray

        self.plan = plan
        self.gang = Gang.start(plan.config.cluster, group=ray.util.get_current_placement_group(), use_gpu=plan.use_gpu)
        self._clear()

    def reset_config(self, new_config: Values) -> bool:
        """Leave the trial; the gang stays for another."""
        self._leave()
        self._clear()
        return True

    def _clear(self) -> None:
        self._held = contextlib.ExitStack()
        self._from: Place | None = None
        self.run: RunDirectory | None = None
        self.known: Record | None = None
        self.evaluations = 0

    # -- beginning ------------------------------------------------------------------------------

    def _begin(self) -> RunDirectory:
        from trainers.fit import prepare_data

        came_from, parent = self._from, None
        if came_from is not None and (came_from.member, came_from.values) != (self.trial_id, self.config):
            parent = {"run": came_from.run, "step": came_from.step}
        self.run, lease = self._claim(came_from.run if came_from and not parent else None, parent)
        if lease is None:
            return self.run
        self.run.write_record(Record("running", details=described(self.config, parent=parent, member=self.trial_id)))
        prepared = prepare_data(self.run, Storage.open(self.plan.data_url))
        if parent is not None:
            self._inherit(self.run, prepared, parent)
        self.evaluations = came_from.evaluations if came_from else 0
        rows = self.gang.call("begin", Setup(self.run.config, self.run.storage.url, prepared.url, lease))
        self.run.storage.write_text("metrics.jsonl", lines(rows))
        return self.run

    def _claim(self, known_name: str | None, parent: dict[str, Any] | None) -> tuple[RunDirectory, str | None]:
        """The run directory of these values and the lease on it; no lease where they were trained before.

        Searches may propose the same values twice at a time; the second trial then has a directory of its own.
        """
        config = trial_config(self.plan.config, self.config)
        name = known_name or trial_name(self.plan.config.name, self.config, parent)
        for number in itertools.count(1):
            named = config.model_copy(update={"name": name if number == 1 else f"{name}-{number}"})
            run = RunDirectory.open(named)
            record = run.record()
            if record is not None and record.state == "finished" and parent is None:
                self.known = record
                return run, None
            try:
                return run, self._held.enter_context(run.lease())
            except RunConflict:
                continue
        raise AssertionError("unreachable")

    def _inherit(self, run: RunDirectory, prepared: Prepared, parent: dict[str, Any]) -> None:
        own = Checkpoints(run.storage.child("checkpoints"), prepared.fingerprint)
        if own.steps():
            return
        trials = Storage.open(run.config.cluster.storage_path)
        source = Checkpoints(trials.child(parent["run"], "checkpoints"), prepared.fingerprint)
        own.inherit(source.load(parent["step"]))

    # -- training -------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:  # type: ignore[override]
        """Train to the next evaluation and report its scores.

        Raises:
            MobulaError: what went wrong, as the record of the run has it.
        """
        try:
            run = self.run or self._begin()
            if self.known is not None and self.known.state == "finished":  # the same values were trained before
                return self.known.details["result"] | {"done": True}
            rows, is_over = self.gang.call("advance")
            result = self._result(run, rows, self.gang.call("summary"))
        except Exception as error:  # whatever stopped it: the record keeps the reason, and Ray Tune hears of it
            cause = mobula_cause(error) or error
            self._end(Record("running", details=described(self.config)).failed(f"{type(cause).__name__}: {cause}"))
            raise cause from None
        run.storage.append_text("metrics.jsonl", lines(rows))
        if is_over:
            known = described(self.config, result, member=self.trial_id)
            self._end(Record("running").finished(steps=result["step"], details=known))
        return result | {"done": is_over}

    def _result(self, run: RunDirectory, rows: list[dict[str, Any]], summary: dict[str, Any]) -> dict[str, Any]:
        scored = [row for row in rows if "eval_loss" in row]
        if not scored:
            raise MobulaError(
                "the trial took its last steps without an evaluation; set train.eval_steps so that one falls within the run"
            )
        self.evaluations += len(scored)
        scores = {name: value for name, value in scored[-1].items() if name.startswith("eval_") and name != "eval_s"}
        return scores | summary | {"evaluation": self.evaluations, "run": run.config.name}

    def _end(self, record: Record) -> None:
        if self.run is not None:
            self.run.write_record(record)
        self.known = record
        self._held.close()

    # -- leaving and taking over ----------------------------------------------------------------

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """A complete checkpoint of the run, and where it lies; the files stay in the run directory."""
        run = self.run or self._begin()
        place = Place(self.trial_id, run.config.name, self.gang.call("save"), self.evaluations, dict(self.config))
        return dataclasses.asdict(place)

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:  # type: ignore[override]
        """Go on from there at the next step: this trial's own place, or another's."""
        self._from = Place(**{field.name: checkpoint[field.name] for field in dataclasses.fields(Place)})

    def _leave(self) -> None:
        self._held.close()
        self.gang.call("end")

    def cleanup(self) -> None:
        """Free the gang at once, whatever it does."""
        self._held.close()
        self.gang.stop()
