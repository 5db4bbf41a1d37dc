"""`mobula evaluate`: score a model folder, a run, a registered version or an endpoint on data files."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.calibrate import calibrate
from cluster.cli.judging import Otherwise, Scored, judging_options, refresh_card, run_dialogues, run_harness, with_judge
from cluster.cli.output import json_option, print_json, print_table, storage_option
from cluster.cli.sections import overridden
from cluster.config import ClusterConfig, EvaluateConfig, RunConfig
from cluster.config.data import AnySource, as_sources
from cluster.exceptions import ConfigError, UserError

if TYPE_CHECKING:
    from trainers.evaluation import EvaluationResult
    from trainers.evaluation.protocol.folds import CrossValidation
    from trainers.evaluation.protocol.suites import SuiteResult
    from trainers.evaluation.subjects import Subject

WORST_CLASSES = 5
REGRESSED = 3
"""Exit status where a suite asks for more than the model gives."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line says."""

    target: str
    overrides: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    model: str | None = None
    config: str | None = None
    calibrate: bool = False
    fresh: bool = False
    output: Path | None = None
    storage_path: str = "runs"
    as_json: bool = False
    settings: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Found:
    """What is scored, and how.

    Attributes:
        config: of the run that made the model, or named with --config.
        storage_path: where evaluations are kept.
    """

    subject: "Subject"
    config: RunConfig | None
    evaluate: EvaluateConfig
    storage_path: str

    @property
    def cluster(self) -> ClusterConfig:
        """Where it runs."""
        return self.config.cluster if self.config else ClusterConfig()


@click.command(epilog="Example: mobula evaluate models:/support@champion --data test.jsonl --slice channel")
@click.argument("target", metavar="FOLDER|RUN|models:/NAME@ALIAS|URL")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--data", multiple=True, help="File, folder, glob or URL; can be repeated. Default: the run's data.test.")
@click.option(
    "--slice", "slices", multiple=True, metavar="COLUMN", help="Score each value of this column or expression."
)
@click.option("--suite", "suites", multiple=True, metavar="NAME|all", help="Score suites of evaluate.suites instead.")
@click.option("--model", help="Of an endpoint: which of its models. Default: the only one.")
@click.option("--config", type=click.Path(), help="Of an endpoint: a run.yaml whose data and evaluate sections hold.")
@click.option(
    "--folds", type=click.IntRange(min=2), help="Of a run.yaml: train and score on so many folds of its rows."
)
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Deal the folds so often.")
@click.option("--fold-groups", metavar="COLUMN", help="Rows with one value of this column are in one fold.")
@click.option(
    "--fold-time", metavar="COLUMN", help="Each fold is scored by a model that learnt from earlier rows only."
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Instead of scoring: fit probabilities on the run's validation rows, or on --data, and write them into the folder.",
)
@judging_options
@click.option("--fresh", is_flag=True, help="Do it all anew, even if the same was evaluated before.")
@click.option("--max-rows", type=click.IntRange(min=1), help="Score at most so many rows.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Longest generated answer, in tokens.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows scored at once.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write every prediction here (JSONL).")
@storage_option
@json_option
def command(folds: int | None, repeats: int, fold_groups: str | None, fold_time: str | None, **named: Any) -> int:
    """Score a model folder, a run, a registered version or an OpenAI-compatible endpoint on data files.

    Causal models: loss on the answer's tokens, and answers compared with the references (as JSON objects where all
    references are such). Classifiers: accuracy, macro-F1, classes. Every figure has its interval, and always giving
    the most common reference is scored beside it. What was evaluated before is answered from storage; what was
    interrupted goes on. Any key of the evaluate section can be overridden: evaluate.num_samples=5.

    Exit status 3: a suite asks for more than the model gives.
    """
    otherwise = Otherwise.taken_from(named)
    names = {field.name for field in dataclasses.fields(Asked)} - {"settings"}
    settings = {name: value for name, value in named.items() if name not in names and value}
    asked = Asked(**{name: named[name] for name in names}, settings=settings)
    if folds is not None:
        return _cross_validate(asked, folds, repeats, fold_groups, fold_time)
    found = find(asked)
    if asked.calibrate:
        return calibrate(found.subject, as_sources(asked.data), found.evaluate, found.cluster, asked.as_json)
    found = dataclasses.replace(found, evaluate=with_judge(found.evaluate, otherwise.judge))
    scored = Scored(found.subject, found.evaluate, found.cluster, found.storage_path, asked.fresh, asked.as_json)
    if otherwise.harness is not None:
        return run_harness(scored, otherwise, settings)
    if otherwise.dialogues is not None:
        return run_dialogues(scored, otherwise.dialogues, asked.output)
    return _run_suites(asked, found) if asked.suites else _run(asked, found, otherwise.update_card)


