"""What `mobula serve` was given: a run's YAML, a run directory, a model folder or a registered version."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cluster.config import ClusterConfig, RunConfig, ServeConfig
from cluster.exceptions import ConfigError, ModelFolderError
from trainers.folder import ModelFolder

if TYPE_CHECKING:
    from cluster.runs import RunDirectory

SECTIONS: dict[str, type[ServeConfig] | type[ClusterConfig]] = {"serve": ServeConfig, "cluster": ClusterConfig}
"""What can be overridden when a folder is served; how it was trained is settled."""


@dataclass(frozen=True)
class Target:
    """A model to serve, under which name and how."""

    folder: ModelFolder
    name: str
    serve: ServeConfig = field(default_factory=ServeConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)


def resolve(text: str, overrides: Sequence[str] = (), storage_path: str = "runs") -> Target:
    """Find the model folder behind `text`.

    Args:
        text: path of a run.yaml, a run directory or a model folder, or `models:/name@alias`.
        overrides: `serve.port=8001` and the like.
        storage_path: where the registry lies.

    Raises:
        UserError: saying what was found there, and what to give instead.
    """
    from cluster.registry import Registry, is_reference

    if is_reference(text):
        version = Registry(storage_path).version(text)
        return _of_folder(version.folder, overrides, version.name)
    if text.endswith((".yaml", ".yml")):
        return _of_config(text, overrides)
    return _of_folder(text, overrides)


def _of_config(path: str, overrides: Sequence[str]) -> Target:
    from cluster.config.load import load_config
    from cluster.runs import RunDirectory

    config = load_config(path, overrides)
    try:
        run = RunDirectory.open(config, create=False)
    except FileNotFoundError:
        raise ModelFolderError(
            f"{path}: the run {config.name!r} was never started (nothing in {config.cluster.storage_path}/{config.name}); "
            f"run `mobula train {path}` first"
        ) from None
    model_path = _finished_model(run, f"`mobula train {path}`")
    return Target(_open(model_path), config.name, config.serve, config.cluster)


def _of_folder(text: str, overrides: Sequence[str], name: str | None = None) -> Target:
    from cluster.storage import Storage

    storage = Storage.open(text)
    if storage.exists("record.json") and storage.exists("run.yaml"):
        from cluster.runs import RunDirectory

        parent, _, run_name = storage.url.rstrip("/").rpartition("/")
        text = _finished_model(RunDirectory.find(parent, run_name), "`mobula train` with the run's config")
    folder = _open(text)
    config = folder.config
    serve, cluster = (_overridden(section, config, overrides) for section in SECTIONS)
    return Target(folder, name or (config.name if config else folder.path.absolute().name), serve, cluster)  # type: ignore[arg-type]


def _finished_model(run: "RunDirectory", how_to_finish: str) -> str:
    record = run.record()
    if record is None or record.state != "finished" or not record.model_path:
        state = "has no record" if record is None else f"is {record.state!r}"
        why = f" ({record.error})" if record is not None and record.error else ""
        raise ModelFolderError(
            f"{run.storage.url}: the run {state}{why}, so there is no model to serve; finish it with {how_to_finish}"
        )
    return record.model_path


def _open(path: str) -> ModelFolder:
    from cluster.storage import Storage

    storage = Storage.open(path)
    return ModelFolder.open(Path(path) if storage.is_local else storage.local_folder())


def _overridden(section: str, config: RunConfig | None, overrides: Sequence[str]) -> ServeConfig | ClusterConfig:
    from cluster.config.load import Source, nearest

    base = getattr(config, section) if config else SECTIONS[section]()
    source = Source(Path("overrides"), {section: base.model_dump(mode="json")}, {})
    for override in overrides:
        if override.partition(".")[0] not in SECTIONS:
            raise ConfigError(
                f"{override!r}: a model folder is served as it is; override serve.* or cluster.* keys only"
            )
        source.override(override)
    try:
        return SECTIONS[section].model_validate(source.values[section])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([section, *map(str, first["loc"])])
        guess = nearest(str(first["loc"][-1]), SECTIONS[section].model_fields)
        hint = f"unknown key; did you mean {guess}?" if guess else "unknown key"
        reason = hint if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"override {key}={first['input']!r}: {reason}") from error
