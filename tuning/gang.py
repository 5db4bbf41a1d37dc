"""Warm workers: processes that train one trial after another without starting anew.

Starting a worker costs seconds (imports, process group, compiled kernels), which is most of a short trial. A gang is made
once for each trial that may run at a time, inside the placement group of its Ray Tune actor, and goes with it.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from cluster.config import ClusterConfig
from cluster.progress import Row
from trainers.run import Setup

if TYPE_CHECKING:
    import ray
    from ray.util.placement_group import PlacementGroup

logger = logging.getLogger(__name__)


class TrialWorker:
    """One worker of a gang; a plain class that `Gang` makes actors of."""

    def __init__(self, rank: int, num_workers: int) -> None:
        self.rank, self.num_workers = rank, num_workers
        self.training: Any = None

    def free_address(self) -> str:
        """Host and port at which the workers of this gang can meet."""
        import ray

        with socket.socket() as found:
            found.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{found.getsockname()[1]}"

    def meet(self, address: str) -> None:
        """Join the process group; once in the life of a gang."""
        import torch
        import torch.distributed as dist

        host, port = address.rsplit(":", 1)
        known = {"MASTER_ADDR": host, "MASTER_PORT": port, "RANK": self.rank, "WORLD_SIZE": self.num_workers}
        os.environ |= {name: str(value) for name, value in (known | {"LOCAL_RANK": 0}).items()}
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, init_method=f"tcp://{address}", rank=self.rank, world_size=self.num_workers)

    def begin(self, setup: Setup) -> list[Row]:
        """Take up a trial where its run directory stands; the rows of metrics until there."""
        from trainers.worker import Training

        self.end()
        self.training = Training(setup, self.rank, self.num_workers)
        return list(self.training.run.log)

    def advance(self) -> tuple[list[Row], bool]:
        """Train to the next evaluation; the rows told on the way, and whether that was the end."""
        return self.training.to_next_evaluation(), self.training.is_over

    def save(self) -> int:
        """Write a checkpoint of where the trial stands and say of which step."""
        run = self.training.run
        if run.step not in run.checkpoints.steps():
            run.save()
        return int(run.step)

    def summary(self) -> dict[str, Any]:
        """What `mobula train` would report at this point."""
        from trainers.worker import summary

        return summary(self.training.run)

    def end(self) -> None:
        """Leave the trial; the process stays."""
        if self.training is not None:
            training, self.training = self.training, None
            training.close()


class Gang:
    """The workers of one trial at a time. Every call runs on all of them; rank 0 answers."""

    def __init__(self, workers: list[ray.actor.ActorHandle]) -> None:
        self.workers = workers

    @classmethod
    def start(cls, cluster: ClusterConfig, *, group: PlacementGroup | None, use_gpu: bool) -> Gang:
        """Make the workers in a placement group, one in each of its bundles, and let them meet."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        workers: list[Any] = []
        for rank in range(cluster.num_workers):
            where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank) if group else "DEFAULT"
            made = ray.remote(TrialWorker).options(
                num_cpus=cluster.cpus_per_worker, num_gpus=1 if use_gpu else 0, scheduling_strategy=where
            )
            workers.append(made.remote(rank, cluster.num_workers))
        address = ray.get(workers[0].free_address.remote())
        ray.get([worker.meet.remote(address) for worker in workers])
        return cls(workers)

    def call(self, method: str, *arguments: Any) -> Any:
        """Run a method on every worker; what rank 0 returns."""
        import ray

        return ray.get([getattr(worker, method).remote(*arguments) for worker in self.workers])[0]

    def stop(self) -> None:
        """End the processes, whatever they are doing."""
        import ray

        for worker in self.workers:
            ray.kill(worker)
