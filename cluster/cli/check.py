"""`mobula check`: would this run.yaml run here? Answers in seconds, trains nothing, starts no Ray."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import click

from cluster.cli.output import json_option, print_json
from cluster.config import RunConfig
from cluster.exceptions import UserError

_ROWS_READ = 1000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str


@click.command()
@click.argument("config_file", metavar="CONFIG", type=click.Path())
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@json_option
def command(config_file: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Say whether CONFIG would run here: its keys, data, model, workers, disk and run directory."""
    from cluster.config.load import load_config

    return report(load_config(config_file, overrides), as_json)


def report(config: RunConfig, as_json: bool) -> int:
    """Print what was found; exit status 2 if anything would stop the run."""
    findings = list(findings_for(config))
    if as_json:
        print_json({"ok": all(one.ok for one in findings), "findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            click.echo(f"{'ok ' if one.ok else 'NO '} {one.what}: {one.found}")
    return 0 if all(one.ok for one in findings) else 2


def findings_for(config: RunConfig) -> Iterator[Finding]:
    """Look at one thing after the other; a refusal becomes a finding, so that all of them are seen."""
    checks: dict[str, Callable[[RunConfig], str]] = {
        "config": _config,
        "train.deepspeed": _deepspeed,
        "data": _data,
        "model": _model,
        "workers": _workers,
        "storage": _storage,
        "run directory": _run_directory,
    }
    for what, look in checks.items():
        try:
            yield Finding(what, True, look(config))
        except (UserError, ValueError) as error:
            yield Finding(what, False, str(error))


def _config(config: RunConfig) -> str:
    return (
        f"{config.name}: {config.train.objective.kind} with {config.train.adaptation.kind}, "
        f"{config.global_batch_size} sequences per step "
        f"({config.train.per_device_train_batch_size} x {config.accumulation_steps} x {config.cluster.num_workers})"
    )


def _deepspeed(config: RunConfig) -> str:
    from cluster.config.deepspeed import resolve_deepspeed

    stage = resolve_deepspeed(config.train.deepspeed, config.cluster.num_workers)["zero_optimization"]["stage"]
    return f"ZeRO stage {stage}"


def _data(config: RunConfig) -> str:
    from trainers.data.sources import examples

    classification = config.train.objective.kind == "classification"
    counted = []
    for role in ("train", "validation", "test"):
        sources = getattr(config.data, role)
        if sources is None:
            continue
        read = itertools.islice(examples(sources, config.data, role, classification), _ROWS_READ)
        count = sum(1 for _ in read)
        counted.append(f"{role} {'at least ' if count == _ROWS_READ else ''}{count} rows")
    return ", ".join(counted) + " can be read"


def _model(config: RunConfig) -> str:
    from trainers.models import check_positions, resolve_model

    model = config.model
    if model.kind == "scratch" or os.path.isdir(resolve_model(model.name_or_path)):
        check_positions(config)
    if model.kind == "scratch":
        return f"fresh weights, {model.num_hidden_layers} layers of width {model.hidden_size}"
    place = resolve_model(model.name_or_path)
    if os.path.isdir(place):
        if not os.path.isfile(os.path.join(place, "config.json")):
            raise UserError(
                f"{place} holds no config.json, expected a Hugging Face model folder; change model.name_or_path"
            )
        return f"folder {place}"
    return f"{place} from the model hub (not looked up)"


def _workers(config: RunConfig) -> str:
    from cluster.preflight import check_workers
    from cluster.session import has_gpu

    if config.cluster.address or os.environ.get("RAY_ADDRESS"):
        return f"{config.cluster.num_workers}, to be asked of the cluster at the start"
    if not has_gpu():
        check_workers(config.cluster, os.cpu_count() or 1, 0)
    return f"{config.cluster.num_workers} on this machine with {os.cpu_count()} CPUs"


def _storage(config: RunConfig) -> str:
    from cluster.preflight import free_space_check
    from cluster.storage import Storage

    storage = Storage.open(config.cluster.storage_path)
    free_space_check(storage, need_bytes=1 << 30)
    return storage.url


def _run_directory(config: RunConfig) -> str:
    from cluster.runs import RunDirectory

    try:
        directory = RunDirectory.open(config, create=False)
    except FileNotFoundError:
        return "new"
    record = directory.record()
    return f"{directory.storage.url}, {record.state if record else 'nothing trained yet'}"
