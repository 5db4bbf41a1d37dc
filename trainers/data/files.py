"""From what the user wrote to files: paths, folders, globs, URLs, `datasets` folders and Hub ids."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

from cluster.config.data import AnySource, FileSource, SqlSource
from cluster.exceptions import DataError
from trainers.data import hub
from trainers.data.datafile import COMPRESSIONS, DataFile, Limits, file_system, split_scheme, without_query
from trainers.data.formats import EXTENSIONS, is_staged, query_file, sniff
from trainers.data.web import SCHEMES, look_up, read_errors, silence

HASHED_BYTES = 4 << 30
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
FORMATS = "JSONL, JSON, CSV, TSV, Parquet, plain text (also .gz, .bz2, .zst), a `datasets` folder, or a Hub id"


def find_files(source: AnySource, role: str, limits: Limits) -> list[DataFile]:
    """The files behind a source, in the order of their names; a query counts as one.

    Args:
        role: `train`, `validation` or `test`: which split of a `datasets` folder is meant if none is named.

    Raises:
        DataError: if there is no such file, or it is empty or of an unknown format.
    """
    if isinstance(source, SqlSource):
        return [query_file(source, limits)]
    if source.path.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        return [_web_file(source.path, limits)]
    found = _find(source, role, limits)
    return [dataclasses.replace(file, limits=limits) for file in found]


def _find(source: FileSource, role: str, limits: Limits) -> list[DataFile]:
    spec = source.path
    scheme, path = split_scheme(spec)
    if scheme != "file":
        return _locate_files(spec, scheme, path, limits)
    if _exists(path):
        if hub.is_datasets_folder(path):
            return [hub.folder_file(spec, path, source.split, role)]
        return _locate_files(spec, scheme, path, limits)
    folder, _, split = path.rpartition(":")
    if folder and _exists(folder) and hub.is_datasets_folder(folder):
        return [hub.folder_file(spec, folder, split, role)]
    if re.search(r"[*?\[]", path):
        return _locate_files(spec, scheme, path, limits)
    if hub.looks_like_id(spec) and _format_of(spec) is None:
        return [hub.hub_file(spec, role, source.split, source.subset)]
    raise DataError(f"{spec}: there is no such file or folder; expected {FORMATS}")


def _exists(path: str) -> bool:
    return Path(path).exists()


def _format_of(path: str) -> str | None:
    path = without_query(path)
    for ending in COMPRESSIONS:
        path = path.removesuffix(ending)
    return EXTENSIONS.get(Path(path).suffix.lower())


def _locate_files(spec: str, scheme: str, path: str, limits: Limits) -> list[DataFile]:
    from pyarrow import fs

    system = file_system(scheme, path, limits.timeout_s)
    try:
        pattern = _glob_pattern(path) if re.search(r"[*?\[]", path) else None
        info = system.get_file_info(_fixed_prefix(path) if pattern else path)
        if pattern is None and info.type == fs.FileType.File:
            return [_data_file(DataFile(spec, path, scheme, "", info.size or 0, limits=limits), info)]
        if info.type != fs.FileType.Directory:
            raise DataError(f"{spec}: there is no such file or folder; expected {FORMATS}")
        infos = system.get_file_info(fs.FileSelector(info.path, recursive=True))
    except OSError as error:
        raise DataError(f"{spec}: cannot be read ({str(error).splitlines()[0]})") from error
    chosen = [info for info in infos if info.type == fs.FileType.File and _is_wanted(info.path, path, pattern)]
    files = [
        _data_file(DataFile(info.path, info.path, scheme, "", info.size, explicit=False, limits=limits), info)
        for info in chosen
        if info.size != 0
    ]
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


def _sniffed(file: DataFile) -> str:
    try:
        return sniff(file)
    except TimeoutError as error:
        raise DataError(f"{file.name}: {silence(file.limits.timeout_s)}") from error
    except read_errors(file.scheme) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{file.name}: cannot be read ({reason}); it may be damaged: fetch or write it again"
        ) from error


def _data_file(file: DataFile, info: Any) -> DataFile:
    """A file with its format, and the stamp of its content."""
    if info.size == 0:
        raise DataError(f"{file.name}: the file is empty; expected rows")
    file = _with_format(file)
    return dataclasses.replace(file, stamp=_stamp(file, info))


def _web_file(url: str, limits: Limits) -> DataFile:
    known = look_up(url, limits.timeout_s)
    if known.size == 0:
        raise DataError(f"{url}: the file is empty; expected rows")
    return _with_format(DataFile(url, url, url.partition("://")[0], "", known.size or 0, known.stamp, limits=limits))


def _with_format(file: DataFile) -> DataFile:
    if without_query(file.path).endswith(ARCHIVES):
        raise DataError(
            f"{file.name}: is an archive, and nothing is read out of archives, whose members may name any path; unpack it "
            "and name the files or their folder"
        )
    file = dataclasses.replace(file, format=_format_of(file.path) or "")
    if file.format in ("", "json"):
        file = dataclasses.replace(file, format=_sniffed(file) or file.format)
    if not file.format:
        extensions = ", ".join(EXTENSIONS)
        raise DataError(f"{file.name}: unknown format; expected {FORMATS}, told by the extension ({extensions})")
    is_rows = file.format == "parquet" and is_staged(file)
    return dataclasses.replace(file, format="staged") if is_rows else file


def _stamp(file: DataFile, info: Any) -> str:
    """Hash of the content of local files; size and modification time of remote and of very large ones."""
    if file.scheme != "file" or file.size > HASHED_BYTES:
        return f"{file.size}:{info.mtime_ns}"
    with open(file.path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
