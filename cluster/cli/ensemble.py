"""`mobula ensemble`: let several models answer as one."""

from typing import TYPE_CHECKING

import click

from cluster.cli.output import json_option, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from tuning.ensemble.build import EnsembleOutcome


@click.command(epilog="Example: mobula ensemble runs/a runs/b runs/c ensemble.combine.kind=greedy")
@click.argument("targets", metavar="CONFIG|MEMBER... [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--name", help="Name of the ensemble's run directory and in the registry.")
@click.option("--storage-path", help="Where runs lie. Default: what CONFIG says, or `runs`.")
@json_option
def command(targets: tuple[str, ...], name: str | None, storage_path: str | None, as_json: bool) -> int:
    """Combine run directories, model folders, registered versions or the best trials of a study into one model.

    With a CONFIG its `ensemble:` section says who is combined and how; members can be trained from it as well. Members
    and weights are chosen on validation rows only. The ensemble is a model folder: it is scored against the best single
    member, registered, and served by `mobula serve`.
    """
    from tuning.ensemble.build import build
    from tuning.ensemble.settings import settings_of

    overrides = [one for one in targets if "=" in one and "://" not in one.partition("=")[0]]
    members = [one for one in targets if one not in overrides]
    outcome = build(settings_of(members, overrides, storage_path, name))
    if as_json:
        print_json(outcome.summary())
    else:
        _print(outcome)
    return 0


def _print(outcome: "EnsembleOutcome") -> None:
    report = outcome.report
    columns = ("weight", "validation_accuracy", "validation_loss")
    rows = [[one["name"], *(one.get(column) for column in columns)] for one in report["members"]]
    print_table(["member", *(column.replace("_", " ") for column in columns)], rows)
    click.echo()
    for sentence in report["sentences"]:
        click.echo(sentence)
    click.echo()
    pairs = {
        "ensemble": report["words"],
        "model": outcome.model_path,
        "version": f"models:/{outcome.name}/{outcome.version}",
    }
    print_pairs(pairs | {name.replace("_", " "): value for name, value in report["cost"].items()})
