"""Rows through the stages of `data.stages`: read, stage by stage, written as Parquet. The first half of preparing data.

    data/rows/<fingerprint>/
        part-<attempt>/<split>/*.parquet   rows that go on to be tokenised, with what is known of each
        rejected.parquet changed.parquet   rows left out, with the reason; a sample of the rows that a stage changed
        manifest.json                      written last: files, counts of every stage

The fingerprint knows nothing of tokenizers or models, so that runs which only train differently share the rows.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import logging
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cluster import exceptions
from cluster.config import Classification, RunConfig
from cluster.config.stages import StageConfig
from cluster.exceptions import DataError, UserError
from cluster.storage import Storage
from trainers.data.encode import parse_row
from trainers.data.formats import Limits, fault_of
from trainers.data.ray_data import quiet_context, rows_of
from trainers.data.record import Record, failure, from_table, schema, to_json, to_table
from trainers.data.shapes import to_row
from trainers.data.sources import Sources, locate, read
from trainers.data.stages import DatasetStage, RowStage, StageContext, build_stage, stage_class
from trainers.data.stages.mix import Mix, mixed_sources

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

logger = logging.getLogger(__name__)

VERSION = 1
MANIFEST = "manifest.json"
REJECTED = "rejected.parquet"
CHANGED = "changed.parquet"
ROWS_PER_FILE = 4096
BLOCK_BYTES = 4 << 20
CHANGES_KEPT = 5
"""Changed rows of each stage kept from every file, to be read by people."""

Counts = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StagedRows:
    """Rows after the stages.

    Attributes:
        url: their folder.
        fingerprint: of inputs, stages and their versions.
        files: Parquet files of each split, in order.
        report: rows read; for each split its rows; for each stage what it rejected, changed and added.
        inputs: name, size in bytes and hash of every file that was read, by split.
    """

    url: str
    fingerprint: str
    files: dict[str, list[str]]
    report: Counts
    inputs: dict[str, list[Counts]]

    @classmethod
    def open(cls, url: str) -> StagedRows:
        """Rows from their folder; FileNotFoundError if it is not complete."""
        storage = Storage.open(url)
        manifest = storage.read_json(MANIFEST)
        files = {split: [storage.place(name) for name in names] for split, names in manifest["files"].items()}
        return cls(storage.url, manifest["fingerprint"], files, manifest["report"], manifest["inputs"])

    def records(self, split: str) -> Iterator[Record]:
        """The rows of a split, streamed in this process."""
        for url in self.files.get(split, []):
            yield from _read_records(url)

    def rejected(self) -> Iterator[Record]:
        """The rows that were left out, streamed in this process."""
        return _read_records(Storage.open(self.url).place(REJECTED))

    def changed(self) -> Iterator[Record]:
        """A sample of the rows that stages changed, each with what it was before."""
        return _read_records(Storage.open(self.url).place(CHANGED))


def _read_records(url: str) -> Iterator[Record]:
    from pyarrow import parquet

    folder, _, name = url.rpartition("/")
    with parquet.ParquetFile(Storage.open(folder).open_input(name)) as file:
        for batch in file.iter_batches(batch_size=1024):
            import pyarrow as pa

            yield from from_table(pa.Table.from_batches([batch]))


def stage_rows(config: RunConfig, storage: Storage, *, to_learn: bool = False) -> StagedRows:
    """Take the rows of a run through its stages, or find them as an earlier run left them.

    Args:
        storage: folder of all prepared data; the rows get a folder below `rows/`, named by their fingerprint. Ray must
            be initialised.
        to_learn: refuse at once what no objective learns from; otherwise such rows are staged to be looked at.

    Raises:
        DataError: with file and line, for a row that cannot be used; or if no training row is left.
    """
    sources = locate_splits(config)
    fingerprint = fingerprint_of(config, sources)
    target = storage.child("rows", fingerprint)
    if not target.exists(MANIFEST):
        _Staging(config, target, fingerprint, to_learn).run(sources)
    return StagedRows.open(target.url)


def locate_splits(config: RunConfig) -> dict[str, Sources]:
    """The files behind `data.train`, `data.validation` and `data.test`."""
    data = config.data
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    limits = Limits.of(data)
    return {split: locate(specs, split, data.max_rows, limits) for split, specs in named.items() if specs is not None}


def file_stamps(sources: dict[str, Sources]) -> dict[str, Any]:
    """What changes when the content of an input does, for fingerprints."""
    return {
        split: [(file.format, file.split, file.subset, file.size, file.stamp) for file in found.files]
        + [entry.model_dump(mode="json", exclude={"path", "sql", "url_variable"}) for entry in found.entries]
        for split, found in sources.items()
    }


def describe_inputs(sources: dict[str, Sources]) -> dict[str, list[dict[str, Any]]]:
    """Name, size and hash of every input file, for the lineage of what is made of them."""
    return {
        split: [{"name": file.name, "bytes": file.size, "hash": file.stamp} for file in found.files]
        for split, found in sources.items()
    }


def fingerprint_of(config: RunConfig, sources: dict[str, Sources]) -> str:
    """Hash of everything that decides what the rows are."""
    data = config.data
    settings = data.model_dump(mode="json", include={"shape", "columns", "system", "max_rows", "val_size", "seed"})
    stages = [
        (stage.model_dump(mode="json"), stage_class(stage.kind).version, stage_class(stage.kind).inputs(stage))
        for stage in data.stages
    ]
    mix = data.mix and [data.mix.model_dump(mode="json"), Mix.version]
    inputs = [VERSION, settings, file_stamps(sources), stages, config.train.objective.kind, mix]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]


def is_held_out(row: str, share: float) -> bool:
    """Whether `val_size` puts a row into the validation split: by its content, so that equal rows stay together."""
    digest = hashlib.blake2b(row.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


class _Staging:
    """One attempt to take rows through the stages. Several may run at once; the first to write the manifest wins."""

    def __init__(self, config: RunConfig, storage: Storage, fingerprint: str, to_learn: bool = False) -> None:
        self.config, self.storage, self.fingerprint = config, storage, fingerprint
        self.to_learn = to_learn and config.data.on_error == "fail"  # what is rejected may not depend on who asks
        self.classification = isinstance(config.train.objective, Classification)
        self.attempt = f"part-{uuid.uuid4().hex[:8]}"
        self.mix_counts: list[Counts] = []

    def run(self, sources: dict[str, Sources]) -> None:
        ours = self.storage.child(self.attempt)
        try:
            with quiet_context(max_block_bytes=BLOCK_BYTES):
                dataset = self._through_stages(self._mixed(self._read(sources), sources["train"]))
                sink = WriteRows(ours)
                results = dataset.map_batches(
                    sink, batch_size=ROWS_PER_FILE, batch_format="pyarrow", zero_copy_batch=True
                )
            outcome = _Outcome()
            for result in _stats_of(results):
                outcome.add(result)
            self._check(outcome, sources)
            self._write(outcome, describe_inputs(sources))
        except BaseException:
            ours.delete()
            raise
        finally:
            ours.child("scratch").delete()

    def _read(self, sources: dict[str, Sources]) -> ray.data.Dataset:
        """Every row of every split as a record."""
        datasets = [
            read(found).map_batches(
                Ingest(split, found, self.config, self.classification, self.to_learn),
                batch_size=1024,
                batch_format="pyarrow",
                zero_copy_batch=True,
            )
            for split, found in sources.items()
        ]
        return datasets[0].union(*datasets[1:]) if len(datasets) > 1 else datasets[0]

    def _mixed(self, dataset: ray.data.Dataset, sources: Sources) -> ray.data.Dataset:
        """The rows with those of the training sources drawn by weight, where the settings say so."""
        config = self.config.data.mix
        if config is None:
            return dataset
        scratch = self.storage.child(self.attempt, "scratch", config.name)
        context = StageContext(self.config.data.seed, self.classification, scratch=scratch)
        stage = Mix(config, context, mixed_sources(sources))
        dataset = stage.apply(dataset)
        self.mix_counts = stage.counts
        return dataset

    def _through_stages(self, dataset: ray.data.Dataset) -> ray.data.Dataset:
        """Neighbouring stages that look at single rows share one pass."""
        waiting: list[tuple[StageConfig, StageContext]] = []
        for number, config in enumerate(self.config.data.stages):
            context = StageContext(
                seed=self.config.data.seed,
                classification=self.classification,
                number=number,
                scratch=self.storage.child(self.attempt, "scratch", str(number)),
            )
            if issubclass(stage_class(config.kind), RowStage):
                waiting.append((config, context))
                continue
            dataset, waiting = _map_rows(dataset, waiting), []
            stage = build_stage(config, context)
            assert isinstance(stage, DatasetStage)
            dataset = stage.apply(dataset)
        return _map_rows(dataset, waiting)

    def _check(self, outcome: _Outcome, sources: dict[str, Sources]) -> None:
        if outcome.rows_of_split["train"]:
            return
        names = ", ".join(dict.fromkeys(file.source for file in sources["train"].files))
        reasons = collections.Counter({f"{stage}: {why}": n for (stage, why), n in outcome.reasons.items()})
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3)) or "there were none"
        raise DataError(f"{names}: no training row is left of {outcome.rows_read} read ({told}); change data.stages")

    def _write(self, outcome: _Outcome, inputs: Counts) -> None:
        ours = self.storage.child(self.attempt)
        for name in (REJECTED, CHANGED):
            _concatenate(ours, outcome.side_files[name], self.storage, name)
        if self.storage.exists(MANIFEST):  # another run staged the same meanwhile
            ours.delete()
            return
        files = {split: [f"{self.attempt}/{name}" for name in names] for split, names in outcome.files_of_split.items()}
        data = self.config.data
        names = [stage.name for stage in ([data.mix] if data.mix else []) + data.stages]
        manifest = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "files": files,
            "inputs": inputs,
            "report": outcome.report(names) | ({"mix": self.mix_counts} if data.mix else {}),
        }
        self.storage.write_json(MANIFEST, manifest)


def _stats_of(dataset: ray.data.Dataset) -> Iterator[Counts]:
    """What became of each block; a user's mistake comes out as itself."""
    for row in rows_of(dataset):
        stats = json.loads(row["stats"])
        if "error" in stats:
            raise getattr(exceptions, stats["error"])(stats["message"])
        yield stats


