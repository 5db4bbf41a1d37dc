"""Reads `run.yaml` so that every mistake is named by file, line and key. Imports neither torch nor ray.

YAML is read by the 1.2 core rules: `2e-5` is a number, `no` and `2026-01-01` are text. A key given twice
is refused. Overrides from the command line (`train.learning_rate=2e-5`) are read by the same rules.
"""

import copy
import difflib
import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from cluster.config.base import Config
from cluster.config.gate import GateConfig
from cluster.config.run import RunConfig
from cluster.exceptions import ConfigError

Key = str | int
Path_ = tuple[Key, ...]

_MOST_PROBLEMS = 5
_PATHS = (
    ("data", "train"),
    ("data", "validation"),
    ("data", "test"),
    ("model", "name_or_path"),
    ("model", "chat_template"),
    ("train", "deepspeed"),
    ("gate", "reference"),
    ("evaluate", "calibration", "data"),
    ("evaluate", "calibration", "ood_data"),
)
"""Keys that may hold a path; relative ones start at the folder of the file that names them."""
_STAGE_PATHS = frozenset(("table", "thesaurus", "sentences", "model", "classifier", "words_file", "spacy_model"))
"""The same inside `data.stages`, at any depth."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run.yaml and apply overrides; ConfigError names the place of whatever is wrong."""
    source = Source.read(Path(path))
    for override in overrides:
        source.override(override)
    source.anchor_paths()
    return source.validated()


def load_variants(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, list[RunConfig]]:
    """The trainings that `compare.variants` of a run.yaml describes: for each variant one config a seed.

    Overrides hold for all of them, unless the variant says otherwise. Runs are named `<name>-<variant>`, and with several
    seeds `<name>-<variant>-seed<seed>`.
    """
    compare = load_config(path, overrides).compare
    return {
        variant: [_variant(Path(path), overrides, variant, offset) for offset in range(compare.seeds)]
        for variant in compare.variants
    }


def _variant(path: Path, overrides: Sequence[str], variant: str, offset: int) -> RunConfig:
    source = Source.read(path)
    for override in overrides:
        source.override(override)
    compare = source.values["compare"]
    key = ("compare", "variants", variant)
    source.change((), compare["variants"][variant] or {}, source.places.get(key, f"{path}:1"))
    source.anchor_paths()
    config = source.validated()
    values = config.model_dump()
    suffix = f"-seed{config.train.seed + offset}" if config.compare.seeds > 1 else ""
    values["name"] = f"{config.name}-{variant}{suffix}"
    for section in ("train", "data"):
        values[section]["seed"] += offset
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source.places.get(key, path)}: compare.variants.{variant}: {reason}") from error


def load_gate(path: str | Path) -> GateConfig:
    """The `gate:` section of a file: of a run.yaml, or a file that holds nothing else, with or without the word `gate:`."""
    source = Source.read(Path(path))
    if "gate" not in source.values:
        source.values = {"gate": source.values}
        source.places = {(): f"{path}:1", **{("gate", *keys): place for keys, place in source.places.items()}}
    source.anchor_paths()
    try:
        return _GateFile.model_validate({"gate": source.values["gate"]}).gate
    except ValidationError as error:
        raise ConfigError("\n".join(_Problems(source, error).sentences())) from error


class _GateFile(Config):
    """What is read of a file that is asked for its gate."""

    gate: GateConfig


