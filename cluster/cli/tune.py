"""`mobula tune`: search the settings that a run.yaml leaves open, and understand what was found."""

from typing import TYPE_CHECKING, Any

import click

from cluster.cli.output import json_option, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from tuning.report.understand import Understanding
    from tuning.study import StudyOutcome

BEST = 5


class TuneGroup(click.Group):
    """`mobula tune run.yaml` is `mobula tune run run.yaml`: what names no verb is a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the verb where it was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=TuneGroup, epilog="Example: mobula tune run.yaml tune.num_trials=32, then mobula tune report run.yaml")
def command() -> None:
    """Search the settings that a run.yaml leaves open.

    `mobula tune run.yaml` is short for `mobula tune run run.yaml`.
    """


@command.command()
@click.argument("config_file", metavar="CONFIG", type=click.Path())
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@json_option
def run(config_file: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Train CONFIG again and again with the settings of its `tune:` section, and register the best version.

    A study that was interrupted, or whose tune.num_trials was raised, goes on where it stood. Trials are ordinary
    runs below STORAGE/NAME/trials. The test rows are scored once, with the winner. report.html in STORAGE/NAME says what
    the study teaches.
    """
    from cluster.config.load import load_config
    from tuning.study import Study

    outcome = Study(load_config(config_file, overrides)).run()
    if as_json:
        print_json(outcome.summary())
    else:
        _print(outcome)
    return 0


@command.command()
@click.argument("place", metavar="CONFIG|STUDY_FOLDER", type=click.Path())
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Judge trials by this as well (eval_loss, train_s, tokens, memory_gib, ...): a Pareto set and its knee. Repeatable.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=2),
    metavar="N",
    help="Let the best N trials whose checkpoints are kept answer the validation rows, to tell their lead from luck.",
)
@click.option("--mlflow", "to_mlflow", is_flag=True, help="Record the study and its trials in MLflow as well.")
@json_option
def report(
    place: str,
    overrides: tuple[str, ...],
    *,
    metrics: tuple[str, ...],
    rows: int | None,
    to_mlflow: bool,
    as_json: bool,
) -> int:
    """Say what a study teaches: write report.html and report.json to its folder.

    Works while the study runs, and on one that was interrupted, with the trials that ended.
    """
    from tuning.report import FIGURES, REPORT, write_report
    from tuning.report.answers import ask, known_values
    from tuning.report.reading import StudyFolder
    from tuning.report.tracking import record_study

    folder = StudyFolder.find(place, overrides)
    study = folder.facts(metrics)
    if rows is not None:
        ask(folder, study, rows)
    found = write_report(folder.storage, study, known_values(folder, study))
    files = {name: folder.storage.place(name) for name in (REPORT, FIGURES)}
    if to_mlflow:
        record_study(folder.config.cluster.storage_path, folder.config, study, files)
    if as_json:
        print_json(found.summary() | {"report": files[REPORT]})
    else:
        _print_report(found, files[REPORT])
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


def _print_report(found: "Understanding", place: str) -> None:
    study = found.study
    best: dict[str, Any] = {"best": study.best.name, study.objective.name: study.best.value(study.objective.name)}
    print_pairs({"trials": len(study.trials), **best, **study.best.outcome.values})
    if found.importances:
        click.echo()
        print_table(["setting", "importance"], [[one.setting, f"{one.mean:.0%}"] for one in found.importances])
    for text in [found.lead.sentence if found.lead else "", *(one.sentence for one in found.advice)]:
        if text:
            click.echo(f"\n{text}")
    click.echo(f"\n{place}")