def _run(asked: Asked, found: Found, update_card: bool) -> int:
    from cluster.session import ray_session
    from trainers.evaluation import evaluate_subject

    files = as_sources(asked.data) or test_sources(found, asked.target)
    with ray_session(found.cluster):
        result = evaluate_subject(
            found.subject,
            files,
            found.evaluate,
            slices=asked.slices or found.evaluate.slices,
            how=_how(asked, found),
        )
    if asked.output is not None:
        result.write_predictions(asked.output)
    if update_card:
        refresh_card(found.subject, result, found.evaluate.confidence)
    if asked.as_json:
        print_json({"target": asked.target, "data": [one.place for one in files], **_plain(result.summary())})
    else:
        print_result(result)
    return 0


def _run_suites(asked: Asked, found: Found) -> int:
    from cluster.session import ray_session
    from trainers.evaluation.protocol.suites import chosen_suites, run_suite

    suites = chosen_suites(asked.suites, found.evaluate.suites)
    how, tested = _how(asked, found), _tested(found)
    with ray_session(found.cluster):
        results = [
            run_suite(found.subject, name, suite, found.evaluate, how, tested=tested) for name, suite in suites.items()
        ]
    if asked.as_json:
        print_json({"target": asked.target, "suites": {one.name: _plain(one.summary()) for one in results}})
    else:
        print_suites(results)
    return 0 if all(one.passed for one in results) else REGRESSED


def _tested(found: Found) -> dict[str, float] | None:
    """What the training found on its test rows, as the model folder says."""
    from trainers.evaluation.subjects import FolderSubject

    metrics = found.subject.folder.metrics if isinstance(found.subject, FolderSubject) else {}
    return {name.removeprefix("test_"): value for name, value in metrics.items() if name.startswith("test_")} or None


def _cross_validate(asked: Asked, folds: int, repeats: int, groups: str | None, time: str | None) -> int:
    from cluster.config.load import load_config
    from trainers.evaluation.protocol.folds import Folds, cross_validate

    if not asked.target.endswith((".yaml", ".yml")):
        raise UserError(
            f"{asked.target}: --folds trains models, so it needs a run.yaml, not a model that is trained already"
        )
    config = load_config(asked.target, asked.overrides)
    found = cross_validate(config, Folds(folds, repeats, groups, time))
    if asked.as_json:
        print_json({"target": asked.target, **_plain(found.summary())})
    else:
        print_folds(found)
    return 0


def _how(asked: Asked, found: Found) -> Any:
    from trainers.evaluation import How

    return How(found.storage_path, asked.fresh, on_progress=show_progress)


def test_sources(found: Found, target: str) -> list[AnySource]:
    """The test rows that its config names.

    Raises:
        UserError: if it names none.
    """
    configured = found.config.data.sources("test") if found.config else []
    if not configured:
        raise UserError(f"{target}: there is no data.test to score; name a file with --data")
    return configured


# -- what is scored -------------------------------------------------------------------------------


def find(asked: Asked) -> Found:
    """What a target names: a run.yaml, a run directory, a model folder, a registered version or an endpoint.

    Raises:
        UserError: saying what was found there, and what to give instead.
    """
    if asked.target.startswith(("http://", "https://")):
        return _find_endpoint(asked)
    for name in ("model", "config"):
        if getattr(asked, name) is not None:
            raise UserError(f"--{name} is for endpoints, and {asked.target} is none; leave it out")
    from serving.target import resolve
    from trainers.evaluation.subjects import FolderSubject

    is_file = asked.target.endswith((".yaml", ".yml"))
    target = resolve(asked.target, storage_path=asked.storage_path)
    config = _loaded(asked.target) if is_file else target.folder.config
    storage_path = config.cluster.storage_path if is_file and config else asked.storage_path
    evaluate = _settings(config, asked)
    return Found(FolderSubject(target.folder, asked.target), config, evaluate, storage_path)


def _find_endpoint(asked: Asked) -> Found:
    from trainers.evaluation.subjects.endpoint import EndpointSubject

    config = _loaded(asked.config) if asked.config else None
    evaluate = _settings(config, asked)
    subject = EndpointSubject(asked.target, asked.model, evaluate.endpoint, config.data if config else None)
    return Found(subject, config, evaluate, asked.storage_path)


def _loaded(path: str) -> RunConfig:
    from cluster.config.load import load_config

    return load_config(path)


