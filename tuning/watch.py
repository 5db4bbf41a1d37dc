"""What happens beside the trials of a study: progress, the records of stopped trials, disk, and giving up."""

from __future__ import annotations

import math
import sys
from typing import Any

import click
from ray import tune
from ray.tune.experiment import Trial as RayTrial

from cluster.config.tune import TuneConfig
from cluster.runs import Record
from cluster.storage import Storage
from tuning.space import trial_name
from tuning.trial import described


class Watch(tune.Callback):
    """Hears of every trial that ends. Writes the record of those that a scheduler stopped, and keeps the checkpoints of
    the best ones only.

    Args:
        study: its name.
        trials: the study's folder of trials.
        num_known: trials that ended in earlier starts of the study.
    """

    def __init__(self, study: str, settings: TuneConfig, trials: Storage, num_known: int) -> None:
        self.study, self.settings, self.trials = study, settings, trials
        self.num_ended = num_known
        self.scores: dict[str, float] = {}
        self.failures: list[str] = []

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """A trial reached its end, or was stopped early."""
        result = dict(trial.last_result or {})
        if "run" not in result:
            return
        self.failures.clear()
        self.num_ended += 1
        self._settle(result["run"], trial.config, result)
        self.scores[result["run"]] = float(result.get(self.settings.metric, math.nan))
        self._say(result)
        self._prune()

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """A trial failed; the study goes on unless the same happens again and again."""
        storage = self.trials.child(trial_name(self.study, trial.config))
        known = storage.read_json("record.json")["error"] if storage.exists("record.json") else None
        reason = known or "its worker was lost"
        self.failures.append(reason)
        self.num_ended += 1
        click.echo(f"trial {self.num_ended}/{self.settings.num_trials} failed: {reason}", err=True)

    @property
    def same_failure(self) -> str | None:
        """The reason that so many trials in a row failed with, if that is why to give up."""
        last = self.failures[-self.settings.max_failures :]
        return last[0] if len(last) == self.settings.max_failures and len(set(last)) == 1 else None

    def _settle(self, name: str, values: dict[str, Any], result: dict[str, Any]) -> None:
        storage = self.trials.child(name)
        record = Record(**storage.read_json("record.json"))
        if record.state == "running":
            known = {key: value for key, value in result.items() if key.startswith("eval_") or key in KEPT}
            stopped = record.finished(steps=result["step"], details=described(values, known, stopped=True))
            storage.write_json("record.json", vars(stopped))

    def _prune(self) -> None:
        """Delete the checkpoints of all but the best trials; those that still run are not in `scores`."""
        ranked = sorted(self.scores, key=self.scores.__getitem__, reverse=self.settings.maximises)
        for name in ranked[self.settings.keep :]:
            self.trials.child(name).delete("checkpoints")

    def _say(self, result: dict[str, Any]) -> None:
        metric, value = self.settings.metric, self.scores[result["run"]]
        best = (max if self.settings.maximises else min)(self.scores.values())
        line = (
            f"trial {self.num_ended}/{self.settings.num_trials}  {metric} {value:.4f}  best {best:.4f}  {result['run']}"
        )
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of the command


KEPT = ("step", "total_steps", "best_step", "best_metric", "tokens", "train_s", "stopped_early", "evaluation", "run")
"""What of a trial's last result stays in its record, beside its scores."""


class GiveUp(tune.Stopper):
    """Stops the study when trials fail for the same reason again and again."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether there is no point in going on."""
        return self.watch.same_failure is not None
