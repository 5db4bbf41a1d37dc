"""Where rows come from: files, folders, globs, URLs, `datasets` folders and Hub ids, read through Ray Data.

`locate` turns what the user wrote into `DataFile`s; `read` turns those into a lazy `ray.data.Dataset` with the columns
`file` (index into the files), `position` (see `DataFile.where`) and `row` (JSON text).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.config.data import DataConfig
from cluster.exceptions import DataError
from trainers.data import hub
from trainers.data.formats import COMPRESSIONS, EXTENSIONS, READERS, DataFile, file_system, is_staged, sniff

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data
    from ray.data.datasource import Datasource

READ_BYTES = 64 << 20
ROWS_PER_BLOCK = 1024
HASHED_BYTES = 4 << 30
FORMATS = "JSONL, JSON, CSV, TSV, Parquet, plain text (also .gz, .bz2, .zst), a `datasets` folder, or a Hub id"


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
        for position, row in reader(self.file, self.start, self.end):
            empty = False
            yield self.index, position, row
        if empty and self.end is None and self.file.explicit:
            raise DataError(f"{self.file.name}: the file has no rows; expected at least one")


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
        for row in self.rows():
            rows.append(row)
            if len(rows) == ROWS_PER_BLOCK:
                yield _block(rows)
                rows = []
        yield _block(rows)


def _block(rows: list[tuple[int, int, str]]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([("file", pa.int32()), ("position", pa.int64()), ("row", pa.string())])
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([pa.array(column, type) for column, type in zip(columns, schema.types, strict=True)], schema)


@dataclasses.dataclass(frozen=True)
class Sources:
    """The located files behind one of `data.train`, `data.validation` and `data.test`."""

    files: tuple[DataFile, ...]
    plans: tuple[ReadPlan, ...]

    def where(self, file: int, position: int) -> str:
        """The place of a row, for messages."""
        return self.files[file].where(position)


def locate(specs: str | Sequence[str], role: str = "train", max_rows: int | None = None) -> Sources:
    """Find the files behind what the user wrote.

    Args:
        specs: files, folders, globs, URLs, `datasets` folders, Hub ids.
        role: `train`, `validation` or `test`: which split of a `datasets` folder is meant if none is named.
        max_rows: read at most so many rows of each spec.

    Raises:
        DataError: if there is no such file, or it is empty or of an unknown format.
    """
    files: list[DataFile] = []
    plans: list[ReadPlan] = []
    for spec in [specs] if isinstance(specs, str) else specs:
        found = [dataclasses.replace(file, source=spec) for file in _locate_one(spec, role)]
        parts = [part for offset, file in enumerate(found) for part in _parts(len(files) + offset, file)]
        files += found
        plans += [ReadPlan(tuple(parts), max_rows)] if max_rows else _group(parts)
    return Sources(tuple(files), tuple(plans))


def staged_sources(files: Sequence[str], specs: str | Sequence[str]) -> Sources:
    """Rows that went through the stages, as sources.

    Args:
        files: their Parquet files.
        specs: what the user named as their source, for messages.
    """
    named = specs if isinstance(specs, str) else ", ".join(specs)
    found = []
    for url in files:
        scheme, path = _split_scheme(url)
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


def _locate_one(spec: str, role: str) -> list[DataFile]:
    scheme, path = _split_scheme(spec)
    if scheme != "file":
        return _locate_files(spec, scheme, path)
    if _exists(path):
        if hub.is_datasets_folder(path):
            return [hub.folder_file(spec, path, None, role)]
        return _locate_files(spec, scheme, path)
    folder, _, split = path.rpartition(":")
    if folder and _exists(folder) and hub.is_datasets_folder(folder):
        return [hub.folder_file(spec, folder, split, role)]
    if re.search(r"[*?\[]", path):
        return _locate_files(spec, scheme, path)
    if hub.looks_like_id(spec) and _format_of(spec) is None:
        return [hub.hub_file(spec, role)]
    raise DataError(f"{spec}: there is no such file or folder; expected {FORMATS}")


def _split_scheme(spec: str) -> tuple[str, str]:
    scheme, mark, path = spec.partition("://")
    if not mark:
        return "file", spec
    if scheme == "file":
        return "file", path
    return scheme, (spec if scheme in ("http", "https") else path)


def _exists(path: str) -> bool:
    return Path(path).exists()


def _format_of(path: str) -> str | None:
    for ending in COMPRESSIONS:
        path = path.removesuffix(ending)
    return EXTENSIONS.get(Path(path).suffix.lower())


def _locate_files(spec: str, scheme: str, path: str) -> list[DataFile]:
    from pyarrow import fs

    system = file_system(scheme, path)
    try:
        pattern = _glob_pattern(path) if re.search(r"[*?\[]", path) else None
        info = system.get_file_info(_fixed_prefix(path) if pattern else path)
        if pattern is None and info.type == fs.FileType.File:
            return [_data_file(spec, scheme, path, info, explicit=True)]
        if info.type != fs.FileType.Directory:
            raise DataError(f"{spec}: there is no such file or folder; expected {FORMATS}")
        infos = system.get_file_info(fs.FileSelector(info.path, recursive=True))
    except OSError as error:
        raise DataError(f"{spec}: cannot be read ({str(error).splitlines()[0]})") from error
    chosen = [info for info in infos if info.type == fs.FileType.File and _is_wanted(info.path, path, pattern)]
    files = [_data_file(info.path, scheme, info.path, info, explicit=False) for info in chosen if info.size != 0]
    if not files:
        found = f"{len(chosen)} empty files" if chosen else "no data files"
        raise DataError(f"{spec}: found {found}; expected at least one of {', '.join(EXTENSIONS)} with rows in it")
    return sorted(files, key=lambda file: file.path)


def _is_wanted(path: str, root: str, pattern: re.Pattern[str] | None) -> bool:
    if pattern is not None:
        return bool(pattern.fullmatch(path))
    below = path.removeprefix(root).split("/")
    return _format_of(path) is not None and not any(part.startswith((".", "_")) for part in below)


def _fixed_prefix(path: str) -> str:
    fixed = re.split(r"[*?\[]", path)[0]
    return fixed.rpartition("/")[0] or ("/" if path.startswith("/") else ".")


def _glob_pattern(path: str) -> re.Pattern[str]:
    """`**` crosses folders, `*` and `?` do not."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", path)
    body = "".join(wild.get(piece) or (piece if piece.startswith("[") else re.escape(piece)) for piece in pieces)
    return re.compile(r"(?:\./)?" + body)