@dataclasses.dataclass(frozen=True)
class Ingest:
    """Rows as they were read -> records in canonical form. Runs inside the tasks of Ray Data."""

    split: str
    sources: Sources
    config: RunConfig
    classification: bool
    to_learn: bool = False

    def __call__(self, block: pa.Table) -> pa.Table:
        columns = (block[name].to_pylist() for name in ("file", "position", "row"))
        try:
            records = [self.record((file, position), row) for file, position, row in zip(*columns, strict=True)]
        except UserError as error:
            records = [failure(error)]
        return to_table(records)

    def record(self, place: tuple[int, int], text: str) -> Record:
        """One row, given as JSON text, in canonical form; rejected where it cannot be used and `on_error` says so."""
        data = self.config.data
        record = Record({}, self.split, order=place)
        try:
            parsed = parse_row(self.sources, place, text, data, self.classification, to_learn=self.to_learn)
        except DataError as error:
            if data.on_error == "fail":
                raise
            _, shown = fault_of(text) or ("", text[:10_000])
            record.row, record.rejected = {"text": shown}, f"read: {error}"
            record.place = self.sources.where(*place)
            return record
        record.row, record.columns = to_row(parsed.example), parsed.columns
        record.place = parsed.place or self.sources.where(*place)
        if self.split == "train" and data.val_size and is_held_out(text, data.val_size):
            record.split = "validation"
        return record


