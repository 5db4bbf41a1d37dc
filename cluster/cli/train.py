"""`mobula train`: fine-tune what a run.yaml describes."""

from typing import Any

import click

from cluster.cli.output import json_option, print_json, print_pairs
from cluster.config import RunConfig
from cluster.exceptions import MobulaError


@click.command(epilog="Example: mobula train run.yaml train.learning_rate=2e-5 cluster.num_workers=2")
@click.argument("config_file", metavar="CONFIG", type=click.Path())
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option(
    "--dry-run", is_flag=True, help="Check everything that can be checked, as `mobula check` does; do not train."
)
@click.option("--overwrite", is_flag=True, help="Delete what an earlier run of this name left, and start anew.")
@json_option
def command(config_file: str, overrides: tuple[str, ...], dry_run: bool, overwrite: bool, as_json: bool) -> int:
    """Fine-tune the model that CONFIG describes.

    Any key can be overridden: train.learning_rate=2e-5. An interrupted run continues where its last
    checkpoint is. Exit status 0 means that the model folder exists and was read back.
    """
    from cluster.config.load import load_config

    config = load_config(config_file, overrides)
    if dry_run:
        from cluster.cli.check import report

        return report(config, as_json)
    if overwrite:
        from cluster.runs import RunDirectory

        RunDirectory.open(config, overwrite=True)
    outcome = train(config)
    if as_json:
        print_json(outcome)
    else:
        _print_outcome(outcome, config_file)
    return 0


def train(config: RunConfig) -> dict[str, Any]:
    """Train, read the model folder back and say what there is."""
    from trainers.fit import fit
    from trainers.folder import ModelFolder

    result = fit(config)
    if result.state != "finished":
        raise MobulaError(f"the run ended as {result.state}; see `mobula logs {config.name}` for what happened")
    folder = ModelFolder.open(result.model_path)
    return {
        "state": result.state,
        "name": config.name,
        "run_dir": str(result.run_dir),
        "model_path": str(folder.path),
        "version": result.version,
        "steps": result.steps,
        "metrics": dict(result.metrics),
    }


def _print_outcome(outcome: dict[str, Any], config_file: str) -> None:
    version = f"models:/{outcome['name']}/{outcome['version']}" if outcome["version"] else None
    print_pairs(
        {"run": outcome["run_dir"], "model": outcome["model_path"], "version": version, "steps": outcome["steps"]}
        | outcome["metrics"]
    )
    click.echo(f"Serve it with: mobula serve {config_file}", err=True)
