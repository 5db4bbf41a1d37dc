"""Writes the pages of docs/ that say what the code says: `python -m cluster.docs`, or `make docs`.

`docs/run-yaml.md` comes from the config models, `docs/commands.md` from the help of the commands. A test writes them
again and compares, so that neither page can grow old.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cluster.config import RunConfig
from cluster.config.deepspeed import ALIASES, PRESETS

ROOT = Path(__file__).resolve().parent.parent
HELP_WIDTH = 100

_WORDS = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", NoneType: ""}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def write_pages(root: Path = ROOT) -> list[Path]:
    """Write every generated page and return where they lie."""
    for name, page in PAGES.items():
        (root / name).write_text(page(), encoding="utf-8")
    return [root / name for name in PAGES]


# -- run.yaml -------------------------------------------------------------------------------------

_RUN_YAML = """\
# run.yaml

One file describes the whole life of a model. This page is written from the config models by `make docs`.

- Unknown keys are refused, with file, line and the nearest known key. `mobula check run.yaml` looks at everything without training.
- Any key can be overridden on the command line: `mobula train run.yaml train.learning_rate=2e-5`.
- A relative path in the file starts at the folder of the file; if nothing is there, at the current folder. A path in an
  override starts at the current folder, and so does `cluster.storage_path`.
- YAML is read by its 1.2 rules: `2e-5` is a number, `no` is text, a key given twice is refused.
- A section with a `kind` has alternatives, each with keys of its own.
- An empty default means: not set; the meaning says what happens then.
- `mobula schema > run.schema.json` writes the JSON Schema, from which editors complete keys.
"""


def run_yaml_page() -> str:
    """Every key of run.yaml: type, default, meaning."""
    top = {name: field for name, field in RunConfig.model_fields.items() if not models_in(field.annotation)}
    parts = [_RUN_YAML, _table(top, "")]
    for name, field in RunConfig.model_fields.items():
        if models_in(field.annotation):
            parts += _section(name, field, depth=2)
    return "\n".join([*parts, _presets()])


def keys_of() -> Iterator[str]:
    """Dotted names of all keys, those of every alternative included; of a model in several places those of its home."""
    yield from RunConfig.model_fields
    for model, home in _homes().items():
        yield from (f"{home}.{name}" for name in model.model_fields)


@functools.cache
def _homes() -> dict[type[BaseModel], str]:
    """The section in which the keys of a config model are written out: the outermost that holds it."""
    homes: dict[type[BaseModel], str] = {}
    sections: list[tuple[type[BaseModel], str]] = [(RunConfig, "")]
    while sections:
        inside = [
            (inner, f"{prefix}{name}")
            for model, prefix in sections
            for name, field in model.model_fields.items()
            for inner in models_in(field.annotation)
        ]
        sections = []
        for model, dotted in inside:
            if model not in homes:
                homes[model] = dotted
                sections.append((model, f"{dotted}."))
    return homes


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Config models that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inside = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return list(dict.fromkeys(model for one in inside for model in models_in(one)))


def _section(dotted: str, field: FieldInfo, depth: int) -> list[str]:
    """Heading, meaning and keys of a section, then of the sections inside it."""
    parts = [f"{'#' * depth} `{dotted}`\n", f"{_prose(field.description)}\n"]
    usual, models = _usual_kind(field), models_in(field.annotation)
    if _homes()[models[0]] != dotted:
        return [*parts, f"It has the keys of `{_homes()[models[0]]}`.\n"]
    inside: dict[str, FieldInfo] = {}
    for model in models:
        kind = _kind(model)
        if kind:
            note = "usual, so `kind` may be left out" if kind == usual else "alternative"
            parts.append(f"**`kind: {kind}`** ({note}). {_prose(model.__doc__)}\n")
        elif len(models) > 1:
            parts.append(f"{_prose(model.__doc__)}\n")
        parts.append(
            _table({name: inner for name, inner in model.model_fields.items() if name != "kind"}, f"{dotted}.")
        )
        inside |= {name: inner for name, inner in model.model_fields.items() if models_in(inner.annotation)}
        if kind:
            parts += _sections(dotted, inside, depth)
            inside = {}
    return parts + _sections(dotted, inside, depth)


def _sections(dotted: str, fields: dict[str, FieldInfo], depth: int) -> list[str]:
    return [part for name, field in fields.items() for part in _section(f"{dotted}.{name}", field, depth + 1)]


def _kind(model: type[BaseModel]) -> str | None:
    """What `kind:` says to choose this alternative; None for a section without alternatives."""
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def _usual_kind(field: FieldInfo) -> str | None:
    """The alternative that is meant without a `kind`: that of the default, else the first; in a list there is none."""
    if get_origin(field.annotation) in (list, dict):
        return None
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return _kind(models_in(field.annotation)[0] if default is None else type(default))


def _table(fields: dict[str, FieldInfo], prefix: str) -> str:
    if not fields:
        return "It has no other keys.\n"
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        cells = (f"`{prefix}{name}`", _type(field), _default(field), _prose(field.description))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _prose(text: str | None) -> str:
    """Source lines as one line. A field without words is a hole in the page, so it may not exist."""
    assert text, "every config model and field carries a docstring"
    return " ".join(text.split())


def _type(field: FieldInfo) -> str:
    models = models_in(field.annotation)
    if models:
        kinds = ", ".join(f"`{_kind(model)}`" for model in models if _kind(model))
        forms: dict[Any, str] = {list: "list of sections", dict: "names with a section each"}
        section = forms.get(get_origin(field.annotation), "section")
        section = "text, section, or list of these" if _may_be_text(field.annotation) else section
        return f"{section}, of `kind` {kinds}" if kinds else section
    bounds = [
        f"{words} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(limit, name)
    ]
    return ", ".join([_type_name(field.annotation), *bounds])


def _may_be_text(annotation: Any) -> bool:
    """Whether the short form of a section is a text."""
    inside = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return annotation is str or any(_may_be_text(one) for one in inside if get_origin(one) not in (list, dict))


def _type_name(annotation: Any) -> str:
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (Union, UnionType):
        return " or ".join(name for name in map(_type_name, inside) if name)
    if origin is list:
        return "list of texts"
    assert origin is dict, f"no words for the type {annotation!r}"
    return "keys with values"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{_kind(type(value))}`" if _kind(type(value)) else ""
    if value is None or value in ([], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _presets() -> str:
    """What the names that `train.deepspeed` takes stand for."""
    rows = ["| preset | ZeRO stage | on the CPU | also spelt |", "|---|---|---|---|"]
    for name, settings in PRESETS.items():
        zero = settings["zero_optimization"]
        parts = {"offload_optimizer": "optimizer", "offload_param": "parameters"}
        offloaded = " and ".join(words for key, words in parts.items() if key in zero)
        spelt = ", ".join(f"`{alias}`" for alias, meant in ALIASES.items() if meant == name)
        rows.append(f"| `{name}` | {zero['stage']} | {offloaded} | {spelt} |")
    return "## DeepSpeed presets\n\nFor `train.deepspeed`.\n\n" + "\n".join(rows) + "\n"


# -- commands -------------------------------------------------------------------------------------

_COMMANDS = """\
# Commands

