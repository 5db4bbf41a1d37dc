"""What every Ray Train worker runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.exceptions import MobulaError
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

    setup: Setup = arguments["setup"]
    context = ray.train.get_context()
    _use_cores(setup)
    from trainers.hooks import build_hooks
    from trainers.run import Run

    run = Run.restore_or_start(setup, context.get_world_rank(), context.get_world_size())
    hooks = build_hooks(run)
    for micro_batches in run.remaining_batches():
        run.train_step(micro_batches)
        for hook in hooks:
            hook(run)
    run.close()
    if run.rank == 0:
        run.storage.write_json(OUTCOME, summary(run))


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


def _use_cores(setup: Setup) -> None:
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
