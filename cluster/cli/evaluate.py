"""`mobula evaluate`: score a model folder on a data file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.calibrate import calibrate as calibrate_folder
from cluster.cli.output import json_option, print_json, print_table, storage_option
from cluster.config.data import AnySource, as_sources
from cluster.exceptions import UserError

if TYPE_CHECKING:
    from serving.target import Target
    from trainers.evaluation import EvaluationResult

WORST_CLASSES = 5


@click.command(epilog="Example: mobula evaluate models:/support@champion --data test.jsonl --slice channel")
@click.argument("target", metavar="FOLDER|RUN|models:/NAME@ALIAS")
@click.option("--data", multiple=True, help="File, folder, glob or URL; can be repeated. Default: the run's data.test.")
@click.option("--slice", "slices", multiple=True, metavar="COLUMN", help="Score each value of this column as well.")
@click.option("--max-rows", type=click.IntRange(min=1), help="Score at most so many rows.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest generated answer, in tokens.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows scored at once.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write every prediction here (JSONL).")
@click.option(
    "--calibrate",
    is_flag=True,
    help="In place of scoring: fit probabilities on the run's validation rows, or on --data, and write them into the folder.",
)
@storage_option
@json_option
def command(
    target: str,
    data: tuple[str, ...],
    slices: tuple[str, ...],
    output: Path | None,
    *,
    calibrate: bool,
    storage_path: str,
    as_json: bool,
    **settings: int | None,
) -> int:
    """Score a model folder, a run or a registered version on data files.

    Causal models: loss on the answer's tokens, and greedy answers compared with the references (as JSON objects
    where all references are such). Classifiers: accuracy, macro-F1, classes. Always giving the most common
    reference is scored beside it, so that the figures mean something.
    """
    from serving.target import resolve

    found = resolve(target, storage_path=storage_path)
    if calibrate:
        return calibrate_folder(found, as_sources(data), {name: one for name, one in settings.items() if one}, as_json)
    files = as_sources(data) or _test_sources(found, target)
    result = _evaluate(found, files, list(slices), {name: value for name, value in settings.items() if value})
    if output is not None:
        result.write_predictions(output)
    if as_json:
        print_json(
            {
                "target": target,
                "folder": str(found.folder.path),
                "data": [one.place for one in files],
                **result.summary(),
            }
        )
    else:
        print_result(result)
    return 0


def _test_sources(found: "Target", target: str) -> list[AnySource]:
    configured = found.folder.config.data.sources("test") if found.folder.config else []
    if not configured:
        raise UserError(f"{target}: its run has no data.test to score; name a file with --data")
    return configured


def _evaluate(
    found: "Target", files: list[AnySource], slices: list[str], settings: dict[str, int]
) -> "EvaluationResult":
    from cluster.config import EvaluateConfig
    from cluster.session import ray_session
    from trainers.evaluation import evaluate_folder

    configured = found.folder.config.evaluate if found.folder.config else EvaluateConfig()
    evaluate = EvaluateConfig.model_validate(configured.model_dump() | settings)
    with ray_session(found.cluster):
        return evaluate_folder(
            found.folder, files, evaluate, slices=slices or evaluate.slices, on_progress=show_progress
        )


def show_progress(rows: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{rows} rows scored", nl=False, err=True)


def print_result(result: "EvaluationResult") -> None:
    """The figures as tables on stdout."""
    if sys.stderr.isatty():
        click.echo(err=True)
    print_table(["metric", "model", "most common"], comparison(result))
    for column, values in result.slices.items():
        names = [name for name in result.metrics if name in next(iter(values.values()))]
        click.echo()
        print_table(
            [column, "rows", *names],
            [[value, int(scores["n"]), *(scores.get(name) for name in names)] for value, scores in values.items()],
        )
    if result.classes:
        worst = sorted(result.classes.items(), key=lambda entry: entry[1]["f1"])[:WORST_CLASSES]
        click.echo("\nweakest classes")
        columns = ("precision", "recall", "f1", "n")
        print_table(["class", *columns], [[label, *(scores[name] for name in columns)] for label, scores in worst])


def comparison(result: "EvaluationResult") -> list[list[Any]]:
    """Rows of metric, model and baseline, led by how much was scored."""
    metrics = {"rows": result.n, **result.metrics}
    return [[name, value, result.baseline.get(name)] for name, value in metrics.items()]