def _map_rows(dataset: ray.data.Dataset, stages: list[tuple[StageConfig, StageContext]]) -> ray.data.Dataset:
    if not stages:
        return dataset
    size = min(stage_class(config.kind).batch_size for config, _ in stages)  # type: ignore[union-attr]
    run = RunRowStages(tuple(stages), tuple(sys.path))
    return dataset.map_batches(run, batch_size=size, batch_format="pyarrow", zero_copy_batch=True)


@dataclasses.dataclass(frozen=True)
class _Keyed:
    """A config that may hold dicts, as part of a cache key."""

    config: StageConfig

    def __hash__(self) -> int:
        return hash(self.config.model_dump_json())


@functools.lru_cache(maxsize=16)
def _stage_of_process(keyed: _Keyed, context: StageContext) -> RowStage[Any]:
    """A stage, built once in each process: it may load a model."""
    return build_stage(keyed.config, context)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class RunRowStages:
    """Some row stages, one after the other, over a block of records. Runs inside the tasks of Ray Data."""

    stages: tuple[tuple[StageConfig, StageContext], ...]
    search_path: tuple[str, ...] = ()
    """Where the driver imports from: a user's own stage may lie beside the file that names it."""

    def __call__(self, block: pa.Table) -> pa.Table:
        sys.path += [entry for entry in self.search_path if entry not in sys.path]
        records = from_table(block)
        try:
            for config, context in self.stages:
                stage = _stage_of_process(_Keyed(config), context)
                records = run_stage(stage, records)
        except UserError as error:
            records = [failure(error)]
        return to_table(records)


