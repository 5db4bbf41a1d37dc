"""How many of the rows that augmentation made count at a step.

They are prepared once and lie among the others. A schedule decides at every step what share of them carries loss; which
ones, is drawn from a seed, the epoch and the sequence, so that workers agree, a resumed run draws the same, and a row that
counts at a share also counts at every higher one.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np

from cluster.config.train import AugmentationSchedule, ProgressSchedule

if TYPE_CHECKING:
    import pyarrow as pa


def made_share(schedule: AugmentationSchedule | None, progress: float, stalls: int) -> float:
    """Share of the made rows that carry loss.

    Args:
        progress: share of the run's steps that are done.
        stalls: how often the validation metric stopped getting better (`Position.stalls`).
    """
    if schedule is None:
        return 1.0
    if isinstance(schedule, ProgressSchedule):
        places, shares = zip(*schedule.points, strict=True)
        return float(np.interp(progress, places, shares))
    lowest, highest = sorted((schedule.start, schedule.end))
    return min(max(schedule.start + stalls * schedule.step, lowest), highest)


@dataclasses.dataclass(frozen=True)
class MadeRows:
    """Takes made rows out of the loss by giving them the weight 0."""

    seed: int

    def keep(self, table: pa.Table, epoch: int, indices: np.ndarray, share: float) -> pa.Table:
        """Sequences in which that share of the made rows counts; rows that were not made stay as they are.

        Args:
            table: sequences as `PreparedSplit.read` gives them.
            indices: their numbers.
        """
        import pyarrow as pa

        if share >= 1.0 or not table.num_rows:
            return table
        made = table["row_made"].combine_chunks()
        flags = made.flatten().to_numpy(zero_copy_only=False)
        if not flags.any():
            return table
        lengths = made.value_lengths().to_numpy()
        drawn = [
            np.random.default_rng((self.seed, epoch, int(index))).random(count)
            for index, count in zip(indices, lengths, strict=True)
        ]
        weights = table["row_weights"].combine_chunks().flatten().to_numpy()
        kept = np.where(flags & (np.concatenate(drawn) >= share), np.float32(0.0), weights)
        offsets = pa.array([0, *itertools.accumulate(lengths.tolist())], pa.int32())
        column = pa.ListArray.from_arrays(offsets, pa.array(kept, pa.float32()))
        return table.set_column(table.schema.get_field_index("row_weights"), "row_weights", column)
