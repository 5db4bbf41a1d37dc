"""`mobula serve`: put a trained model behind an OpenAI-compatible endpoint."""

import json
import shlex
import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

import click

from cluster.cli.output import json_option, print_json, storage_option

if TYPE_CHECKING:
    from serving.deploy import Endpoint

POLL_S = 2.0


@click.command(epilog="Example: mobula serve run.yaml serve.port=8001")
@click.argument("target", metavar="CONFIG|FOLDER|models:/NAME@ALIAS")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@storage_option
@json_option
def command(target: str, overrides: tuple[str, ...], storage_path: str, as_json: bool) -> int:
    """Serve a finished run, a model folder or a registered version until Ctrl-C.

    Causal models (whole or LoRA adapters) answer at /v1/chat/completions and /v1/completions, classifiers at
    /v1/classify. The endpoint is up only if it turns messages into the very tokens that training saw.
    """
    from serving.target import resolve

    found = resolve(target, overrides, storage_path)
    from cluster.session import ray_session
    from serving.deploy import deploy

    began = time.monotonic()

    def progress(line: str) -> None:
        click.echo(f"[{time.monotonic() - began:5.1f} s] {line}", err=True)

    progress("connecting to Ray")
    with ray_session(found.cluster):
        stop = _stop_on_signals()
        endpoint = deploy(found.folder, found.serve, found.name, on_progress=progress)
        try:
            progress(f"ready: {endpoint.probes} of {endpoint.probes} probes give training's tokens")
            _announce(endpoint, str(found.folder.path.absolute()), as_json)
            _watch(endpoint, stop)
        finally:
            progress("stopping")
            endpoint.shutdown()
    return 0


def _stop_on_signals() -> threading.Event:
    """An event that the first Ctrl-C or SIGTERM sets; during start-up it breaks off at once instead."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            return  # already on the way out; a second signal must not cut the clean-up short
        stop.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def _watch(endpoint: "Endpoint", stop: threading.Event) -> None:
    """Return when told to stop; say so when the model falls ill and when it is back."""
    ill = None
    try:
        while not stop.wait(POLL_S):
            state = endpoint.healthy()
            if state != ill:
                click.echo(f"{endpoint.model_name}: {state or 'running again'}", err=True)
                ill = state
    except KeyboardInterrupt:
        return


def _announce(endpoint: "Endpoint", folder: str, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "url": endpoint.url,
                "api_url": endpoint.api_url,
                "model": endpoint.model_name,
                "kind": endpoint.kind,
                "folder": folder,
                "probes": endpoint.probes,
            }
        )
    else:
        click.echo(f"{endpoint.api_url}  {endpoint.model_name}")
    click.echo(f"\n{things_to_try(endpoint.api_url, endpoint.model_name, endpoint.kind)}\n\nCtrl-C stops it.", err=True)


def things_to_try(api_url: str, model: str, kind: str) -> str:
    """Three ways to talk to the endpoint, ready to be copied."""
    message = "Hello!"
    chat = json.dumps({"model": model, "messages": [{"role": "user", "content": message}]})
    texts = json.dumps({"input": [message]})
    route, body, call = {
        "causal_lm": ("chat/completions", chat, f"chat.completions.create(**{chat}).choices[0].message.content"),
        "classification": ("classify", texts, f'post("/classify", body={texts}, cast_to=object)'),
    }[kind]
    python = f'import openai; print(openai.OpenAI(base_url="{api_url}", api_key="none").{call})'
    return "\n".join(
        [
            "Try it:",
            f"  mobula chat --url {api_url.removesuffix('/v1')} --message {shlex.quote(message)}",
            f"  curl {api_url}/{route} -H 'content-type: application/json' -d {shlex.quote(body)}",
            f"  python -c {shlex.quote(python)}",
        ]
    )
