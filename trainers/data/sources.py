"""Where rows come from: files, folders, globs, URLs, `datasets` folders and Hub ids, read through Ray Data.

`locate` turns what the user wrote into `DataFile`s; `read` turns those into a lazy `ray.data.Dataset` with the columns
`file` (index into the files), `position` (see `DataFile.where`) and `row` (JSON text).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cluster.config.data import AnySource, DataConfig, as_sources
from cluster.exceptions import DataError
from trainers.data import hub
from trainers.data.dataset_info import resolve
from trainers.data.files import find_files
from trainers.data.formats import READERS, DataFile, Limits, Rows, fault, file_system, split_scheme, too_long
from trainers.data.web import read_errors, silence

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data
    from ray.data.datasource import Datasource

READ_BYTES = 64 << 20
ROWS_PER_BLOCK = 1024
BLOCK_BYTES = 4 << 20
Specs = str | AnySource | Sequence[str | AnySource]
"""What `data.train`, `data.validation` and `data.test` hold."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What is read of one file: all of it, or the lines (rows) that begin in a range."""

    index: int
    file: DataFile
    start: int = 0
    end: int | None = None

    def rows(self) -> Iterator[tuple[int, int, str]]:
        """File index, position and JSON text of each row."""
        reader = hub.read_rows if self.file.scheme == "datasets" else READERS[self.file.format]
        empty = True
        for position, row in self._reported(reader(self.file, self.start, self.end)):
            empty = False
            is_too_long = len(row) > self.file.max_row_bytes
            yield self.index, position, fault(too_long(self.file), row[:200]) if is_too_long else row
        if empty and self.end is None and self.file.explicit:
            raise DataError(f"{self.file.name}: the file has no rows; expected at least one")

    def _reported(self, rows: Rows) -> Rows:
        """Rows; what the file system or a decompressor raises on the way becomes one sentence."""
        last = 0
        try:
            for last, row in rows:
                yield last, row
        except TimeoutError as error:
            raise DataError(f"{self.file.name}: {silence(self.file.limits.timeout_s)}") from error
        except read_errors(self.file.scheme) as error:
            behind = f" behind {self.file.where(last)}" if last else ""
            raise DataError(
                f"{self.file.name}: cannot be read{behind} ({_reason(error)}); it may be damaged or cut short: fetch or "
                "write it again"
            ) from error


