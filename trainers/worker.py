"""What every Ray Train worker runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cluster.exceptions import MobulaError
from cluster.progress import Row
from trainers.run import Setup

if TYPE_CHECKING:
    from trainers.run import Run

OUTCOME = "outcome.json"
"""What the workers leave in the run directory when they reached the end."""


def train_worker(arguments: dict[str, Any]) -> None:
    """Train to the end, continuing where the last complete checkpoint stands.

    Args:
        arguments: `{"setup": Setup}`, as Ray Train hands it over.
    """
    import ray.train

    context = ray.train.get_context()
    training = Training(arguments["setup"], context.get_world_rank(), context.get_world_size())
    while not training.is_over:
        training.to_next_evaluation()
    training.run.close()
    if training.run.rank == 0:
        training.run.storage.write_json(OUTCOME, summary(training.run))


class Training:
    """A run under way in this process; it may rest after each evaluation. Every method is collective."""

    def __init__(self, setup: Setup, rank: int, num_workers: int) -> None:
        use_cores(setup)
        from trainers.hooks import build_hooks
        from trainers.run import Run

        self.run = Run.restore_or_start(setup, rank, num_workers)
        self.hooks = build_hooks(self.run)
        self._batches = self.run.remaining_batches()
        self._rested_since: float | None = None
        self.is_over = False

    def to_next_evaluation(self) -> list[Row]:
        """Train until a row with scores on the validation rows is told, or to the end.

        Returns:
            The rows told on the way.
        """
        told = len(self.run.log)
        if self._rested_since is not None:
            self.run.leave_out(time.perf_counter() - self._rested_since)
        for micro_batches in self._batches:
            before = len(self.run.log)
            self.run.train_step(micro_batches)
            for hook in self.hooks:
                hook(self.run)
            if any("eval_loss" in row for row in self.run.log[before:]):
                break
        else:
            self.is_over = True
        self.is_over = self.is_over or self.run.is_over
        self._rested_since = time.perf_counter()
        return self.run.log[told:]

    def close(self) -> None:
        """Free the engine and the pipeline; this process may begin another run."""
        self._batches.close()
        self.run.engine.close()


def summary(run: Run) -> dict[str, Any]:
    """What the driver learns at the end."""
    position = run.position
    if position.step == 0:
        raise MobulaError(f"the run took no step out of {run.total_steps}; this is a bug")
    return {
        "step": position.step,
        "total_steps": run.total_steps,
        "best_step": position.best_step or position.step,
        "best_metric": position.best_metric,
        "tokens": position.tokens,
        "train_s": position.train_s,
        "stopped_early": position.stopped_early,
    }


def use_cores(setup: Setup) -> None:
    """As many threads as the worker reserved CPUs, and no library chatter."""
    import logging
    import os

    import torch

    if (
        not torch.cuda.is_available()
    ):  # without it DeepSpeed guesses, and on a cluster that we joined nobody has said it
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from deepspeed.utils import logger as deepspeed_logger
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(max(1, int(setup.config.cluster.cpus_per_worker)))
    deepspeed_logger.setLevel(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
