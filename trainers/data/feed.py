"""Brings the sequences of a plan to one worker, a few steps ahead of it.

A small Ray Data pipeline inside the worker reads the sequences of this worker in order, beside the training steps, in
tasks that reserve no CPU, so that workers which hold every CPU of the cluster do not wait for themselves. A pipeline
needs seconds until its first task runs in a process of its own. The sequences of the first steps are therefore read by
the worker itself while the pipeline starts; a feed of a few steps, such as an evaluation, never starts one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.data.collate import Collate
from trainers.data.plan import BatchPlan
from trainers.data.ray_data import quiet_context
from trainers.data.store import PreparedSplit

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from ray.data.datasource import Datasource

PIPELINE_SEQUENCES = 1 << 20
"""Sequences behind one pipeline; the next one starts when they are consumed, so that no list grows with the data."""
TASK_SEQUENCES = 1 << 15
READ_SEQUENCES = 64
HEAD_STEPS = 32
"""Steps whose sequences the worker reads itself: a fraction of a millisecond each from a local disk."""
BLOCK_BYTES = 512 << 10
AHEAD_BYTES = 64 << 20
Thin = Callable[["pa.Table", int, np.ndarray], "pa.Table"]


class Feed:
    """The micro-batches of one worker, step by step.

    Args:
        split: where the sequences are.
        plan: which of them belong to which step.
        collate: makes tensors of them.
        rank: of this worker, of `num_workers`.
        thin: changes the sequences of a step just before they are used; given them, the step and their numbers.

    Attributes:
        wait_s: seconds that the consumer has waited for data so far.
    """

    def __init__(
        self,
        split: PreparedSplit,
        plan: BatchPlan,
        collate: Collate,
        rank: int = 0,
        num_workers: int = 1,
        *,
        thin: Thin | None = None,
    ) -> None:
        self.split, self.plan, self.collate = split, plan, collate
        self.rank, self.num_workers = rank, num_workers
        self.thin: Thin = thin or (lambda table, step, indices: table)
        self.wait_s = 0.0

    def shares(self, start_step: int, end_step: int) -> Iterator[list[np.ndarray]]:
        """Sequences of each step, counted over all epochs."""
        for step in range(start_step, end_step):
            yield self.plan.share(*divmod(step, self.plan.steps_per_epoch), self.rank, self.num_workers)

    def batches(self, start_step: int, end_step: int) -> Iterator[list[dict[str, torch.Tensor]]]:
        """For each optimizer step from `start_step` until before `end_step`, its micro-batches.

        Steps count over epochs: step `plan.steps_per_epoch` is the first of the second epoch.
        """
        rows = _RowStream(self._tables(start_step, end_step))
        for step, share in enumerate(self.shares(start_step, end_step), start=start_step):
            began = time.perf_counter()
            batch = [self.collate(self.thin(rows.take(len(indices)), step, indices)) for indices in share]
            self.wait_s += time.perf_counter() - began
            yield batch

    def _tables(self, start_step: int, end_step: int) -> Iterator[pa.Table]:
        """Sequences in the order of the steps, through Ray Data."""
        yield self.split.read([])  # an empty table, so that a stream without sequences has columns
        head_end = min(start_step + HEAD_STEPS, end_step)
        with contextlib.closing(_Ahead(self._through_ray_data(head_end, end_step))) as rest:
            for share in self.shares(start_step, head_end):
                yield self.split.read(np.concatenate(share))
            yield from rest

    def _through_ray_data(self, start_step: int, end_step: int) -> Iterator[pa.Table]:
        import ray.data

        for indices in self._spans(start_step, end_step):
            tasks = np.split(indices, range(TASK_SEQUENCES, len(indices), TASK_SEQUENCES))
            with quiet_context(max_block_bytes=BLOCK_BYTES, object_store_bytes=AHEAD_BYTES):
                pipeline = ray.data.read_datasource(
                    _steps_datasource(self.split, tasks), override_num_blocks=len(tasks), num_cpus=0, concurrency=1
                )
            yield from pipeline.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)

    def _spans(self, start_step: int, end_step: int) -> Iterator[np.ndarray]:
        """The sequences of the steps, as many at once as one pipeline reads."""
        span: list[np.ndarray] = []
        size = 0
        for share in self.shares(start_step, end_step):
            span += share
            size += sum(map(len, share))
            if size >= PIPELINE_SEQUENCES:
                yield np.concatenate(span)
                span, size = [], 0
        if size:
            yield np.concatenate(span)


class _Ahead:
    """An iterator that is run a few items ahead, in a thread that begins at once."""

    def __init__(self, items: Iterator[pa.Table], size: int = 2) -> None:
        self.queue: queue.Queue[tuple[pa.Table | None, BaseException | None]] = queue.Queue(size)
        self.stopped = threading.Event()
        threading.Thread(target=self._run, args=(items,), name="feed", daemon=True).start()

    def __iter__(self) -> Iterator[pa.Table]:
        while True:
            item, error = self.queue.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item

    def close(self) -> None:
        """Let the thread end when nobody wants more."""
        self.stopped.set()

    def _run(self, items: Iterator[pa.Table]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((None, None))
        except BaseException as error:  # whatever it is, the training thread has to hear of it
            self._put((None, error))

    def _put(self, entry: tuple[pa.Table | None, BaseException | None]) -> bool:
        while not self.stopped.is_set():
            with contextlib.suppress(queue.Full):
                self.queue.put(entry, timeout=0.5)
                return True
        return False


class _RowStream:
    """Tables in, any number of rows out."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self.tables = tables
        self.current = next(tables)

    def take(self, count: int) -> pa.Table:
        import pyarrow as pa

        while self.current.num_rows < count:
            self.current = pa.concat_tables([self.current, next(self.tables)])
        taken, self.current = self.current.slice(0, count), self.current.slice(count)
        return taken


def _steps_datasource(split: PreparedSplit, tasks: list[np.ndarray]) -> Datasource:
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    class Steps(Datasource):
        def estimate_inmemory_data_size(self) -> int:
            return int(sum(split.lengths[indices].sum() for indices in tasks)) * 8

        def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
            del parallelism, args, kwargs
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(_Read(split, indices), unknown) for indices in tasks]

    return Steps()


class _Read:
    """Streams some sequences in their order; what a read task runs."""

    __name__ = "read_sequences"

    def __init__(self, split: PreparedSplit, indices: np.ndarray) -> None:
        self.split, self.indices = split, indices

    def __call__(self) -> Iterator[pa.Table]:
        for start in range(0, len(self.indices), READ_SEQUENCES):
            yield self.split.read(self.indices[start : start + READ_SEQUENCES])