def _settings(config: RunConfig | None, asked: Asked) -> EvaluateConfig:
    """`evaluate` of the config, with what the command line says in its place."""
    for override in asked.overrides:
        if not override.startswith("evaluate."):
            raise ConfigError(f"{override!r}: a trained model is scored as it is; override evaluate.* keys only")
    return overridden("evaluate", config.evaluate if config else EvaluateConfig(), asked.overrides, asked.settings)


# -- what is printed ------------------------------------------------------------------------------


def show_progress(rows: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{rows} rows scored", nl=False, err=True)


def print_result(result: "EvaluationResult") -> None:
    """The figures as tables on stdout."""
    if sys.stderr.isatty():
        click.echo(err=True)
    print_table(["metric", "model", "interval", "most common"], comparison(result))
    for column, values in result.slices.items():
        _print_slices(result, column, values)
    if result.classes:
        worst = sorted(result.classes.items(), key=lambda entry: entry[1]["f1"])[:WORST_CLASSES]
        click.echo("\nweakest classes")
        columns = ("precision", "recall", "f1", "n")
        print_table(["class", *columns], [[label, *(scores[name] for name in columns)] for label, scores in worst])
    _print_sections(result)
    if result.cost:
        click.echo()
        print_table(["cost", ""], [[name, value] for name, value in result.cost.items()])
    _print_notes(result)


def _print_sections(result: "EvaluationResult") -> None:
    """How far confidence can be trusted, and where the model fails, in sentences."""
    from trainers.evaluation.confidence import sentences
    from trainers.evaluation.errors import sentences as error_sentences
    from trainers.evaluation.judge import sentences as judge_sentences

    sections = result.sections
    lines = [*sentences(sections), *error_sentences(sections.get("errors", {}))]
    lines += judge_sentences(sections.get("judge", {}))
    if lines:
        click.echo()
    for line in lines:
        click.echo(line)


def _print_slices(result: "EvaluationResult", column: str, values: dict[str, dict[str, float]]) -> None:
    """Each value with all metrics, the first of them with its interval."""
    names = [name for name in result.metrics if any(name in scores for scores in values.values())]
    spans = result.slice_intervals.get(column, {})
    click.echo()
    print_table(
        [column, "rows", *names[:1], "interval", *names[1:]],
        [
            [
                value,
                int(scores["n"]),
                *(scores.get(name) for name in names[:1]),
                _interval(spans.get(value, {}).get(names[0]) if names else None),
                *(scores.get(name) for name in names[1:]),
            ]
            for value, scores in values.items()
        ],
    )


def _print_notes(result: "EvaluationResult") -> None:
    """What is to be known of the figures, on stderr."""
    for name, reason in result.sections.get("left_out", {}).items():
        click.echo(f"{name} is left out: {reason}", err=True)
    seen = result.sections.get("seen", {})
    if seen.get("learnt") or seen.get("selected"):
        click.echo(f"Note: {seen['sentence']}", err=True)
    if result.sections.get("cached", {}).get("is_cached"):
        click.echo(f"Evaluated before, at {result.scored_at}; --fresh does it anew", err=True)
    if "looks" in result.sections:
        click.echo(f"Note: {result.sections['looks']['sentence']}", err=True)


def print_suites(results: list["SuiteResult"]) -> None:
    """A line for each suite, and what was missed."""
    rows = []
    for one in results:
        name, found = one.result.headline, one.result
        span, verdict = _interval(found.intervals.get(name)), "ok" if one.passed else "MISSED"
        rows.append([one.name, one.kind, found.n, name, found.metrics[name], span, one.gaps.get(name), verdict])
    print_table(["suite", "kind", "rows", "metric", "model", "interval", "worse than test by", ""], rows)
    for one in results:
        for miss in one.misses:
            click.echo(f"{one.name}: {miss}", err=True)


def print_folds(found: "CrossValidation") -> None:
    """Mean, interval and spread of each metric."""
    print_table(
        ["metric", "mean", "interval", "sd", "folds"],
        [[one.metric, one.mean, _interval(one.interval), one.sd, one.values] for one in found.scores],
    )
    click.echo(found.note, err=True)


def comparison(result: "EvaluationResult") -> list[list[Any]]:
    """Rows of metric, model, interval and baseline, led by how much was scored."""
    metrics = {"rows": result.n, **result.metrics}
    return [
        [name, value, _interval(result.intervals.get(name)), result.baseline.get(name)]
        for name, value in metrics.items()
    ]


def _interval(span: tuple[float, float] | None) -> str | None:
    return f"{span[0]:.4g} to {span[1]:.4g}" if span is not None else None


def _plain(summary: dict[str, Any]) -> Any:
    from trainers.evaluation.figures import plain

    return plain(summary)
