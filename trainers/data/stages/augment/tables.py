"""Files that stages take words, entities, facts and sentences from: of any format that rows are read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster.exceptions import DataError
from trainers.data.sources import locate


def read_table(spec: str, *columns: str) -> list[dict[str, Any]]:
    """The rows of a file; it is held in memory.

    Raises:
        DataError: if there is no such file, or a row lacks one of `columns`.
    """
    sources = locate(spec)
    rows = []
    for plan in sources.plans:
        for file, position, text in plan.rows():
            row = json.loads(text)
            missing = [name for name in columns if not isinstance(row, dict) or row.get(name) in (None, "")]
            if missing:
                found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
                raise DataError(
                    f"{sources.where(file, position)}: found {found}; expected a row with {' and '.join(columns)}"
                )
            rows.append(row)
    return rows


def table_stamp(spec: str) -> list[Any]:
    """What changes when the file does."""
    return [(file.size, file.stamp) for file in locate(spec).files]


def folder_stamp(spec: str) -> Any:
    """What tells a model's folder, or folder of data, from another: names and sizes of its files; else its name."""
    folder = Path(spec)
    if not folder.is_dir():
        return spec
    return sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file())


def listed(value: Any) -> list[str]:
    """A cell that holds several texts: a list, or one text parted by `|`."""
    parts = value if isinstance(value, list) else str(value).split("|")
    return [text for part in parts if (text := str(part).strip())]
