"""The rows behind a model: what it was trained, picked and tested on, streamed from where its run read them."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.config import Classification, RunConfig
from cluster.config.data import AnySource, Columns, DataConfig, FileSource
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.data.encode import parse_row
from trainers.data.formats import Limits
from trainers.data.record import INPUT_ROLES, Record
from trainers.data.shapes import LabelledText, to_row
from trainers.data.sources import Sources, Specs, locate
from trainers.data.staging import MANIFEST, StagedRows, fingerprint_of, is_held_out, locate_splits
from trainers.evaluation.confidence.scores import content_key
from trainers.evaluation.exchange import described
from trainers.evaluation.result import Prediction

RawRow = tuple[int, int, str]
MOST_HASHED = 500_000
"""Test rows that a calibrator's rows are held against."""


@dataclass(frozen=True)
class Texts:
    """Some rows of a split.

    Attributes:
        texts: what a model is given.
        labels: the class or the answer; None where there is none.
        places: file and line.
        total: rows that they were drawn from.
    """

    texts: list[str]
    labels: list[str | None]
    places: list[str]
    total: int

    def __len__(self) -> int:
        return len(self.texts)


def split_of(config: RunConfig, split: str) -> tuple[list[str | AnySource], float]:
    """Where the rows of a split lie, and which share of them is held out by `val_size` (1 where it is all).

    Rows that went through stages are those that the stages left, if they still lie in the run's storage.
    """
    staged = _staged(config)
    if staged is not None:
        return list(staged.files.get(split, [])), 1.0
    if split == "validation" and config.data.val_size:
        return list(config.data.sources("train")), config.data.val_size
    return list(config.data.sources(split)), 1.0


def _staged(config: RunConfig) -> StagedRows | None:
    if not config.data.is_staged:
        return None
    rows = Storage.open(config.cluster.storage_path).child(
        "data", "rows", fingerprint_of(config, locate_splits(config))
    )
    return StagedRows.open(rows.url) if rows.exists(MANIFEST) else None


def raw_rows(sources: Sources) -> Iterator[RawRow]:
    """File, position and JSON text of each row, streamed in this process."""
    for plan in sources.plans:
        yield from plan.rows()


@contextlib.contextmanager
def drawn_rows(
    specs: Specs, data: DataConfig, share: float, most: int, scratch: Storage
) -> Iterator[list[str | AnySource]]:
    """Sources with at most about so many rows of a split, drawn by their content.

    Where these are not all rows of their files, they are written to a folder of their own, which is removed afterwards.

    Args:
        share: rows that `val_size` holds out, or 1 for all.
        scratch: a place that every node sees.
    """
    sources = locate(specs, "validation", None if share == 1.0 else data.max_rows, Limits.of(data))
    number = sum(is_held_out(row, share) for _, _, row in raw_rows(sources))
    kept = share * min(1.0, most / max(number, 1))
    if kept == 1.0:
        yield [specs] if isinstance(specs, str) else list(specs)  # type: ignore[arg-type]
        return
    folder = scratch.child(f"calibration-{uuid.uuid4().hex[:8]}")
    try:
        yield list(_written(sources, kept, folder))
    finally:
        folder.delete()


def _written(sources: Sources, share: float, folder: Storage) -> Iterator[FileSource]:
    texts: dict[int, list[str]] = {}
    for file, _, row in raw_rows(sources):
        if is_held_out(row, share):
            texts.setdefault(file, []).append(row)
    for file, rows in texts.items():
        name = f"{file}.jsonl"
        folder.write_text(name, "".join(f"{row}\n" for row in rows))
        entry = sources.entries[file] if sources.entries else None
        shape, columns = (entry.shape, entry.columns) if entry is not None else (None, None)
        yield FileSource(path=folder.place(name), name=sources.files[file].name, shape=shape, columns=columns)


def sampled(config: RunConfig, split: str, most: int, seed: int = 0) -> Texts:
    """A fair sample of the rows of a split; only the rows drawn are parsed.

    Raises:
        DataError: if the files are gone or cannot be read.
    """
    specs, _ = split_of(config, split)
    held_out = config.data.val_size if split == "train" and not config.data.is_staged else 0.0
    sources = locate(specs, split, config.data.max_rows, Limits.of(config.data))
    learnt = (row for row in raw_rows(sources) if not held_out or not is_held_out(row[2], held_out))
    kept, total = _drawn(learnt, most, seed)
    return _parsed(sources, kept, config, total)


def _drawn(rows: Iterable[RawRow], most: int, seed: int) -> tuple[list[RawRow], int]:
    """At most so many rows, each as likely as any other, and how many there are (Vitter 1985, algorithm R)."""
    rng, total = np.random.default_rng(seed), 0
    kept: list[RawRow] = []
    for row in rows:
        total += 1
        if len(kept) < most:
            kept.append(row)
        elif (at := int(rng.integers(total))) < most:
            kept[at] = row
    return kept, total


def _parsed(sources: Sources, rows: Sequence[RawRow], config: RunConfig, total: int) -> Texts:
    classification = isinstance(config.train.objective, Classification)
    texts, labels, places = [], [], []
    for file, position, row in rows:
        try:
            parsed = parse_row(sources, (file, position), row, config.data, classification)
        except DataError:  # training rejected it or would have said so; here it is one row fewer
            continue
        record = Record(to_row(parsed.example))
        texts.append(record.text(INPUT_ROLES))
        labels.append(parsed.example.label if isinstance(parsed.example, LabelledText) else None)
        places.append(parsed.place or sources.where(file, position))
    return Texts(texts, labels, places, total)


def plain_texts(specs: Specs, config: DataConfig, most: int, seed: int = 0) -> list[str]:
    """The texts of rows that need no label; at most so many, drawn at random.

    Raises:
        DataError: with file and line, for rows that hold no text.
    """
    settings = config.model_copy(update={"shape": "auto", "columns": Columns(text=config.columns.text)})
    sources = locate(specs, "test", None, Limits.of(config))
    found = []
    for file, position, row in _drawn(raw_rows(sources), most, seed)[0]:
        example = parse_row(sources, (file, position), row, settings, to_learn=False).example
        found.append(Record(to_row(example)).text(INPUT_ROLES))
    return found


def test_keys(config: RunConfig) -> set[str]:
    """What the run's test rows ask, hashed; nothing where it has none or their files are gone."""
    specs, _ = split_of(config, "test")
    classification = isinstance(config.train.objective, Classification)
    found: set[str] = set()
    try:
        sources = locate(specs, "test", config.data.max_rows, Limits.of(config.data)) if specs else None
    except DataError:  # the files are gone: nothing to hold against
        return found
    for file, position, row in raw_rows(sources) if sources else ():
        if len(found) >= MOST_HASHED:
            break
        try:
            parsed = parse_row(sources, (file, position), row, config.data, classification, to_learn=False)  # type: ignore[arg-type]
        except DataError:
            continue
        found.add(content_key(described(Prediction("", None, None), parsed, "")))
    return found
