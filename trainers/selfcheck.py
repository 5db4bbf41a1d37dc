"""Proof, at the start of every run, that the workers train one model together.

Launchers have been seen to start N processes that each train alone: losses fall, nothing fails, and the model is that
of one N-th of the data. Two checks catch it: the workers count each other and hold the same parameters, and the
gradient that the optimizer received in the first step is the average of what the workers computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from cluster.exceptions import WorkersOutOfSync

if TYPE_CHECKING:
    from trainers.engine import Engine

_MIN_COSINE = 0.99
"""Of the expected and the received gradient; bfloat16 sums keep it above 0.999."""


def check_workers_meet(num_workers: int, device: torch.device) -> None:
    """Every worker is in one group and hears all others."""
    world = dist.get_world_size()
    ranks = torch.tensor([float(dist.get_rank() + 1)], device=device)
    dist.all_reduce(ranks)
    heard = round(float(ranks))
    if world != num_workers or heard != num_workers * (num_workers + 1) // 2:
        raise WorkersOutOfSync(
            f"this worker sees {world} worker(s), expected {num_workers}: each would train a model of its own; "
            "check that MASTER_ADDR and the ports between the nodes are reachable"
        )


def check_parameters_equal(engine: Engine) -> None:
    """Every worker holds the same parameters (stages 0 to 2, where each holds all of them). Collective."""
    if engine.stage == 3:
        return
    sums = torch.stack([part.detach().double().sum() for _, part in engine.trainable()]).to(engine.device)
    low, high = sums.clone(), sums.clone()
    dist.all_reduce(low, dist.ReduceOp.MIN)
    dist.all_reduce(high, dist.ReduceOp.MAX)
    if not torch.equal(low, high):
        names = [name for name, _ in engine.trainable()]
        first = names[int((low != high).nonzero()[0])]
        raise WorkersOutOfSync(
            f"the workers hold different values of {first} (and {int((low != high).sum()) - 1} more); they must start "
            "from the same weights and apply the same updates"
        )


class GradientWitness:
    """Watches one parameter through the first step: what each worker computed, and what the optimizer received.

    Adam's first moment after one step is `(1 - beta1)` times the gradient it received, up to clipping. Its direction
    must be that of the average of all workers' own gradients.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        candidates = [item for item in engine.trainable() if _numel(item[1]) >= 8]
        self.name, self.parameter = min(candidates, key=lambda item: _numel(item[1]))
        self.computed: torch.Tensor | None = None
        self._handle = self.parameter.register_hook(self._add)

    def _add(self, gradient: torch.Tensor) -> None:
        seen = gradient.detach().double().flatten()
        self.computed = seen if self.computed is None else self.computed + seen

    def check(self) -> None:
        """Compare after the first optimizer step. Collective.

        Raises:
            WorkersOutOfSync: if the optimizer saw anything but the average over all workers.
        """
        from trainers.state import first_moment

        self._handle.remove()
        received = first_moment(self.engine, self.parameter).detach().double().flatten()
        computed = torch.zeros_like(received) if self.computed is None else self.computed.to(received)
        dist.all_reduce(computed)
        if not computed.any() and not received.any():
            return
        cosine = float(torch.nn.functional.cosine_similarity(computed, received, dim=0))
        if not cosine >= _MIN_COSINE:
            raise WorkersOutOfSync(
                f"the optimizer did not receive the average of the workers' gradients (cosine {cosine:.4f} for "
                f"{self.name}, expected at least {_MIN_COSINE}): the workers do not synchronise"
            )


def _numel(parameter: torch.nn.Parameter) -> int:
    return getattr(parameter, "ds_numel", parameter.numel())
