"""Which sequences make up which optimizer step: arithmetic on lengths and a seed, nothing else.

The plan is a pure function, so every worker computes it alone, a resumed run computes it again, and a run with another
worker count sees the same global batches. Only `share` knows of workers.
"""

from __future__ import annotations

import functools

import numpy as np

MEGA_BATCH_STEPS = 32
"""Steps over which rows are sorted by length when bucketed: enough for little padding, few enough to stay random."""


class BatchPlan:
    """Order of the sequences of every epoch, in global batches.

    Args:
        lengths: tokens of each sequence.
        global_batch_size: sequences behind one optimizer step, over all workers.
        micro_batch_size: sequences in one forward pass on one worker.
        seed: of the order.
        bucketed: sequences of similar length share a step, which saves padding where rows are not packed.
        shuffle: draw a new order every epoch; otherwise the sequences come as they lie.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        global_batch_size: int,
        micro_batch_size: int,
        seed: int,
        *,
        bucketed: bool = False,
        shuffle: bool = True,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.global_batch_size, self.micro_batch_size = global_batch_size, micro_batch_size
        self.seed, self.bucketed, self.shuffle = seed, bucketed and shuffle, shuffle

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps that see every sequence once; the last may be short."""
        return -(-len(self.lengths) // self.global_batch_size)

    def indices(self, epoch: int, step: int) -> np.ndarray:
        """Sequences of one global batch, longest first; the last batch of an epoch may be short."""
        order, bounds = _order(self, epoch)
        batch = order[bounds[step] : bounds[step + 1]]
        return batch[np.argsort(-self.lengths[batch], kind="stable")]

    def share(self, epoch: int, step: int, rank: int, num_workers: int) -> list[np.ndarray]:
        """The micro-batches of one worker: as many on every rank, some empty where the batch is short.

        Workers take turns along the lengths, so that each has about as much to compute, and micro-batches that
        run at the same time are of similar length.
        """
        batch = self.indices(epoch, step)
        passes = max(-(-self.global_batch_size // (self.micro_batch_size * num_workers)), 1)
        wave = self.micro_batch_size * num_workers
        return [batch[start : start + wave][rank::num_workers] for start in range(0, passes * wave, wave)]

    def ordered(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of all sequences in an epoch, and where in it each step begins."""
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(len(self.lengths)) if self.shuffle else np.arange(len(self.lengths))
        size, steps = self.global_batch_size, self.steps_per_epoch
        if not self.bucketed or steps < 2:
            return order, np.minimum(np.arange(steps + 1) * size, len(order))
        mega = size * MEGA_BATCH_STEPS
        chunks = [order[start : start + mega] for start in range(0, len(order), mega)]
        chunks = [chunk[np.argsort(-self.lengths[chunk], kind="stable")] for chunk in chunks]
        batches = [chunk[start : start + size] for chunk in chunks for start in range(0, len(chunk), size)]
        # the short batch, if any, stays last: only there does an epoch end
        full = generator.permutation(len(batches) - (len(batches[-1]) < size))
        rest = [batches[-1]] if len(batches[-1]) < size else []
        ordered = [batches[index] for index in full] + rest
        return np.concatenate(ordered), np.cumsum([0, *map(len, ordered)])


@functools.lru_cache(maxsize=4)
def _order(plan: BatchPlan, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """What `plan.ordered` gives, kept for the epochs that are asked for: the step's own and those read ahead."""
    return plan.ordered(epoch)
