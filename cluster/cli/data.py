"""`mobula data`: look at the rows of a run.yaml and at what its stages make of them, before anything is trained."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.output import json_option, print_json, print_table
from cluster.config import RunConfig

if TYPE_CHECKING:
    from cluster.storage import Storage
    from trainers.data.staging import StagedRows

_LONGEST_TEXT = 110


@click.group()
def command() -> None:
    """Look at the rows of a run.yaml, and at what its stages make of them.

    Every verb takes the run.yaml that `mobula train` takes. Rows that went through the stages are kept below
    cluster.storage_path and found again by content, so nothing is done twice.
    """


def _takes_config(function: Callable[..., int]) -> Callable[..., int]:
    """Give a verb the loaded config in place of its file and overrides."""

    @click.argument("config_file", metavar="CONFIG", type=click.Path())
    @click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
    @wraps(function)
    def with_config(config_file: str, overrides: tuple[str, ...], **options: Any) -> int:
        from cluster.config.load import load_config

        return function(load_config(config_file, overrides), **options)

    return with_config


def _storage(config: RunConfig) -> "Storage":
    from cluster.storage import Storage

    return Storage.open(config.cluster.storage_path).child("data")


@contextmanager
def _staged(config: RunConfig) -> Iterator["StagedRows"]:
    """The rows of a run after its stages, on a Ray cluster."""
    from cluster.session import ray_session
    from trainers.data.staging import stage_rows

    with ray_session(config.cluster):
        yield stage_rows(config, _storage(config))


@command.command()
@_takes_config
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@click.option("--rows", "count", type=click.IntRange(min=1), default=3, show_default=True, help="Rows to show.")
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Pass over so many rows first.")
@json_option
def inspect(config: RunConfig, split: str, count: int, skip: int, as_json: bool) -> int:
    """Show single rows: as they are read, after each stage, rendered by the chat template, and which tokens carry loss.

    Runs in this process, without Ray, so stages that look at all rows together (duplicates, splits) are left out.
    """
    from trainers.data.inspect import inspect_rows

    shown = list(inspect_rows(config, split, count, skip))
    if as_json:
        print_json(shown)
        return 0
    for row in shown:
        click.echo(click.style(row["place"], bold=True))
        for name, value in row["steps"]:
            click.echo(f"  {name:<12} {value}")
        click.echo()
    return 0


@command.command()
@_takes_config
@json_option
def prepare(config: RunConfig, as_json: bool) -> int:
    """Take the rows through their stages, tokenise and pack them, as `mobula train` would first do."""
    from cluster.runs import RunDirectory
    from cluster.session import ray_session
    from trainers.fit import prepare_data

    with ray_session(config.cluster):
        prepared = prepare_data(RunDirectory.open(config))
    if as_json:
        print_json(
            {"url": prepared.url, "fingerprint": prepared.fingerprint, "rows_url": prepared.rows_url, **prepared.report}
        )
        return 0
    names = ("rows", "sequences", "tokens", "loss_tokens", "truncated_rows", "dropped_rows")
    print_table(
        ["split", *names, "fill"],
        [[split, *(one[name] for name in names), _fill(config, one)] for split, one in prepared.report.items()],
    )
    click.echo(f"\nprepared data: {prepared.url}")
    if prepared.rows_url:
        click.echo(f"rows after the stages: {prepared.rows_url}")
    return 0


def _fill(config: RunConfig, counts: Mapping[str, int]) -> str:
    """Share of the room in packed sequences that holds tokens."""
    if not config.data.packing or config.train.objective.kind == "classification" or not counts["sequences"]:
        return "-"
    return f"{counts['tokens'] / (counts['sequences'] * config.data.max_length):.1%}"


@command.command()
@_takes_config
@json_option
def split(config: RunConfig, as_json: bool) -> int:
    """Take the rows through their stages and say how many rows and labels each split got."""
    with _staged(config) as rows:
        counts = {name: _labels(rows, name) for name in rows.files}
    if as_json:
        print_json(
            {"rows_url": rows.url, "rows": rows.report["rows"], "labels": counts, "stages": rows.report["stages"]}
        )
        return 0
    print_table(["split", "rows"], list(rows.report["rows"].items()))
    labels = dict.fromkeys(label for one in counts.values() for label in one)
    if labels:
        click.echo()
        print_table(["label", *counts], [[label, *(one.get(label, 0) for one in counts.values())] for label in labels])
    _print_stages(rows)
    return 0


def _labels(rows: "StagedRows", split: str) -> dict[str, int]:
    import collections

    counted = collections.Counter(one.label for one in rows.records(split) if one.label is not None)
    return dict(counted.most_common())


def _print_stages(rows: "StagedRows") -> None:
    click.echo()
    stages = rows.report["stages"]
    print_table(
        ["stage", "left out", "changed", "added"],
        [[one[key] for key in ("stage", "rejected", "changed", "added")] for one in stages],
    )
    for one in stages:
        for reason, count in one["reasons"].items():
            click.echo(f"  {one['stage']}: {count} x {reason}")
    click.echo(f"\nrows after the stages: {rows.url}")


@command.command()
@_takes_config
@click.option("--rows", "count", type=click.IntRange(min=1), default=10, show_default=True, help="Pairs to show.")
@json_option
def augment(config: RunConfig, count: int, as_json: bool) -> int:
    """Take the rows through their stages and show rows that were added beside those they were made from."""
    with _staged(config) as rows:
        pairs = _pairs(rows, count)
    if as_json:
        print_json({"rows_url": rows.url, "pairs": pairs, "stages": rows.report["stages"]})
        return 0
    for pair in pairs:
        click.echo(click.style(f"{pair['place']}  {', '.join(pair['stages'])}", bold=True))
        click.echo(f"  from  {_shortened(pair['original'])}")
        click.echo(f"  made  {_shortened(pair['made'])}")
    _print_stages(rows)
    return 0


def _pairs(rows: "StagedRows", count: int) -> list[dict[str, Any]]:
    """The first rows that stages made, each beside the row that it was made from."""
    from trainers.data.record import Record

    made = islice((one for one in rows.records("train") if one.origin is not None), count)
    return [
        {
            "place": one.origin,
            "stages": one.changes,
            "original": Record(json.loads(one.before or "{}")).text(),
            "made": one.text(),
        }
        for one in made
    ]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 3]}..."


def _profile(config: RunConfig, slices: tuple[str, ...]) -> dict[str, Any]:
    from cluster.session import ray_session
    from trainers.data.profile import profile_rows
    from trainers.tokenizer import tokenizer_for

    with ray_session(config.cluster):
        return profile_rows(config, _storage(config), tokenizer_for(config), slices)


_slice_option = click.option(
    "--slice", "slices", multiple=True, metavar="COLUMN", help="Count each value of this column."
)


@command.command()
@_takes_config
@click.option("--strict", is_flag=True, help="Exit status 2 if there is a problem.")
@_slice_option
@json_option
def audit(config: RunConfig, strict: bool, slices: tuple[str, ...], as_json: bool) -> int:
    """Score the rows by dimension of quality, and say what to look at before training on them."""
    profile = _profile(config, slices)
    if as_json:
        print_json({key: profile[key] for key in ("name", "fingerprint", "scores", "findings", "overlap")})
    else:
        print_table(["dimension", "score"], [[name, f"{value:.1%}"] for name, value in profile["scores"].items()])
        click.echo()
        for one in profile["findings"]:
            click.echo(f"{one['level']}: {one['text']}")
    return 2 if strict and any(one["level"] == "problem" for one in profile["findings"]) else 0


@command.command()
@_takes_config
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("data-report.html"),
    show_default=True,
    help="Where the page goes; the same as JSON lies beside it.",
)
@_slice_option
@json_option
def report(config: RunConfig, output: Path, slices: tuple[str, ...], as_json: bool) -> int:
    """Write one HTML page about the rows, and the same as JSON: sizes, lengths, labels, repetitions, contents, samples."""
    from trainers.data.profile.page import render

    profile = _profile(config, slices)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(profile), encoding="utf-8")
    beside = output.with_suffix(".json")
    beside.write_text(json.dumps(profile, ensure_ascii=False, indent=2, default=str) + "\n", encoding="utf-8")
    if as_json:
        print_json({"html": str(output), "json": str(beside), "findings": profile["findings"]})
        return 0
    for one in profile["findings"]:
        click.echo(f"{one['level']}: {one['text']}")
    click.echo(f"\n{output}\n{beside}")
    return 0


@command.command()
@_takes_config
@click.option("--seeds", type=click.IntRange(min=2), default=5, show_default=True, help="Pairs of trainings.")
@click.option(
    "--without", "kinds", multiple=True, metavar="KIND", help="Stages to leave out. Default: all that augment."
)
@click.option("--metric", help="What to compare. Default: test_accuracy, or test_loss where no class is learnt.")
@json_option
def ablation(config: RunConfig, seeds: int, kinds: tuple[str, ...], metric: str | None, as_json: bool) -> int:
    """Train with and without some stages, several seeds each, and print the difference with its interval.

    Every training is a run of its own below cluster.storage_path; a second call goes on where the first one stopped.
    """
    from cluster.session import ray_session
    from trainers.data.ablation import ablate

    with ray_session(config.cluster):
        found = ablate(config, seeds, kinds, metric)
    if as_json:
        print_json(found.summary())
        return 0
    sides = zip(found.seeds, found.without, found.with_stages, found.differences, strict=True)
    print_table(["seed", "without", "with", "difference"], [list(row) for row in sides])
    click.echo(f"\n{found.sentence}")
    return 0