def run_stage(stage: RowStage[Any], records: Sequence[Record]) -> list[Record]:
    """One stage over some records: those it looks at are handed to it, and what it did is written onto them.

    Raises:
        DataError: names the row, if the stage raised on it and `on_error` is `fail`.
    """
    config = stage.config
    found: list[Record] = []
    mine = [one for one in records if one.rejected is None and one.split in config.splits]
    before = {id(one): to_json(one.row) for one in mine}
    made = _call(stage, mine, before)
    assert {id(one) for one in mine} <= {id(one) for one in made}, f"stage {config.name} lost rows"
    new: dict[str, list[Record]] = collections.defaultdict(list)
    for one in made:
        if id(one) in before:
            one.note_change(config.name, before[id(one)])
        else:
            one.changes = [config.name]
            new[one.origin or ""].append(one)
    for one in records:
        found.append(one)
        if id(one) in before:
            found += new.pop(one.origin or one.place, [])
    return found + [one for rest in new.values() for one in rest]


def _call(stage: RowStage[Any], records: list[Record], before: dict[int, str]) -> list[Record]:
    """The stage over all records at once; if that raises, one by one, to know which it was."""
    try:
        return stage(records)
    except UserError:
        raise
    except Exception:  # whatever a stage raises on a row; it is raised again below, by name, or kept as the reason
        made: list[Record] = []
        for record in records:
            record.row, record.rejected = json.loads(before[id(record)]), None
            made += _call_one(stage, record)
        return made


def _call_one(stage: RowStage[Any], record: Record) -> list[Record]:
    try:
        return stage([record])
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if stage.config.on_error == "fail":
            raise DataError(
                f"{record.place}: the stage {stage.config.name} raised {said}; mend it, or set on_error: reject to leave such rows out"
            ) from error
        record.reject(f"raised {type(error).__name__} ({error})")
        return [record]


