"""Options of `mobula evaluate` that score otherwise than by rows with references: a judge, dialogues, the field's harness."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from cluster.cli.output import print_json, print_table
from cluster.config import ClusterConfig, DialogueConfig, EvaluateConfig, JudgeConfig
from cluster.config.base import Config
from cluster.exceptions import ConfigError, UserError

if TYPE_CHECKING:
    from trainers.evaluation import EvaluationResult
    from trainers.evaluation.harness import HarnessResult
    from trainers.evaluation.subjects import Subject

AnyConfig = TypeVar("AnyConfig", bound=Config)
SHOWN_DIALOGUES = 3


@dataclasses.dataclass(frozen=True)
class Otherwise:
    """What these options say."""

    harness: str | None
    tasks_folder: str | None
    few_shot: int | None
    chat_template: bool
    tokenizer: str | None
    dialogues: str | None
    judge: str | None
    update_card: bool

    @classmethod
    def taken_from(cls, named: dict[str, Any]) -> "Otherwise":
        """The options out of all that were given; the others stay.

        Raises:
            UserError: for options that mean nothing without another.
        """
        found = cls(**{field.name: named.pop(field.name) for field in dataclasses.fields(cls)})
        of_harness = {
            "--tasks-folder": found.tasks_folder,
            "--few-shot": found.few_shot,
            "--tokenizer": found.tokenizer,
        }
        of_harness["--chat-template"] = found.chat_template or None
        lonely = [name for name, value in of_harness.items() if value is not None]
        if found.harness is None and lonely:
            raise UserError(f"{lonely[0]} is for --harness; name its tasks, such as --harness hellaswag")
        return found


def judging_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options."""
    options = [
        click.option(
            "--judge", type=click.Path(), help="A file that says which model judges the answers (evaluate.judge)."
        ),
        click.option(
            "--dialogues", type=click.Path(), help="Of an endpoint: let the simulated users of this file talk to it."
        ),
        click.option(
            "--harness", metavar="TASKS", help="Run these tasks of lm-evaluation-harness instead, parted by commas."
        ),
        click.option("--tasks-folder", type=click.Path(), help="Folder with tasks of your own in the harness's YAML."),
        click.option(
            "--few-shot", type=click.IntRange(min=0), help="Solved examples before each question of the harness."
        ),
        click.option("--chat-template", is_flag=True, help="Ask the harness's questions in the model's chat template."),
        click.option(
            "--tokenizer", help="Of an endpoint: folder or Hub id of its tokenizer, for tasks of given answers."
        ),
        click.option("--update-card", is_flag=True, help="Put the figures into the model card of the folder."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_section(path: str, model: type[AnyConfig]) -> AnyConfig:
    """A config from a YAML file of its own.

    Raises:
        ConfigError: naming file, line and key of what is wrong.
    """
    from cluster.config.load import Source

    source = Source.read(Path(path))
    try:
        return model.model_validate(source.values)
    except ValidationError as error:
        first = error.errors()[0]
        keys = tuple(first["loc"])
        place = next(place for end in range(len(keys), -1, -1) if (place := source.places.get(keys[:end])))
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{place}: {'.'.join(map(str, keys)) or 'the file'}: {reason}") from error


def with_judge(evaluate: EvaluateConfig, path: str | None) -> EvaluateConfig:
    """The settings with the judge of a file."""
    return evaluate if path is None else evaluate.model_copy(update={"judge": read_section(path, JudgeConfig)})


# -- the harness ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scored:
    """What is scored, and where its results go."""

    subject: "Subject"
    evaluate: EvaluateConfig
    cluster: ClusterConfig
    storage_path: str
    fresh: bool
    as_json: bool


def run_harness(scored: Scored, options: Otherwise, settings: dict[str, int]) -> int:
    """Score on the harness's tasks and print what came out."""
    from cluster.session import ray_session
    from trainers.evaluation.harness import HarnessSettings, evaluate_with_harness

    assert options.harness is not None
    chosen = HarnessSettings(
        tasks=tuple(name.strip() for name in options.harness.split(",") if name.strip()),
        tasks_folder=options.tasks_folder,
        num_fewshot=options.few_shot,
        limit=settings.get("max_rows"),
        batch_size=settings.get("batch_size", HarnessSettings.batch_size),
        chat_template=options.chat_template,
        max_new_tokens=settings.get("max_new_tokens"),
        tokenizer=options.tokenizer,
    )
    with ray_session(scored.cluster):
        result = evaluate_with_harness(
            scored.subject, chosen, scored.storage_path, scored.evaluate.confidence, scored.fresh
        )
    if scored.as_json:
        print_json(result.summary())
    else:
        print_harness(result)
    return 0


def print_harness(result: "HarnessResult") -> None:
    """A line for each metric of each task."""
    print_table(
        ["task", "metric", "value", "interval", "rows"],
        [[one.task, one.metric, one.value, _interval(one.low, one.high), one.n or None] for one in result.scores],
    )
    when = f"Evaluated before, at {result.scored_at}; --fresh does it anew" if result.is_cached else "Written"
    click.echo(f"lm-evaluation-harness {result.version}. {when}: {result.place}", err=True)


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.4g} to {high:.4g}"


# -- dialogues ------------------------------------------------------------------------------------


def run_dialogues(scored: Scored, path: str, output: Path | None) -> int:
    """Let simulated users talk to an endpoint, keep what they said, and print how many got what they wanted."""
    import os

    from cluster.config.engine import OpenAIEngine
    from cluster.session import ray_session
    from cluster.storage import Storage
    from trainers.evaluation.judge.dialogues import evaluate_dialogues, fingerprint
    from trainers.evaluation.store import EVALUATIONS, save
    from trainers.evaluation.subjects.endpoint import EndpointSubject

    config, subject = read_section(path, DialogueConfig), scored.subject
    if not isinstance(subject, EndpointSubject):
        raise UserError(f"{subject.name}: --dialogues talks to an endpoint; serve it (mobula serve) and name its URL")
    asked = subject.settings
    engine = OpenAIEngine(
        base_url=subject.url,
        model=subject.model,
        api_key_env=asked.api_key_env if os.environ.get(asked.api_key_env) else None,
        concurrency=asked.concurrency,
        timeout_s=asked.timeout_s,
        retries=asked.retries,
        extra_body=asked.extra_body,
    )
    storage = Storage.open(scored.storage_path).child(EVALUATIONS, fingerprint(config, engine))
    with ray_session(scored.cluster):
        result = evaluate_dialogues(config, engine, scored.evaluate, on_progress=_show_turn)
    save(result, storage)
    if output is not None:
        result.write_predictions(output)
    if scored.as_json:
        print_json(result.summary())
    else:
        print_dialogues(result)
        click.echo(f"Written: {storage.url}", err=True)
    return 0


def _show_turn(turn: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{turn} turns", nl=False, err=True)


def print_dialogues(result: "EvaluationResult") -> None:
    """Success over all and by persona, and a few dialogues to read, those that failed first."""
    name = "dialogue_success"
    told = result.sections["dialogues"]
    rows = [["(all)", result.n, result.metrics.get(name), _span(result.intervals.get(name))]]
    spans = result.slice_intervals.get("persona", {})
    rows += [
        [persona, int(scores["n"]), scores.get(name), _span(spans.get(persona, {}).get(name))]
        for persona, scores in result.slices.get("persona", {}).items()
    ]
    print_table(["persona", "dialogues", "got what it wanted", "interval"], rows)
    ended = ", ".join(f"{how} {count}" for how, count in told["ended"].items())
    click.echo(f"ended by: {ended}" + (f"; {told['unjudged']} could not be judged" if told["unjudged"] else ""))
    for one in told["samples"][:SHOWN_DIALOGUES]:
        click.echo(f"\n{one['name']}")
        for message in one["said"]:
            click.echo(f"  {message['role']}: {message['content']}")


def _span(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else _interval(*interval)


# -- the card -------------------------------------------------------------------------------------


def refresh_card(subject: "Subject", result: "EvaluationResult", confidence: float) -> None:
    """Put the figures of an evaluation into the card of the folder that was scored.

    Raises:
        UserError: for an endpoint, which has no card.
    """
    from trainers.evaluation.subjects import FolderSubject
    from trainers.modelcard import update_card

    if not isinstance(subject, FolderSubject):
        raise UserError(
            f"{subject.name}: --update-card writes into a model folder, and this is an endpoint; name its folder"
        )
    place = update_card(subject.folder.path, result, confidence)
    click.echo(f"Written: {place}", err=True)
