"""A trial as Ray Tune sees it: an ordinary run on a warm gang, one evaluation at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

from ray import tune

from cluster.config import RunConfig
from cluster.exceptions import MobulaError, mobula_cause
from cluster.runs import Record, RunDirectory
from cluster.storage import Storage
from trainers.run import Setup
from tuning.gang import Gang
from tuning.space import Values, trial_config


def described(values: Values, result: dict[str, Any] | None = None, *, stopped: bool = False) -> dict[str, Any]:
    """What the record of a trial says: its values, its last scores, and whether a scheduler stopped it."""
    return {"values": dict(values), "result": result, "stopped": stopped}


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """What every trial of a study has to know; a plain value that travels to it."""

    config: RunConfig
    use_gpu: bool
    data_url: str
    """Folder of prepared data sets, shared by all trials."""


class Trial(tune.Trainable):
    """Trains one set of values after another on the same gang.

    Each `step` trains to the next evaluation. A trial whose run directory is there already goes on from its newest
    checkpoint, so an interrupted study loses at most what came after that.
    """

    def setup(self, config: Values, plan: StudyPlan) -> None:  # type: ignore[override]
        """Make the gang, and begin the first trial on it."""
        import ray

        self.plan = plan
        self.gang = Gang.start(plan.config.cluster, group=ray.util.get_current_placement_group(), use_gpu=plan.use_gpu)
        self._held = contextlib.ExitStack()
        self._begin(config)

    def reset_config(self, new_config: Values) -> bool:
        """Leave the trial and begin another; the gang stays."""
        self._held.close()
        self.gang.call("end")
        self._begin(new_config)
        return True

    def _begin(self, values: Values) -> None:
        from trainers.fit import prepare_data

        self.run = RunDirectory.open(trial_config(self.plan.config, values))
        self.evaluations = 0
        self.known = self.run.record()
        if self.known is not None and self.known.state == "finished":
            return
        lease = self._held.enter_context(self.run.lease())
        self.run.write_record(Record("running", details=described(values)))
        prepared = prepare_data(self.run, Storage.open(self.plan.data_url))
        setup = Setup(self.run.config, self.run.storage.url, prepared.url, lease)
        self.gang.call("begin", setup)

    def step(self) -> dict[str, Any]:  # type: ignore[override]
        """Train to the next evaluation and report its scores.

        Raises:
            MobulaError: what went wrong, as the record of the run has it.
        """
        if self.known is not None and self.known.state == "finished":  # the same values were trained before
            return self.known.details["result"] | {"done": True}
        try:
            rows, is_over = self.gang.call("advance")
            summary = self.gang.call("summary")
        except Exception as error:  # whatever stopped it: the record keeps the reason, and Ray Tune hears of it
            cause = mobula_cause(error) or error
            self._end(Record("running").failed(f"{type(cause).__name__}: {cause}"))
            raise cause from None
        self._keep(rows)
        result = self._result(rows, summary)
        if is_over:
            self._end(Record("running").finished(steps=summary["step"], details=described(self.config, result)))
        return result | {"done": is_over}

    def _result(self, rows: list[dict[str, Any]], summary: dict[str, Any]) -> dict[str, Any]:
        scored = [row for row in rows if "eval_loss" in row]
        if not scored:
            raise MobulaError(
                "the trial took its last steps without an evaluation; set train.eval_steps so that one falls within the run"
            )
        self.evaluations += len(scored)
        scores = {name: value for name, value in scored[-1].items() if name.startswith("eval_") and name != "eval_s"}
        return scores | summary | {"evaluation": self.evaluations, "run": self.run.config.name}

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        self.run.storage.append_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def _end(self, record: Record) -> None:
        self.run.write_record(record)
        self.known = record
        self._held.close()

    def cleanup(self) -> None:
        """Free the gang at once, whatever it does."""
        self._held.close()
        self.gang.stop()