def _data_file(name: str, scheme: str, path: str, info: Any, explicit: bool) -> DataFile:
    size = info.size or 0
    if info.size == 0:
        raise DataError(f"{name}: the file is empty; expected rows")
    file = DataFile(name, path, scheme, _format_of(path) or "", size, explicit=explicit)
    if file.format in ("", "json"):
        file = dataclasses.replace(file, format=sniff(file) or file.format)
    if not file.format:
        raise DataError(f"{name}: unknown format; expected {FORMATS}, told by the extension ({', '.join(EXTENSIONS)})")
    if file.format == "parquet" and is_staged(file):
        file = dataclasses.replace(file, format="staged")
    return dataclasses.replace(file, stamp=_stamp(file, info))


def _stamp(file: DataFile, info: Any) -> str:
    """Hash of the content of local files; size and modification time of remote and of very large ones."""
    if file.scheme != "file" or file.size > HASHED_BYTES:
        return f"{file.size}:{info.mtime_ns}"
    with open(file.path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def examples(
    specs: str | Sequence[str], config: DataConfig, role: str = "test", classification: bool = False
) -> Iterator[Any]:
    """What there is to learn from each row, streamed in this process: for evaluation, not for training.

    Raises:
        DataError: with file and line, as `prepare` does.
    """
    from trainers.data.encode import parse

    sources = locate(specs, role, config.max_rows)
    for plan in sources.plans:
        for file, position, row in plan.rows():
            yield parse(sources, (file, position), row, config, classification)