This page is written from the commands' own help by `make docs`. After `make quickstart` or `make setup` the command is
`.venv/bin/mobula`.

Results go to stdout (with `--json`, one JSON document), progress to stderr. Exit status:

| status | means |
|---|---|
| 0 | the thing asked for exists and was read back |
| 1 | we failed; one line says what happened and names the file with the traceback (`MOBULA_DEBUG=1` prints it) |
| 2 | you can mend it: one sentence says what was found, what was expected and what to change |
| 3 | `mobula evaluate --suite`: a suite asks for more than the model gives |
| 4 | `mobula compare --gate`: inconclusive; there 1 says that a clause fails |
| 130 | interrupted |
"""


def commands_page() -> str:
    """Help of every command."""
    from cluster.cli import VERBS, cli

    root = click.Context(cli, info_name="mobula", terminal_width=HELP_WIDTH, **cli.context_settings)
    parts = [_COMMANDS, _help("mobula", cli, root)]
    for verb in VERBS:
        command = cli.get_command(root, verb)
        assert command is not None
        parts += _command(f"mobula {verb}", command, root)
    return "\n".join(parts)


def _command(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield _help(name, command, context)
    for inner in getattr(command, "commands", {}).values():
        yield from _command(f"{name} {inner.name}", inner, context)


def _help(name: str, command: click.Command, context: click.Context) -> str:
    return f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"


PAGES: dict[str, Callable[[], str]] = {"docs/run-yaml.md": run_yaml_page, "docs/commands.md": commands_page}
"""Path below the project -> what it holds."""


if __name__ == "__main__":
    write_pages()