def dump_config(config: RunConfig) -> str:
    """The config as YAML with every default written out; `load_config` reads it back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one most likely means."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


class Source:
    """The raw values of a run.yaml, and for each key where it was written."""

    def __init__(self, path: Path, values: dict[str, Any], places: dict[Path_, str]) -> None:
        self.path = path
        self.values = values
        self.places = places
        self._typed: set[Path_] = set()

    @classmethod
    def read(cls, path: Path) -> "Source":
        """Parse the file; what is not a mapping of sections is refused in one sentence."""
        text = _text(path)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            places: dict[Path_, str] = {(): f"{path}:1"}
            if not isinstance(node, yaml.MappingNode):
                raise _not_a_mapping(path, node)
            _record_places(loader, node, path, (), places)
            values = loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            raise _syntax_error(path, error) from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: is not YAML ({error}); save it as UTF-8 text") from error
        finally:
            loader.dispose()
        return cls(path, values, places)

    def override(self, text: str) -> None:
        """Set one key from `section.key=value`."""
        key, equals, raw = text.partition("=")
        keys = key.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"{text!r}: an override looks like section.key=value, such as train.learning_rate=2e-5")
        self._set(keys, _scalar(text, raw), f"override {text!r}")
        self._typed.add(tuple(keys))

    def change(self, keys: Sequence[str], value: Any, place: str) -> None:
        """Set one key, or each key of a section without a `kind`, leaving the others of that section as they are."""
        if isinstance(value, dict) and "kind" not in value:
            for name, inner in value.items():
                self.change([*keys, *str(name).split(".")], inner, place)
        else:
            self._set(keys, copy.deepcopy(value), place)

    def _set(self, keys: Sequence[str], value: Any, place: str) -> None:
        section = self.values
        for depth, part in enumerate(keys[:-1], start=1):
            inner = section.get(part)
            if inner is None:
                inner = section[part] = {}
            if not isinstance(inner, dict):
                outer = ".".join(keys[:depth])
                raise ConfigError(
                    f"{place}: {outer} holds {inner!r}, which has no keys inside; override {outer} as a whole"
                )
            section = inner
        section[keys[-1]] = value
        self.places[tuple(keys)] = place

    def anchor_paths(self) -> None:
        """Make paths absolute: from the file's folder, or from where the user is when typed as an override."""
        for keys in _PATHS:
            section: Any = self.values
            for key in keys[:-1]:
                section = section.get(key) if isinstance(section, dict) else None
            if not isinstance(section, dict) or keys[-1] not in section:
                continue
            bases = self._bases(keys)
            value = section[keys[-1]]
            if isinstance(value, list):
                section[keys[-1]] = [_anchored_entry(one, bases) for one in value]
            else:
                section[keys[-1]] = _anchored_entry(value, bases)
        data = self.values.get("data")
        if isinstance(data, dict):
            _anchor_stages(data.get("stages"), self._bases(("data", "stages")))

    def _bases(self, keys: Path_) -> list[Path]:
        """Folders at which a relative path in a key may start."""
        return [Path.cwd()] if keys in self._typed else [self.path.resolve().parent, Path.cwd()]

    def validated(self) -> RunConfig:
        """The config, or every problem with its place."""
        try:
            config = RunConfig.model_validate(self.values)
        except ValidationError as error:
            raise ConfigError("\n".join(_Problems(self, error).sentences())) from error
        storage = config.cluster.storage_path
        if "://" in storage:
            return config
        absolute = os.path.abspath(os.path.expanduser(storage))
        return config.model_copy(update={"cluster": config.cluster.model_copy(update={"storage_path": absolute})})


# -- YAML -----------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """SafeLoader with the plain scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 16) if text.startswith("0x") else int(text)  # YAML 1.1 would read 010 as 8


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def _text(path: Path) -> str:
    if path.is_dir():
        raise ConfigError(
            f"{path}: is a folder, expected a YAML file; name the file inside it, such as {path}/run.yaml"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; `mobula init` writes one to start from") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8, expected a text file in YAML") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if not text.strip():
        raise ConfigError(f"{path}: is empty, expected at least name, model and data; `mobula init` writes an example")
    return text


def _not_a_mapping(path: Path, node: yaml.Node | None) -> ConfigError:
    if node is None:
        return ConfigError(f"{path}: holds only comments, expected at least name, model and data")
    kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
    return ConfigError(
        f"{path}:{node.start_mark.line + 1}: holds {kind}, expected sections such as `model:` and `data:`"
    )


