"""Folders that every node sees: a local path, NFS, `s3://`, `gs://`, or whatever else pyarrow.fs opens.

A `Storage` is one folder. It is a plain value (its URL), so it travels between processes; the file
system behind it is connected where it is used.

Locally a file appears complete or not at all (temporary name, fsync, rename). An object store gives the
same per object: the object exists once its upload is closed. Folders of several files have no such
guarantee on an object store, so whoever needs one writes a manifest last.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from pyarrow import fs

from cluster.exceptions import ResourceError

_COPY_CHUNK_BYTES = 8 << 20


@lru_cache(maxsize=64)
def _connect(url: str) -> tuple[fs.FileSystem, str]:
    try:
        return fs.FileSystem.from_uri(url)
    except (ValueError, OSError, NotImplementedError) as error:
        raise ResourceError(
            f"{url}: cannot be opened as storage ({error}); expected a local folder, s3://BUCKET/FOLDER or "
            "gs://BUCKET/FOLDER; change cluster.storage_path"
        ) from error


@contextmanager
def _place_named(place: str) -> Iterator[None]:
    """Turn what a file system refuses into a sentence that names the place and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"{place}: no disk space is left; free some, or set cluster.storage_path to a larger disk"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ResourceError(
                f"{place}: this user may not write there ({error.strerror}); set cluster.storage_path to a folder "
                "that is writable"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise ResourceError(
                f"{place}: a file is in the way where a folder is needed; move it or change cluster.storage_path"
            ) from error
        raise


def _clean(name: str) -> str:
    """A relative name below the folder; anything that climbs out is our bug."""
    path = PurePosixPath(name)
    assert not path.is_absolute() and ".." not in path.parts, f"not a name inside a storage folder: {name!r}"
    return "" if str(path) == "." else str(path)


@dataclass(frozen=True)
class Storage:
    """One folder, local or remote. Names given to its methods are relative and may hold `/`."""

    url: str
    """Absolute path when local, else the URL."""

    @classmethod
    def open(cls, url_or_path: str | Path) -> "Storage":
        """The folder at a path or URL; it need not exist yet."""
        text = str(url_or_path)
        if text.startswith("file://"):
            text = urlsplit(text).path
        if "://" not in text:
            return cls(os.path.abspath(os.path.expanduser(text)))
        _connect(text)
        return cls(text.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether plain file calls reach it (NFS counts)."""
        return "://" not in self.url

    def child(self, *names: str) -> "Storage":
        """The folder below this one."""
        return Storage(self.place("/".join(names)))

    def place(self, name: str = "") -> str:
        """Path or URL of something in this folder, as shown to people and given to other libraries."""
        name = _clean(name)
        if not name:
            return self.url
        if self.is_local:
            return str(Path(self.url, name))
        parts = urlsplit(self.url)  # s3:// URLs may carry ?endpoint_override=..., which stays behind the path
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))

    def filesystem(self) -> tuple[fs.FileSystem, str]:
        """The pyarrow file system and this folder's path in it."""
        return (fs.LocalFileSystem(), self.url) if self.is_local else _connect(self.url)

    def _remote(self, name: str) -> tuple[fs.FileSystem, str]:
        filesystem, root = self.filesystem()
        name = _clean(name)
        return filesystem, f"{root.rstrip('/')}/{name}" if name else root

    # -- whole files ------------------------------------------------------------------------------

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file so that a reader sees the old content or the new, never half of it."""
        with self.open_output(name) as stream:
            stream.write(content)

    def write_text(self, name: str, text: str) -> None:
        """`write_bytes` in UTF-8."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """`write_text` of an indented JSON document."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def read_bytes(self, name: str) -> bytes:
        """Content of a file; FileNotFoundError if there is none."""
        if self.is_local:
            return Path(self.place(name)).read_bytes()
        filesystem, path = self._remote(name)
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    def read_text(self, name: str) -> str:
        """`read_bytes` from UTF-8."""
        return self.read_bytes(name).decode()

    def read_json(self, name: str) -> Any:
        """The JSON document in a file."""
        return json.loads(self.read_bytes(name))

    def append_text(self, name: str, text: str) -> None:
        """Add to the end of a file. Object stores cannot, so there it costs a read and a write of the whole."""
        if not self.is_local:
            self.write_text(name, (self.read_text(name) if self.exists(name) else "") + text)
            return
        path = Path(self.place(name))
        with _place_named(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(text)

    # -- streams ----------------------------------------------------------------------------------

    def open_input(self, name: str) -> Any:
        """A pyarrow file for random access; memory-mapped where the folder is local."""
        if self.is_local:
            from pyarrow import memory_map

            return memory_map(self.place(name))
        filesystem, path = self._remote(name)
        return filesystem.open_input_file(path)

    @contextmanager
    def open_output(self, name: str) -> Iterator[Any]:
        """A binary stream whose file appears when the block ends well."""
        if self.is_local:
            with _place_named(self.place(name)), _atomic_file(Path(self.place(name))) as stream:
                yield stream
            return
        filesystem, path = self._remote(name)
        with filesystem.open_output_stream(path) as stream:
            yield stream

    # -- folders ----------------------------------------------------------------------------------

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder is there."""
        filesystem, path = self._remote(name)
        return filesystem.get_file_info(path).type != fs.FileType.NotFound

    def size(self, name: str) -> int:
        """Bytes of a file, or of all files below a folder."""
        filesystem, path = self._remote(name)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.File:
            return int(info.size)
        return sum(int(found.size or 0) for found in self._below(name) if found.type == fs.FileType.File)

    def list(self, name: str = "") -> list[str]:
        """Sorted names directly inside a folder; empty if it is not there. Unfinished files are left out."""
        filesystem, path = self._remote(name)
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(info.base_name for info in found if not info.base_name.startswith(".tmp-"))

    def delete(self, name: str = "") -> None:
        """Remove a file or a folder with all it holds; nothing happens if it is not there."""
        filesystem, path = self._remote(name)
        kind = filesystem.get_file_info(path).type
        with _place_named(self.place(name)):
            if kind == fs.FileType.File:
                filesystem.delete_file(path)
            elif kind == fs.FileType.Directory:
                filesystem.delete_dir(path)

    def upload_folder(self, local: str | Path, name: str) -> None:
        """Copy a local folder to `name`, replacing what is there. Locally the swap is one rename."""
        if not self.is_local:
            self.delete(name)
            filesystem, path = self._remote(name)
            filesystem.create_dir(path, recursive=True)
            fs.copy_files(str(local), path, fs.LocalFileSystem(), filesystem, chunk_size=_COPY_CHUNK_BYTES)
            return
        target = Path(self.place(name))
        with _place_named(str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f".tmp-{uuid4().hex}")
            try:
                shutil.copytree(local, unfinished)
                _sync_tree(unfinished)
                _swap_folder(unfinished, target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)

    def local_folder(self, name: str = "") -> Path:
        """A folder as a local path: itself when local, else a copy in a cache, fetched where it changed."""
        if self.is_local:
            return Path(self.place(name))
        filesystem, root = self._remote(name)
        key = hashlib.sha256(self.place(name).encode()).hexdigest()[:24]
        cache = Path(tempfile.gettempdir(), f"mobula-cache-{os.getuid()}", key)
        with _place_named(str(cache)):
            cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            remote_files = [info for info in self._below(name) if info.type == fs.FileType.File]
            if not remote_files:
                raise FileNotFoundError(self.place(name))
            for info in remote_files:
                _fetch(filesystem, info, cache / PurePosixPath(info.path).relative_to(root))
        return cache

    def _below(self, name: str) -> Sequence[fs.FileInfo]:
        filesystem, path = self._remote(name)
        found: Sequence[fs.FileInfo] = filesystem.get_file_info(
            fs.FileSelector(path, recursive=True, allow_not_found=True)
        )
        return found


@contextmanager
def _atomic_file(path: Path) -> Iterator[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".tmp-{uuid4().hex}")
    try:
        with unfinished.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut: the folder's own entry list is flushed too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def _swap_folder(unfinished: Path, target: Path) -> None:
    if target.exists():
        old = target.with_name(f".tmp-{uuid4().hex}")
        os.replace(target, old)
        os.replace(unfinished, target)
        shutil.rmtree(old)
    else:
        os.replace(unfinished, target)
    _sync_folder(target.parent)


def _fetch(filesystem: fs.FileSystem, info: fs.FileInfo, target: Path) -> None:
    """Download one file unless the copy here has its size and time."""
    modified_s = (info.mtime_ns or 0) / 1e9
    if target.is_file() and (target.stat().st_size, target.stat().st_mtime) == (info.size, modified_s):
        return
    with _atomic_file(target) as stream, filesystem.open_input_stream(info.path) as source:
        shutil.copyfileobj(source, stream, _COPY_CHUNK_BYTES)
    os.utime(target, (modified_s, modified_s))
