"""`mobula tune`: search the settings that a run.yaml leaves open."""

from typing import TYPE_CHECKING

import click

from cluster.cli.output import json_option, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from tuning.study import StudyOutcome

BEST = 5


@click.command(epilog="Example: mobula tune run.yaml tune.num_trials=32")
@click.argument("config_file", metavar="CONFIG", type=click.Path())
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@json_option
def command(config_file: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Train CONFIG again and again with the settings of its `tune:` section, and register the best version.

    A study that was interrupted, or whose tune.num_trials was raised, goes on where it stood. Trials are ordinary
    runs below STORAGE/NAME/trials. The test rows are scored once, with the winner.
    """
    from cluster.config.load import load_config
    from tuning.study import Study

    outcome = Study(load_config(config_file, overrides)).run()
    if as_json:
        print_json(outcome.summary())
    else:
        _print(outcome)
    return 0


def _print(outcome: "StudyOutcome") -> None:
    keys = list(outcome.best.values)
    ranked = sorted(outcome.trials, key=lambda trial: trial.name != outcome.best.name)
    scores = [name for name in outcome.best.result if name.startswith("eval_")]
    print_table(
        ["trial", *keys, *scores, "state"],
        [
            [
                trial.name,
                *(trial.values.get(key) for key in keys),
                *(trial.result.get(name) for name in scores),
                "failed" if trial.error else "stopped" if trial.stopped else "finished",
            ]
            for trial in ranked[:BEST]
        ],
    )
    click.echo()
    published = outcome.published
    print_pairs({"best": outcome.best.name, "model": published["model_path"], **published["metrics"]})
