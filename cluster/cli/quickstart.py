"""`mobula quickstart`: data, training, evaluation, registry, endpoint and report in one go, without a network."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.output import print_pairs, print_table
from cluster.exceptions import ResourceError, UserError

if TYPE_CHECKING:
    from cluster.cli.narrator import Chapter, Narrator
    from cluster.config import RunConfig
    from serving.deploy import Endpoint
    from trainers.fit import FitResult
    from trainers.quickstart.support_desk import Files
    from trainers.report import Exchange

WANTED_EXACT_MATCH = 0.95
PORTS_TRIED = 50
QUESTIONS_PER_FILE = 3


@dataclass(frozen=True)
class Choices:
    """What the user may choose."""

    folder: Path
    model: str | None
    rows: int
    port: int


@dataclass(frozen=True)
class Story:
    """What came of it."""

    choices: Choices
    config: "RunConfig"
    result: "FitResult"
    evaluation: Mapping[str, Any]
    exchanges: Sequence["Exchange"]
    endpoint: "Endpoint"
    report: str
    seconds: Mapping[str, float]

    def exact_match(self, kind: str) -> float:
        """Share of held-out messages (`seen` or `unseen` sentence patterns) that came out right in every field."""
        return float(self.evaluation["slices"]["slice"][kind]["exact_match"])


@click.command(epilog="Example: mobula quickstart --keep-serving")
@click.option("--model", metavar="ID_OR_FOLDER", help="Fine-tune this with LoRA instead of the built-in small model.")
@click.option("--keep-serving", is_flag=True, help="Leave the endpoint up until Ctrl-C.")
@click.option("--rows", type=click.IntRange(min=100), default=5000, show_default=True, help="Messages to train on.")
@click.option(
    "--storage-path",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("mobula-quickstart"),
    show_default=True,
    help="Folder for everything: data, run.yaml and runs.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="First port to try.")
def command(model: str | None, keep_serving: bool, rows: int, folder: Path, port: int) -> int:
    """See the whole story on this machine: data, training on two workers, tests, registry, endpoint, report.

    A support desk's messages are generated, a small model learns to sort them into JSON, and answers real requests
    at the end. Exit status 0 only if at least 95 % of the messages held out from training come out exactly right.
    """
    from cluster.cli.narrator import Narrator

    choices = Choices(
        folder, os.path.abspath(model) if model and Path(model).exists() else model, rows, free_port(port)
    )
    with ExitStack() as stack:
        with Narrator() as narrator:
            story = _tell(narrator, stack, choices)
        print_story(story)
        if keep_serving:
            click.echo(f"\nServing at {story.endpoint.api_url} until Ctrl-C.", err=True)
            threading.Event().wait()
    return 0 if story.exact_match("seen") >= WANTED_EXACT_MATCH else 1


def free_port(first: int) -> int:
    """The first free port from `first` on; the user is told if it is another one."""
    from cluster.preflight import check_port_free

    for port in range(first, min(first + PORTS_TRIED, 65536)):
        try:
            check_port_free("127.0.0.1", port)
        except ResourceError:
            continue
        if port != first:
            click.echo(f"port {first} is taken; the endpoint will listen on {port}", err=True)
        return port
    raise ResourceError(f"none of the ports {first} to {first + PORTS_TRIED - 1} is free; give another with --port")


# -- chapters -------------------------------------------------------------------------------------


def _tell(narrator: "Narrator", stack: ExitStack, choices: Choices) -> Story:
    """Every chapter in turn; what has to be taken down again is put on the stack."""
    from cluster.runs import RunDirectory
    from cluster.session import ray_session

    with narrator.chapter("Writing messages"):
        files, config = write_inputs(choices)
        run = RunDirectory.open(config, overwrite=True)
    with narrator.chapter("Starting Ray"):
        stack.enter_context(ray_session(config.cluster))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave as tidily as on Ctrl-C; Ray sets its own
    with narrator.chapter("Training and testing") as chapter:
        result = _train(config, chapter)
    with narrator.chapter("Starting the endpoint") as chapter:
        endpoint = _deploy(config, result, chapter)
        stack.callback(endpoint.shutdown)
    with narrator.chapter("Asking it") as chapter:
        exchanges = _ask(endpoint, files, chapter.say)
    with narrator.chapter("Writing the report"):
        from trainers.report import EVALUATION, write_report

        report, evaluation = write_report(run, exchanges), run.storage.read_json(EVALUATION)
    return Story(choices, config, result, evaluation, exchanges, endpoint, report, narrator.seconds)


def write_inputs(choices: Choices) -> tuple["Files", "RunConfig"]:
    """The data files and the run.yaml that names them, read back as a config."""
    from cluster.config.load import load_config
    from trainers.quickstart.run_yaml import HEADER, write_run_yaml
    from trainers.quickstart.support_desk import write_files

    folder = choices.folder
    there = folder / "run.yaml"
    if there.exists() and not there.read_text(encoding="utf-8").startswith(HEADER):
        raise UserError(f"{there} was not written by `mobula quickstart`; give another folder with --storage-path")
    files = write_files(folder / "data", train=choices.rows)
    return files, load_config(write_run_yaml(folder, files, model=choices.model, port=choices.port))


def _train(config: "RunConfig", chapter: "Chapter") -> "FitResult":
    from trainers.fit import fit

    def show(row: Mapping[str, Any]) -> None:
        step, total = row["step"], row["total_steps"]
        if step == total:
            chapter.advance_to(step, total, "testing on held-out messages")
        elif "loss" in row:
            chapter.advance_to(
                step, total, f"step {step}/{total}  loss {row['loss']:.3f}  {row['tokens_per_s']:,.0f} tokens/s"
            )

    chapter.say("preparing data and workers")
    return fit(config, listeners=[show])


def _deploy(config: "RunConfig", result: "FitResult", chapter: "Chapter") -> "Endpoint":
    from serving.deploy import deploy
    from trainers.folder import ModelFolder

    return deploy(ModelFolder.open(result.model_path), config.serve, config.name, on_progress=chapter.say)


def _ask(endpoint: "Endpoint", files: "Files", say: Callable[[str], None]) -> list["Exchange"]:
    """Put held-out messages to the endpoint through the `openai` client; answers are streamed."""
    from serving.chat import connect
    from trainers.quickstart.support_desk import SYSTEM, read_rows
    from trainers.report import Exchange

    talk = connect(endpoint.url, endpoint.model_name, SYSTEM, temperature=0.0, max_tokens=64)
    exchanges = []
    for path in (files.test, files.unseen):
        for row in islice(read_rows(path), QUESTIONS_PER_FILE):
            _, question, expected = (message["content"] for message in row["messages"])
            began, answer = time.monotonic(), ""
            for part in talk.reply(question):
                answer += part
                say(answer)
            exchanges.append(Exchange(question, answer, expected, time.monotonic() - began))
            talk.reset()
    return exchanges


# -- the end --------------------------------------------------------------------------------------


def print_story(story: Story) -> None:
    """The report on stdout: what was reached, what it answers, where everything lies, what to try next."""
    click.echo("\nIt answers (streamed by the openai client):")
    for exchange in story.exchanges:
        mark = "✓" if _same(exchange.answer, exchange.expected) else f"✗ expected {exchange.expected}"
        click.echo(f"  {exchange.question}\n    -> {exchange.answer}  {mark}")
    click.echo()
    print_table(["", "model", "most common answer", "wanted"], _figures(story))
    click.echo()
    print_pairs(_places(story))
    click.echo("\nTry next:")
    for line in things_to_try(story):
        click.echo(f"  {line}")


def _same(answer: str, expected: str | None) -> bool:
    try:
        return bool(json.loads(answer) == json.loads(expected or "null"))
    except json.JSONDecodeError:
        return False


def _figures(story: Story) -> list[list[Any]]:
    metrics, baseline = story.evaluation["metrics"], story.evaluation["baseline"]
    seen, unseen = story.exact_match("seen"), story.exact_match("unseen")
    verdict = "ok" if seen >= WANTED_EXACT_MATCH else "MISSED"
    fields = ("intent", "product", "urgency")
    return [
        ["JSON exactly right, held-out messages", _percent(seen), _percent(baseline["exact_match"]), f">= 95 %: {verdict}"],
        ["JSON exactly right, sentence patterns never trained on", _percent(unseen), None, None],
        *([f"{name} right, all", _percent(metrics[f"field.{name}"]), _percent(baseline[f"field.{name}"]), None] for name in fields),
        ["useful tokens per second", f"{story.result.metrics['tokens_per_s']:,.0f}", None, None],
        *([f"{title}, seconds", f"{seconds:.0f}", None, None] for title, seconds in story.seconds.items()),
        ["all together, seconds", f"{sum(story.seconds.values()):.0f}", None, "< 480"],
    ]  # fmt: skip


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _places(story: Story) -> dict[str, Any]:
    folder, name = story.choices.folder, story.config.name
    return {
        "report": story.report,
        "model": story.result.model_path,
        "version": f"models:/{name}/{story.result.version} in {story.config.cluster.storage_path}",
        "data": folder / "data",
        "settings": folder / "run.yaml",
        "endpoint": story.endpoint.api_url,
    }


def things_to_try(story: Story) -> list[str]:
    """Three commands that go on from here."""
    folder, name = story.choices.folder, story.config.name
    return [
        f"mobula serve {folder}/run.yaml          # then, in another terminal:  mobula chat --url {story.endpoint.url}",
        f"mobula evaluate {folder}/runs/{name}/model --data {folder}/data/unseen_patterns.jsonl",
        f"mobula train {folder}/run.yaml name=longer train.num_train_epochs=6",
    ]