@dataclasses.dataclass(frozen=True)
class WriteRows:
    """Writes a block of records to files by split, and what became of it as one row. Runs inside the tasks of Ray Data."""

    storage: Storage

    def __call__(self, block: pa.Table) -> dict[str, list[str]]:
        return {"stats": [json.dumps(self._process(block))]}

    def _process(self, block: pa.Table) -> Counts:
        records = from_table(block)
        for record in records:
            if mistake := record.failure():
                return {"error": type(mistake).__name__, "message": str(mistake)}
        name = f"{uuid.uuid4().hex}.parquet"
        kept: dict[str, list[Record]] = collections.defaultdict(list)
        for record in records:
            kept[REJECTED if record.rejected is not None else record.split].append(record)
        sampled = _sample_changes(one for one in records if one.rejected is None and one.changes)
        if sampled:
            kept[CHANGED] = sampled
        for group, members in kept.items():
            write_table(self.storage, f"{group}/{name}", to_table(members))
        return {
            "rows": sum(1 for one in records if one.origin is None),
            "files": {group: f"{group}/{name}" for group in kept},
            "splits": {split: len(members) for split, members in kept.items() if split not in (REJECTED, CHANGED)},
            "rejected": _count(_stage_and_reason(one.rejected) for one in kept[REJECTED] if one.rejected),
            "changed": _count((name,) for one in records if one.origin is None for name in dict.fromkeys(one.changes)),
            "added": _count((one.changes[0],) for one in records if one.origin is not None and one.changes),
        }


def _stage_and_reason(rejected: str) -> tuple[str, str]:
    stage, _, reason = rejected.partition(": ")
    return stage, reason


def _sample_changes(records: Iterator[Record]) -> list[Record]:
    seen: collections.Counter[str] = collections.Counter()
    sampled = []
    for record in records:
        if any(seen[name] < CHANGES_KEPT for name in record.changes):
            sampled.append(record)
            seen.update(record.changes)
    return sampled


def _count(keys: Any) -> list[list[Any]]:
    """Counted keys as JSON holds them; of a reason its category, which ends where its particulars begin with ` (`."""
    counted = collections.Counter((*key[:-1], key[-1].partition(" (")[0]) for key in keys)
    return [[*key, count] for key, count in counted.items()]


def write_table(storage: Storage, name: str, table: pa.Table) -> None:
    """A table as one Parquet file."""
    from pyarrow import parquet

    with storage.open_output(name) as stream:
        parquet.write_table(table, stream, compression="zstd")


def _concatenate(source: Storage, names: list[str], target: Storage, name: str) -> None:
    """Small files as one, a file at a time."""
    from pyarrow import parquet

    with target.open_output(name) as stream, parquet.ParquetWriter(stream, schema(), compression="zstd") as writer:
        for one in names:
            writer.write_table(parquet.read_table(source.open_input(one)))


class _Outcome:
    """What the blocks of all splits amount to."""

    def __init__(self) -> None:
        self.rows_read = 0
        self.files_of_split: dict[str, list[str]] = collections.defaultdict(list)
        self.side_files: dict[str, list[str]] = {REJECTED: [], CHANGED: []}
        self.rows_of_split: collections.Counter[str] = collections.Counter()
        self.reasons: collections.Counter[tuple[str, str]] = collections.Counter()
        self.changed: collections.Counter[str] = collections.Counter()
        self.added: collections.Counter[str] = collections.Counter()

    def add(self, stats: Counts) -> None:
        """Take in what one block reports."""
        self.rows_read += stats["rows"]
        for group, name in stats["files"].items():
            (self.side_files if group in self.side_files else self.files_of_split)[group].append(name)
        self.rows_of_split.update(stats["splits"])
        self.reasons.update({(stage, reason): count for stage, reason, count in stats["rejected"]})
        self.changed.update(dict(stats["changed"]))
        self.added.update(dict(stats["added"]))

    def report(self, names: Sequence[str]) -> Counts:
        stages = [self._stage(name) for name in dict.fromkeys(["read", *names])]
        return {"rows_read": self.rows_read, "rows": dict(self.rows_of_split), "stages": stages}

    def _stage(self, name: str) -> Counts:
        reasons = {reason: count for (stage, reason), count in self.reasons.items() if stage == name}
        return {
            "stage": name,
            "rejected": sum(reasons.values()),
            "reasons": reasons,
            "changed": self.changed[name],
            "added": self.added[name],
        }
