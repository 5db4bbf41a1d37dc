"""Tells on stderr how far a longer story is: bars on a terminal, a line now and then anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PLAIN_LINE_EVERY_S = 10.0


class Narrator:
    """Chapters one after the other, each with a bar or a spinner, and how long it took."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        self._last_line = float("-inf")
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}[/dim]"),
            console=Console(stderr=True),
            disable=not self._is_terminal,
        )

    def __enter__(self) -> "Narrator":
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    @contextmanager
    def chapter(self, title: str) -> Iterator["Chapter"]:
        """Something that takes a while; it is ticked off when the block ends without an error."""
        chapter = Chapter(self, title)
        began = time.monotonic()
        chapter.say("", force=True)
        yield chapter
        self.seconds[title] = time.monotonic() - began
        chapter.finish(self.seconds[title])

    def line(self, text: str, force: bool = False) -> None:
        """A line for those who have no terminal, not too often unless forced."""
        now = time.monotonic()
        if not self._is_terminal and (force or now - self._last_line > PLAIN_LINE_EVERY_S):
            self._last_line = now
            sys.stderr.write(f"[{now - self._began:6.1f} s] {text}\n")
            sys.stderr.flush()


class Chapter:
    """One part of the story."""

    def __init__(self, narrator: Narrator, title: str) -> None:
        self.title, self._narrator = title, narrator
        self._bar = narrator._progress.add_task(title, total=None, note="")

    def say(self, note: str, force: bool = False) -> None:
        """What happens right now."""
        self._narrator._progress.update(self._bar, note=note)
        self._narrator.line(f"{self.title}: {note}" if note else self.title, force)

    def advance_to(self, done: float, total: float, note: str) -> None:
        """How far it is."""
        self._narrator._progress.update(self._bar, completed=done, total=total)
        self.say(note, force=done == total)

    def finish(self, seconds: float) -> None:
        """Tick it off."""
        self._narrator._progress.update(self._bar, completed=1, total=1, note="")
        self._narrator.line(f"{self.title}: done in {seconds:.1f} s", force=True)
