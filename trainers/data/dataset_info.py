"""LLaMA-Factory's `dataset_info.json`, read as it is: which file or Hub data set a name stands for, and how it is read."""

from __future__ import annotations

import json
import re
from typing import Any

from cluster.config.data import AnySource, Columns, FileSource
from cluster.exceptions import DataError
from trainers.data.datafile import file_system, split_scheme

FILE = "dataset_info.json"
MEDIA = ("images", "videos", "audios")
ROLES = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}
"""Tag, whose value is what a role is called -> the role."""
_TABLE = {"query": "input", "response": "completion", "kto_tag": "label"}
"""Names of columns that are called otherwise here."""


def resolve(source: AnySource) -> AnySource:
    """What an entry of a `dataset_info.json` stands for; any other source as it is.

    Raises:
        DataError: if there is no such entry, or it names what cannot be read.
    """
    if not isinstance(source, FileSource):
        return source
    found = re.fullmatch(rf"(.*{re.escape(FILE)})(?::(.+))?", source.path)
    if found is None:
        return source
    path, name = found.group(1), found.group(2) or source.name
    entries = _read(path)
    if name not in entries:
        shown = ", ".join(list(entries)[:8]) + (", ..." if len(entries) > 8 else "")
        asked = f"the data set {name!r} is not in it" if name else "no data set is named"
        raise DataError(f"{path}: {asked}; expected one of {shown}, as name: or as {path}:NAME")
    described = _described(path, name, entries[name])
    said = source.model_dump(exclude={"path", "name"}, exclude_unset=True)
    return FileSource.model_validate({**described, **said})


def _read(path: str) -> dict[str, Any]:
    scheme, inside = split_scheme(path)
    try:
        with file_system(scheme, inside).open_input_stream(inside) as stream:
            entries = json.loads(stream.read())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read ({reason}); expected LLaMA-Factory's list of data sets") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise DataError(f"{path}: expected an object with a description of each data set, by name")
    return entries


def _described(path: str, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of a source."""
    columns = entry.get("columns") or {}
    media = [kind for kind in MEDIA if columns.get(kind)]
    if media:
        raise DataError(
            f"{path}: {name} has {' and '.join(media)}, and only text is learnt from; choose another data set"
        )
    shape, named = _shape(path, name, entry)
    known = {
        "path": _place(path, name, entry),
        "name": name,
        "shape": shape,
        "columns": named,
        "max_rows": entry.get("num_samples"),
        "split": entry.get("split") or ("train" if entry.get("hf_hub_url") else None),
        "subset": entry.get("subset"),
    }
    return {key: value for key, value in known.items() if value is not None}


def _place(path: str, name: str, entry: dict[str, Any]) -> str:
    """The Hub id, or the file beside `dataset_info.json`; the Hub comes first, as there."""
    if entry.get("hf_hub_url"):
        return str(entry["hf_hub_url"])
    if not entry.get("file_name"):
        given = ", ".join(key for key in entry if key.endswith(("url", "file_name"))) or "nothing"
        raise DataError(
            f"{path}: {name} says where it lies by {given}, expected file_name or hf_hub_url; fetch it and name the file"
        )
    file_name = str(entry["file_name"])
    folder = path.removesuffix(FILE)
    return file_name if "://" in file_name or file_name.startswith("/") else f"{folder}{file_name}"


def _shape(path: str, name: str, entry: dict[str, Any]) -> tuple[str, Columns]:
    """What its rows look like, by the defaults of LLaMA-Factory: there, a column that is not named is not read."""
    formatting = entry.get("formatting", "alpaca")
    given = {_TABLE.get(key, key): value for key, value in (entry.get("columns") or {}).items() if value}
    unknown = set(given) - set(Columns.model_fields)
    if formatting not in ("alpaca", "sharegpt", "openai") or unknown:
        found = f"the columns {', '.join(sorted(unknown))}" if unknown else f"formatting {formatting!r}"
        raise DataError(f"{path}: {name} has {found}; expected formatting alpaca, sharegpt or openai and their columns")
    judged = "preference" if entry.get("ranking") else "unpaired" if "label" in given else None
    if formatting == "alpaca":
        columns = {"prompt": "instruction", "input": "input", **given}
        if not judged and entry.get("columns") and "completion" not in given:
            return "text", Columns(text=columns["prompt"])
        return judged or "alpaca", Columns(**columns)
    tags = _tags(entry.get("tags") or {}, formatting)
    return judged or "sharegpt", Columns(**{"messages": "conversations", **given, **tags})


def _tags(tags: dict[str, str], formatting: str) -> dict[str, Any]:
    role, content = ("role", "content") if formatting == "openai" else ("from", "value")
    roles = {str(tags[tag]): ours for tag, ours in ROLES.items() if tag in tags}
    return {"role": tags.get("role_tag", role), "content": tags.get("content_tag", content), "roles": roles}
