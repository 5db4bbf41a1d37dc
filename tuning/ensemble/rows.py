"""The rows that members are chosen and weighed on, and those that they are tested on."""

from __future__ import annotations

from cluster.config import RunConfig
from cluster.config.data import AnySource, FileSource, as_sources
from cluster.exceptions import ConfigError
from cluster.storage import Storage
from trainers.data.formats import Limits
from trainers.data.sources import locate
from trainers.data.staging import is_held_out
from trainers.evaluation.confidence.rows_of_run import raw_rows, split_of

Specs = list[str | AnySource]


def validation_rows(config: RunConfig, storage: Storage) -> Specs:
    """Rows to choose on: `ensemble.validation`, else the run's.

    Args:
        storage: the ensemble's folder; rows that `data.val_size` holds out are written there.

    Raises:
        ConfigError: if there are none.
    """
    settings = config.ensemble
    if settings is not None and settings.validation is not None:
        return list(as_sources(settings.validation))
    specs, share = split_of(config, "validation")
    if not specs:
        raise ConfigError(
            "found no validation rows, and members are chosen and weighed on nothing else; set data.validation, "
            "data.val_size or ensemble.validation (--validation)"
        )
    return specs if share == 1.0 else list(held_out(config, specs, share, storage.child("validation"), inside=True))


def training_rows(config: RunConfig, storage: Storage) -> Specs:
    """What the run learns from."""
    specs, _ = split_of(config, "train")
    if config.data.is_staged or not config.data.val_size:
        return specs
    return list(held_out(config, specs, config.data.val_size, storage.child("train"), inside=False))


def test_rows(config: RunConfig) -> Specs:
    """What nothing is chosen on; empty where the file names none."""
    return split_of(config, "test")[0]


def held_out(config: RunConfig, specs: Specs, share: float, storage: Storage, *, inside: bool) -> list[FileSource]:
    """The rows that `data.val_size` holds out (or leaves in), written to files of their own, always the same way."""
    sources = locate(specs, "train", config.data.max_rows, Limits.of(config.data))
    texts: dict[int, list[str]] = {}
    for file, _, row in raw_rows(sources):
        if is_held_out(row, share) == inside:
            texts.setdefault(file, []).append(row)
    made = []
    for file, rows in texts.items():
        name = f"{file}.jsonl"
        storage.write_text(name, "".join(f"{row}\n" for row in rows))
        entry = sources.entries[file] if sources.entries else None
        shape, columns = (entry.shape, entry.columns) if entry is not None else (None, None)
        made.append(FileSource(path=storage.place(name), name=sources.files[file].name, shape=shape, columns=columns))
    return made