def _syntax_error(path: Path, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line = f":{mark.line + 1}" if mark else ""
    context = f" {error.context}" if error.context else ""
    hint = (
        "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else "; check indentation, quotes and colons"
    )
    return ConfigError(f"{path}{line}: is not valid YAML ({error.problem}{context}){hint}")


def _record_places(loader: _Loader, node: yaml.Node, path: Path, keys: Path_, places: dict[Path_, str]) -> None:
    """Remember the line of every key, and refuse a key that is given twice."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            places[(*keys, index)] = f"{path}:{item.start_mark.line + 1}"
            _record_places(loader, item, path, (*keys, index), places)
    if not isinstance(node, yaml.MappingNode):
        return
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{path}:{key_node.start_mark.line + 1}: a key must be a single word")
        line = key_node.start_mark.line + 1
        name = key_node.value
        if name in first_lines:
            dotted = ".".join(str(key) for key in (*keys, name))
            raise ConfigError(
                f"{path}:{line}: {dotted}: given a second time (first in line {first_lines[name]}); keep one of the two"
            )
        first_lines[name] = line
        places[(*keys, name)] = f"{path}:{line}"
        _record_places(loader, value_node, path, (*keys, name), places)


def _scalar(override: str, raw: str) -> Any:
    try:
        return yaml.load(raw, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the part after = is not valid YAML; put it in quotes") from error


def _anchored_entry(value: Any, bases: list[Path]) -> Any:
    """A path, or a section with one under `path`; behind the path may stand `:split` or `:name`."""
    if isinstance(value, dict):
        return {**value, "path": _anchored_entry(value["path"], bases)} if "path" in value else value
    anchored = _anchored(value, bases)
    if anchored != value or not isinstance(value, str) or "://" in value:
        return anchored
    path, colon, inside = value.rpartition(":")
    return f"{_anchored(path, bases)}{colon}{inside}"


def _anchored(value: Any, bases: list[Path]) -> Any:
    """The absolute path of what exists at a relative one; anything else (Hub ids, URLs, templates) stays as it is."""
    if not isinstance(value, str) or not value or "://" in value or "\n" in value or len(value) > 1024:
        return value
    expanded = os.path.expanduser(value)
    for base in bases:
        candidate = os.path.normpath(base / expanded)
        if os.path.exists(candidate) or (glob.has_magic(expanded) and glob.glob(candidate, recursive=True)):
            return candidate
    return value


def _anchor_stages(stages: Any, bases: list[Path]) -> None:
    for stage in stages if isinstance(stages, list) else [stages]:
        for name, value in stage.items() if isinstance(stage, dict) else ():
            if name in _STAGE_PATHS:
                stage[name] = _anchored(value, bases)
            else:
                _anchor_stages(value, bases)


# -- problems -------------------------------------------------------------------------------------


class _Problems:
    """Turns pydantic's errors into sentences in the words of the file."""

    def __init__(self, source: Source, error: ValidationError) -> None:
        self.source = source
        self.errors = error.errors(include_url=False)

    def sentences(self) -> list[str]:
        """One sentence per key that is wrong."""
        by_key: dict[Path_, list[Any]] = {}
        for error in self.errors:
            by_key.setdefault(self._key(error), []).append(error)
        written = list(self.source.places.values())
        in_order = sorted(by_key, key=lambda key: written.index(self._place(key)))
        found = [self._sentence(key, by_key[key]) for key in in_order]
        more = len(found) - _MOST_PROBLEMS
        return found[:_MOST_PROBLEMS] + ([f"... and {more} more"] if more > 0 else [])

    def _key(self, error: Any) -> Path_:
        """The path as written in the file: pydantic's location without the names of union members."""
        here: Any = self.source.values
        keys: list[Key] = []
        for part in error["loc"]:
            if (isinstance(here, dict) and part in here) or (
                isinstance(here, list) and isinstance(part, int) and part < len(here)
            ):
                here = here[part]
                keys.append(part)
        if error["type"] == "missing":
            keys.append(error["loc"][-1])
        if error["type"] == "union_tag_invalid":
            keys.append("kind")
        return tuple(keys)

    def _sentence(self, key: Path_, errors: list[Any]) -> str:
        error = errors[0]
        dotted = ".".join(str(part) for part in key)
        if error["type"] == "extra_forbidden":
            return f"{self._place(key)}: {dotted}: {self._unknown(key, error['loc'])}"
        if error["type"] == "missing":
            return f"{self._place(key)}: {dotted}: is missing; {self._how_to_add(key)}"
        if error["type"] == "value_error":
            return f"{self._place_of_claim(key, error['msg'])}: {error['msg'].removeprefix('Value error, ')}"
        expected = " or ".join(dict.fromkeys(_expectation(one) for one in errors))
        found = "nothing" if error["input"] is None else repr(error.get("ctx", {}).get("tag", error["input"]))
        return f"{self._place(key)}: {dotted}: found {_shortened(found)}, expected {expected}{self._hint(error)}"

    def _place(self, key: Path_) -> str:
        """Where a key was written, or else the nearest section around it."""
        while key not in self.source.places:
            key = key[:-1]
        return self.source.places[key]

    def _place_of_claim(self, key: Path_, message: str) -> str:
        """A relation between keys is reported for a section; point at the first key that the message names."""
        for word in re.findall(r"[a-z_][a-z0-9_.]*", message):
            for candidate in ((*key, *word.split(".")), tuple(word.split("."))):
                if candidate in self.source.places:
                    return self.source.places[candidate]
        return self._place(key)

    def _unknown(self, key: Path_, location: tuple[Key, ...]) -> str:
        name = str(key[-1])
        known = _known_keys(location[:-1])
        guess = nearest(name, known)
        if guess:
            return f"unknown key; did you mean {guess}?"
        sibling = _kind_that_has(name, location)
        if sibling:
            return f"unknown key for kind {location[-2]}; it is one of kind {sibling}: write `kind: {sibling}` or remove it"
        home = _home_of(name)
        if home and home != key[0]:
            return f"unknown key here; it belongs in `{home}:`"
        return f"unknown key; expected one of {', '.join(known)}"

    def _how_to_add(self, key: Path_) -> str:
        examples = {
            "name": "name: my-run",
            "model": "model: {name_or_path: Qwen/Qwen3-0.6B}",
            "data": "data: {train: train.jsonl}",
            "name_or_path": "name_or_path: Qwen/Qwen3-0.6B",
            "train": "train: train.jsonl",
        }
        last = str(key[-1])
        section = f" to `{'.'.join(str(part) for part in key[:-1])}:`" if len(key) > 1 else ""
        return f"add `{examples.get(last, f'{last}: ...')}`{section}"

    def _hint(self, error: Any) -> str:
        allowed = re.findall(r"'([^']+)'", error.get("ctx", {}).get("expected_tags") or error["msg"])
        guess = nearest(str(error.get("ctx", {}).get("tag", error["input"])), allowed)
        if guess:
            return f"; did you mean {guess}?"
        if error["type"] == "string_type" and isinstance(error["input"], int | float):
            return f"; put it in quotes: '{error['input']}'"
        default = _default_of(error["loc"])
        return f"; the default is {default!r}" if isinstance(default, int | float | str) else ""


def _expectation(error: Any) -> str:
    kind, message = error["type"], str(error["msg"])
    context = error.get("ctx", {})
    if kind == "union_tag_invalid":
        return f"one of {context['expected_tags']}"
    if kind in ("model_type", "model_attributes_type", "dict_type", "union_tag_not_found"):
        return "keys with values, indented below it"
    for prefix in ("Input should be ", "Value error, "):
        message = message.removeprefix(prefix)
    message = message.partition(", unable to")[0]
    words = {"a valid integer": "a whole number", "a valid string": "text", "a valid boolean": "true or false"}
    return words.get(message, message).replace("a valid ", "a ").replace("greater", "a value greater", 1)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


# -- what the config models know ------------------------------------------------------------------


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Config classes that a field's annotation allows."""
    if get_origin(annotation) is Annotated:
        return _models_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType, list):
        return [model for one in get_args(annotation) for model in _models_in(one)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _models_at(location: tuple[Key, ...]) -> list[type[BaseModel]]:
    """Config classes at a location of pydantic's, where a part is a field or the `kind` of a union."""
    models: list[type[BaseModel]] = [RunConfig]
    for part in location:
        of_kind = [
            model for model in models if "kind" in model.model_fields and model.model_fields["kind"].default == part
        ]
        inner = [
            found
            for model in models
            if part in model.model_fields
            for found in _models_in(model.model_fields[str(part)].annotation)
        ]
        models = of_kind or inner or models  # a number in a list, or a name that only pydantic gives
    return models


def _known_keys(location: tuple[Key, ...]) -> list[str]:
    return list(dict.fromkeys(name for model in _models_at(location) for name in model.model_fields))


def _default_of(location: tuple[Key, ...]) -> Any:
    for depth in range(len(location), 0, -1):  # the last parts may be the names of union members
        for model in _models_at(location[: depth - 1]):
            field = model.model_fields.get(str(location[depth - 1]))
            if field is not None:
                return None if field.is_required() else field.default
    return None


def _kind_that_has(name: str, location: tuple[Key, ...]) -> str | None:
    """Another variant of a union that has the key which this one lacks."""
    for model in _models_at(location[:-2]):
        if name in model.model_fields and "kind" in model.model_fields:
            return str(model.model_fields["kind"].default)
    return None


def _home_of(name: str) -> str | None:
    """The section that has a key which was written elsewhere."""
    for section, field in RunConfig.model_fields.items():
        if any(name in model.model_fields for model in _models_in(field.annotation)):
            return section
    return None
