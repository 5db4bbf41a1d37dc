"""`mobula chat`: talk to a served model in the terminal."""

import time
from typing import TYPE_CHECKING, Any

import click

from cluster.cli.output import json_option, print_json
from cluster.exceptions import MobulaError

if TYPE_CHECKING:
    from serving.chat import Conversation, Labelling

HELP = "/reset forgets what was said, /exit (or Ctrl-D) leaves."


@click.command(epilog="Example: mobula chat --message 'Where is my parcel?'")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where the endpoint listens.")
@click.option("--model", help="Which of its models; the first if left out.")
@click.option("--message", help="Say this one thing, print the answer and leave.")
@click.option("--system", help="System message. Default: the one the model was trained with.")
@click.option("--temperature", type=click.FloatRange(0.0, 2.0), help="0 always takes the most likely token.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer.")
@json_option
def command(
    *,
    url: str,
    model: str | None,
    message: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    as_json: bool,
) -> int:
    """Chat with a served model; answers appear as they are generated. A classifier answers with labels."""
    from serving.chat import connect

    chosen: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
    talk = connect(url, model, system, **{key: value for key, value in chosen.items() if value is not None})
    if message is not None:
        _once(talk, message, as_json)
        return 0
    click.echo(f"{talk.model} at {url}. {HELP}", err=True)
    _converse(talk)
    return 0


def _once(talk: "Conversation | Labelling", message: str, as_json: bool) -> None:
    began = time.monotonic()
    parts = []
    for part in talk.reply(message):
        parts.append(part)
        if not as_json:
            click.echo(part, nl=False)
    if as_json:
        print_json({"model": talk.model, "answer": "".join(parts), "seconds": round(time.monotonic() - began, 3)})
    else:
        click.echo()


def _converse(talk: "Conversation | Labelling") -> None:
    while True:
        try:
            text = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return
        if text in ("/exit", "/quit"):
            return
        if text == "/reset":
            talk.reset()
        elif text == "/help":
            click.echo(HELP, err=True)
        elif text:
            _say(talk, text)


def _say(talk: "Conversation | Labelling", text: str) -> None:
    """Print the answer; Ctrl-C cuts it short, and a refusal does not end the conversation."""
    try:
        for part in talk.reply(text):
            click.echo(part, nl=False)
    except KeyboardInterrupt:
        click.echo(" [cut short]", err=True)
    except MobulaError as error:
        click.echo(f"mobula: {error}", err=True)
    click.echo()