def _reason(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@dataclasses.dataclass(frozen=True)
class ReadPlan:
    """What one read task reads, in order; `max_rows` counts over all its parts."""

    parts: tuple[Part, ...]
    max_rows: int | None = None

    def rows(self) -> Iterator[tuple[int, int, str]]:
        left = self.max_rows
        for part in self.parts:
            for row in part.rows():
                if left is not None:
                    if not left:
                        return
                    left -= 1
                yield row

    def blocks(self) -> Iterator[pa.Table]:
        """The rows as blocks of Ray Data."""
        rows: list[tuple[int, int, str]] = []
        size = 0
        for row in self.rows():
            rows.append(row)
            size += len(row[2])
            if len(rows) == ROWS_PER_BLOCK or size >= BLOCK_BYTES:
                yield _block(rows)
                rows, size = [], 0
        yield _block(rows)


def _block(rows: list[tuple[int, int, str]]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([("file", pa.int32()), ("position", pa.int64()), ("row", pa.string())])
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([pa.array(column, type) for column, type in zip(columns, schema.types, strict=True)], schema)


@dataclasses.dataclass(frozen=True)
class Sources:
    """The located files behind one of `data.train`, `data.validation` and `data.test`.

    Attributes:
        files: in the order in which they are read.
        plans: what is read together.
        entries: for each file the source that it belongs to; empty for rows that went through the stages.
    """

    files: tuple[DataFile, ...]
    plans: tuple[ReadPlan, ...]
    entries: tuple[AnySource, ...] = ()

    def where(self, file: int, position: int) -> str:
        """The place of a row, for messages."""
        return self.files[file].where(position)

    def settings(self, file: int, config: DataConfig) -> DataConfig:
        """How the rows of a file are read: `config`, with what its source says in its place."""
        if not self.entries:
            return config
        entry = self.entries[file]
        said = {name: value for name in ("shape", "columns") if (value := getattr(entry, name)) is not None}
        return config.model_copy(update=said) if said else config

    def tags(self, file: int) -> dict[str, str]:
        """What a source says of each of its rows."""
        if not self.entries:
            return {}
        entry = self.entries[file]
        said = {"license": entry.license, "consent": entry.consent, "source": entry.name}
        return {name: value for name, value in said.items() if value is not None}


def locate(specs: Specs, role: str = "train", max_rows: int | None = None, limits: Limits | None = None) -> Sources:
    """Find the files behind what the user wrote.

    Args:
        specs: files, folders, globs, URLs, `datasets` folders, Hub ids, or sources in their long form.
        role: `train`, `validation` or `test`: which split of a `datasets` folder is meant if none is named.
        max_rows: read at most so many rows of each source that does not say so itself.
        limits: `max_row_bytes` and `timeout_s` of the data's settings.

    Raises:
        DataError: if there is no such file, or it is empty or of an unknown format.
    """
    files: list[DataFile] = []
    plans: list[ReadPlan] = []
    entries: list[AnySource] = []
    limits = limits or Limits()
    for entry in map(resolve, as_sources(specs)):
        found = [dataclasses.replace(file, source=entry.label) for file in find_files(entry, role, limits)]
        parts = [part for offset, file in enumerate(found) for part in _parts(len(files) + offset, file)]
        limit = entry.max_rows or max_rows
        plans += [ReadPlan(tuple(parts), limit)] if limit else _group(parts)
        files += found
        entries += [entry] * len(found)
    return Sources(tuple(files), tuple(plans), tuple(entries))


def staged_sources(files: Sequence[str], specs: Specs) -> Sources:
    """Rows that went through the stages, as sources.

    Args:
        files: their Parquet files.
        specs: what the user named as their source, for messages.
    """
    named = ", ".join(source.label for source in as_sources(specs))
    found = []
    for url in files:
        scheme, path = split_scheme(url)
        size = file_system(scheme, path).get_file_info(path).size or 0
        found.append(DataFile(url, path, scheme, "staged", size, explicit=False, source=named))
    return Sources(tuple(found), tuple(_group([Part(index, file) for index, file in enumerate(found)])))


def read(sources: Sources) -> ray.data.Dataset:
    """The rows as a lazy dataset: columns `file`, `position`, `row` (JSON text), in the order of the files."""
    import ray.data

    return ray.data.read_datasource(rows_datasource(sources), override_num_blocks=max(len(sources.plans), 1))


def rows_datasource(sources: Sources) -> Datasource:
    """Ray Data's view of the sources: one read task for each plan."""
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    class Rows(Datasource):
        def estimate_inmemory_data_size(self) -> int:
            return sum(file.size for file in sources.files)

        def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
            del parallelism, args, kwargs
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(plan.blocks, unknown) for plan in sources.plans]

    return Rows()


def _parts(index: int, file: DataFile) -> list[Part]:
    if file.scheme == "datasets":
        return [Part(index, file, start, end) for start, end in hub.row_ranges(file)]
    if not file.splittable or file.size <= READ_BYTES:
        return [Part(index, file)]
    starts = range(0, file.size, READ_BYTES)
    return [Part(index, file, start, min(start + READ_BYTES, file.size)) for start in starts]


def _group(parts: Iterable[Part]) -> list[ReadPlan]:
    """Small files share a read task, so that ten thousand of them are not ten thousand tasks."""
    plans: list[ReadPlan] = []
    group: list[Part] = []
    size = 0
    for part in parts:
        part_size = min(part.file.size, READ_BYTES) if part.file.scheme != "datasets" else READ_BYTES
        if group and size + part_size > READ_BYTES:
            plans.append(ReadPlan(tuple(group)))
            group, size = [], 0
        group.append(part)
        size += part_size
    return [*plans, ReadPlan(tuple(group))] if group else plans


def examples(specs: Specs, config: DataConfig, role: str = "test", classification: bool = False) -> Iterator[Any]:
    """What there is to learn from each row, streamed in this process: for evaluation, not for training.

    Raises:
        DataError: with file and line, as `prepare` does; where `data.on_error` is `reject`, such rows are passed over.
    """
    from trainers.data.encode import parse

    sources = locate(specs, role, config.max_rows, Limits.of(config))
    for plan in sources.plans:
        for file, position, row in plan.rows():
            try:
                example = parse(sources, (file, position), row, config, classification)
            except DataError:
                if config.on_error == "fail":
                    raise
                continue
            yield example
