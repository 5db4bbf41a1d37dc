"""What a run says of itself while it runs: a mailbox that workers write to, a metrics file, one line on the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import ray

    from cluster.storage import Storage

Row = dict[str, Any]
SHORTEST_POLL_S = 0.5
LONGEST_POLL_S = 2.0
PLAIN_LINE_EVERY_S = 15.0


class Mailbox:
    """Holds what rank 0 says until the driver fetches it; run as a Ray actor that reserves nothing."""

    def __init__(self) -> None:
        self._history: list[Row] | None = None
        self._rows: list[Row] = []
        self._news = asyncio.Event()

    async def begin(self, history: list[Row]) -> None:
        """A start of the workers: `history` is all that was logged up to where they continue."""
        self._history, self._rows = history, []
        self._news.set()

    async def put(self, row: Row) -> None:
        self._rows.append(row)
        self._news.set()

    async def take(self, timeout_s: float) -> tuple[list[Row] | None, list[Row]]:
        """(history if the workers have started since, rows since), as soon as there is any, else after the time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        self._news.clear()
        found, self._history, self._rows = (self._history, self._rows), None, []
        return found


def duration(seconds: float) -> str:
    """`75` -> `1:15`, `4000` -> `1:06:40`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def describe(row: Row) -> str:
    """One row of metrics as one line for people."""
    parts = [f"step {row['step']}/{row['total_steps']}", f"epoch {row['epoch']:.2f}"]
    if "loss" in row:
        parts += [
            f"loss {row['loss']:.4f}",
            f"{row['tokens_per_s']:,.0f} tokens/s",
            f"data wait {row['data_wait']:.1%}",
        ]
        parts += [f"memory {row['memory_gib']:.1f} GiB", f"ETA {duration(row['eta_s'])}"]
    parts += [
        f"{key} {value:.4f}" for key, value in row.items() if key.startswith("eval_") and isinstance(value, float)
    ]
    return "  ".join(parts)


class ProgressLine:
    """One line that is rewritten on a terminal; on anything else a line now and then, and every evaluation."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self.name, self.stream = name, stream or sys.stderr
        self._last_printed = float("-inf")
        self._evaluated = ""

    def show(self, row: Row) -> None:
        if self.stream.isatty():
            if "eval_loss" in row:
                self._evaluated = f"  eval_loss {row['eval_loss']:.4f}"
                return
            self.stream.write(f"\r\x1b[2K{self.name}  {describe(row)}{self._evaluated}")
        elif "eval_loss" in row or time.monotonic() - self._last_printed >= PLAIN_LINE_EVERY_S:
            self._last_printed = time.monotonic()
            self.stream.write(f"{self.name}  {describe(row)}\n")
        self.stream.flush()

    def close(self) -> None:
        if self.stream.isatty():
            self.stream.write("\n")
            self.stream.flush()


@contextmanager
def following(storage: Storage, listeners: list[Callable[[Row], None]]) -> Iterator[ray.actor.ActorHandle]:
    """Keep `metrics.jsonl` and tell the listeners, while the body runs; yields the mailbox for the workers.

    The file is what the workers say of each start: the rows of the checkpoint they continue from, then theirs. So it
    holds every step once, whatever of an earlier start was lost on the way here or lay behind its last checkpoint.
    """
    import ray

    mailbox: Any = ray.remote(num_cpus=0)(Mailbox).remote()  # type: ignore[attr-defined]
    done = threading.Event()

    def deliver(timeout_s: float) -> None:
        history, rows = ray.get(mailbox.take.remote(timeout_s))
        if history is not None:
            storage.write_text("metrics.jsonl", lines(history))
        if rows:
            storage.append_text("metrics.jsonl", lines(rows))
        for row in rows:
            for listener in listeners:
                listener(row)

    def poll() -> None:
        while not done.wait(SHORTEST_POLL_S):
            deliver(LONGEST_POLL_S)

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield mailbox
    finally:
        done.set()
        thread.join()
        deliver(0.0)
        ray.kill(mailbox)


def lines(rows: Sequence[Row]) -> str:
    """Rows as a file of metrics holds them: one JSON object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)
