"""`mobula logs`: the metrics rows of a run, its log files and its error."""

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.output import cell, json_option, print_json, storage_option
from cluster.cli.status import find_run

if TYPE_CHECKING:
    from cluster.runs import RunDirectory

_POLL_S = 1.0


@click.command()
@click.argument("run")
@click.option("-n", "--lines", default=20, show_default=True, help="Last rows shown.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing rows until the run ends.")
@storage_option
@json_option
def command(run: str, lines: int, follow: bool, storage_path: str, as_json: bool) -> None:
    """Show the last metrics of RUN (a name, run directory or run.yaml), its log files and its error."""
    directory = find_run(run, storage_path)
    rows = directory.metrics()
    if as_json:
        record = directory.record()
        print_json({"metrics": rows[-lines:], "logs": _log_tails(directory, lines), "error": record and record.error})
        return
    for row in rows[-lines:]:
        click.echo(_line(row))
    if follow:
        _follow(directory, len(rows))
    for name, tail in _log_tails(directory, lines).items():
        click.echo(f"--- logs/{name}")
        click.echo("\n".join(tail))
    record = directory.record()
    if record and record.error:
        click.echo(f"error: {record.error}")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{key}={cell(value)}" for key, value in row.items() if value is not None)


def _follow(directory: "RunDirectory", shown: int) -> None:
    active = True
    while active:
        active = directory.is_active()  # asked before reading, so that rows written at the very end are seen
        rows = directory.metrics()
        for row in rows[shown:]:
            click.echo(_line(row))
        shown = len(rows)
        if active:
            time.sleep(_POLL_S)


def _log_tails(directory: "RunDirectory", lines: int) -> dict[str, list[str]]:
    return {
        name: list(deque(directory.storage.read_text(f"logs/{name}").splitlines(), maxlen=lines))
        for name in directory.storage.list("logs")
        if name.endswith(".log")  # Ray Train keeps a folder of its own there
    }
