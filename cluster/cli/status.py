"""`mobula status`: how far a run is and how it ended."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.output import json_option, print_json, print_pairs, print_table, storage_option

if TYPE_CHECKING:
    from cluster.runs import RunDirectory


@click.command()
@click.argument("run", required=False)
@storage_option
@json_option
def command(run: str | None, storage_path: str, as_json: bool) -> None:
    """Show the state of RUN (a name, run directory or run.yaml), or of all runs."""
    if run is None:
        _list_runs(storage_path, as_json)
        return
    described = describe(find_run(run, storage_path))
    if as_json:
        print_json(described)
    else:
        print_pairs({key: value for key, value in described.items() if key != "metrics"} | described["metrics"])


def find_run(run: str, storage_path: str) -> "RunDirectory":
    """The run directory behind what the user typed."""
    from cluster.config.load import load_config
    from cluster.runs import RunDirectory

    if run.endswith((".yaml", ".yml")) and Path(run).is_file():
        config = load_config(run)
        return RunDirectory.find(config.cluster.storage_path, config.name)
    if Path(run, "run.yaml").is_file():
        folder = Path(run).absolute()
        return RunDirectory.find(str(folder.parent), folder.name)
    return RunDirectory.find(storage_path, run)


def describe(directory: "RunDirectory") -> dict[str, Any]:
    """What the record, the lease and the metrics file say together."""
    record = directory.record()
    rows = directory.metrics()
    last = rows[-1] if rows else {}
    return {
        "name": directory.storage.url.rstrip("/").rpartition("/")[2],
        "state": _state(directory),
        "run_dir": directory.storage.url,
        "started_at": record.started_at if record else None,
        "finished_at": record.finished_at if record else None,
        "steps": (record.steps if record else None) or last.get("step"),
        "model_path": record.model_path if record else None,
        "version": record.version if record else None,
        "error": record.error if record else None,
        "metrics": dict(record.metrics) if record and record.metrics else last,
    }


def _state(directory: "RunDirectory") -> str:
    record = directory.record()
    if directory.is_active():
        return "running"
    if record is None:
        return "not started"
    return "interrupted" if record.state == "running" else record.state


def _list_runs(storage_path: str, as_json: bool) -> None:
    from cluster.runs import RunDirectory
    from cluster.storage import Storage

    root = Storage.open(storage_path)
    names = [name for name in root.list() if root.exists(f"{name}/run.yaml")]
    found = [describe(RunDirectory.find(storage_path, name)) for name in names]
    if as_json:
        print_json(found)
    elif found:
        columns = ("name", "state", "steps", "version", "started_at")
        print_table(columns, [[one[column] for column in columns] for one in found])
    else:
        click.echo(f"no runs in {root.url}", err=True)
