"""What happens every so often in a run. The loop knows none of these by name.

Every hook is called on every worker after every step, and decides by the step alone, so that all workers enter its
collective parts together.
"""

from __future__ import annotations

import math
import resource
import time
from typing import Protocol

import torch
import torch.distributed as dist

from cluster.config.train import PlateauSchedule
from cluster.exceptions import DivergedError
from trainers.run import Run, Window


class Hook(Protocol):
    """Something that looks at a run after a step."""

    def __call__(self, run: Run) -> None: ...


class Log:
    """A row of metrics every `train.logging_steps` steps, and at the first and last step."""

    def __call__(self, run: Run) -> None:
        if run.step % run.config.train.logging_steps and run.step != 1 and not run.is_over:
            return
        window = run.window
        loss = self._mean_loss(run, window)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss became {loss} at step {run.step}; the last checkpoint is intact. Lower train.learning_rate "
                f"(now {run.config.train.learning_rate:g}) or set train.max_grad_norm (now {run.config.train.max_grad_norm:g})"
            )
        elapsed_s = max(time.perf_counter() - window.began_s, 1e-9)
        norm = run.engine.gradient_norm()
        run.tell(
            {
                "loss": loss,
                "learning_rate": run.engine.param_groups[0]["lr"],
                **({} if norm is None else {"grad_norm": norm}),
                "tokens_per_s": window.tokens / elapsed_s,
                "data_wait": (run.feed.wait_s - window.waited_s) / elapsed_s,
                "step_s": elapsed_s / window.steps,
                "memory_gib": memory_gib(),
                "eta_s": (run.total_steps - run.step) * elapsed_s / window.steps,
                "tokens": run.position.tokens,
                **({"made_share": run.made_share} if run.config.train.augmentation_schedule else {}),
            }
        )
        run.window = Window(waited_s=run.feed.wait_s)

    @staticmethod
    def _mean_loss(run: Run, window: Window) -> float:
        total = torch.as_tensor(window.loss, dtype=torch.float64, device=run.engine.device).clone()
        dist.all_reduce(total)
        return float(total) / (window.units or 1.0)


class Evaluate:
    """Score the validation rows, remember the best step, stop when it no longer gets better."""

    def __init__(self, every: int) -> None:
        self.every = every

    def __call__(self, run: Run) -> None:
        if run.step % self.every and not run.is_over:
            return
        began = time.perf_counter()
        found = {f"eval_{name}": value for name, value in run.evaluate("validation").items()}
        metric = found[run.config.train.metric_for_best_model]
        self._judge(run, metric)
        run.tell(found | {"is_best": run.position.best_step == run.step, "eval_s": time.perf_counter() - began})
        run.window.began_s += time.perf_counter() - began  # evaluation is no part of the training rate

    @staticmethod
    def _judge(run: Run, metric: float) -> None:
        position, train = run.position, run.config.train
        sign = -1.0 if train.metric_for_best_model == "eval_loss" else 1.0
        if position.best_metric is None or sign * metric > sign * position.best_metric:
            run.position = position.at(best_metric=metric, best_step=run.step, worse_evaluations=0)
            return
        worse = position.worse_evaluations + 1
        stops = train.early_stopping_patience is not None and worse >= train.early_stopping_patience
        schedule = train.augmentation_schedule
        stalled = isinstance(schedule, PlateauSchedule) and worse % schedule.patience == 0
        stalls = position.stalls + stalled
        run.position = position.at(worse_evaluations=worse, stopped_early=stops, stalls=stalls)
        run.should_stop = run.should_stop or stops


class Save:
    """A checkpoint every so many steps, at the best step and at the end."""

    def __init__(self, every: int) -> None:
        self.every = every

    def __call__(self, run: Run) -> None:
        if run.step % self.every == 0 or run.is_over or run.position.best_step == run.step:
            began = time.perf_counter()
            run.save()
            run.window.began_s += time.perf_counter() - began


class StopAfter:
    """Leave after a step as if killed there: what tests of resuming use."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, run: Run) -> None:
        if run.step >= self.step:
            raise InterruptedError(f"stopped after step {run.step} as asked")


def memory_gib() -> float:
    """Peak memory of this worker in GiB: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def build_hooks(run: Run) -> list[Hook]:
    """The hooks of a run, in the order they are called."""
    train = run.config.train
    per_epoch = run.plan.steps_per_epoch
    hooks: list[Hook] = [Log()]
    evaluate_every = train.eval_steps or per_epoch
    if "validation" in run.prepared.splits:
        hooks.append(Evaluate(evaluate_every))
    hooks.append(Save(train.save_steps or evaluate_every))
    if run.setup.stop_after is not None:
        hooks.append(StopAfter(run.setup.stop_after))
    return hooks
