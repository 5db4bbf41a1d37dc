"""Data sets of the Hugging Face `datasets` library: folders written by `save_to_disk`, and Hub ids."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.exceptions import DataError
from trainers.data.formats import DataFile

ROWS_PER_PART = 100_000
SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "val", "eval"),
    "test": ("test", "eval", "validation"),
}


def looks_like_id(spec: str) -> bool:
    """Whether this could be `name`, `owner/name` or `owner/name:split` on the Hub."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.\[\]%:+-]+)?", spec) is not None


def is_datasets_folder(path: str) -> bool:
    """Whether `datasets.save_to_disk` wrote this folder."""
    folder = Path(path)
    return (folder / "dataset_dict.json").exists() or (folder / "state.json").exists()


def folder_file(name: str, path: str, split: str | None, role: str) -> DataFile:
    """One split of a folder that `save_to_disk` wrote."""
    root = Path(path)
    if (root / "dataset_dict.json").exists():
        splits = json.loads((root / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        root = root / _choose_split(name, splits, split, role)
    data = load_folder(str(root))
    if not len(data):
        raise DataError(f"{name}: the data set has no rows; expected at least one")
    fingerprint = json.loads((root / "state.json").read_text(encoding="utf-8")).get("_fingerprint", "")
    stamp = f"{fingerprint}:{(root / 'state.json').stat().st_mtime_ns}"
    return DataFile(name, str(root), "datasets", "folder", len(data), stamp)


def hub_file(name: str, role: str, split: str | None = None, subset: str | None = None) -> DataFile:
    """One split of a data set on the Hub, pinned to the commit that is there now."""
    import datasets
    from huggingface_hub import HfApi

    owner_and_name, _, named = name.partition(":")
    try:
        commit = HfApi().dataset_info(owner_and_name).sha or ""
        splits = datasets.get_dataset_split_names(owner_and_name, subset, revision=commit or None)
    except Exception as error:  # whatever the Hub's client raises, offline or not found, is the same answer
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{name}: no file or folder of that name is here, and no such data set could be found on the Hub "
            f"({first_line}); check the path"
        ) from error
    chosen = _choose_split(name, splits, split or named or None, role)
    return DataFile(name, owner_and_name, "datasets", "hub", 0, commit, split=chosen, subset=subset)


def _choose_split(name: str, splits: list[str], split: str | None, role: str) -> str:
    wanted = (split,) if split else SPLIT_NAMES[role]
    base = {candidate: re.split(r"\[", candidate)[0] for candidate in wanted}  # `train[:10%]` is a slice of train
    chosen = next((candidate for candidate in wanted if base[candidate] in splits), None)
    if chosen is None and split is None and len(splits) == 1:
        chosen = splits[0]
    if chosen is None:
        raise DataError(
            f"{name}: found the splits {', '.join(splits)}, expected {' or '.join(wanted)}; name one as {name}:SPLIT"
        )
    return chosen


@functools.lru_cache(maxsize=8)
def load_folder(path: str) -> Any:
    """A memory-mapped data set."""
    import datasets

    return datasets.load_from_disk(path)


def load_hub(file: DataFile, split: str) -> Any:
    """A streamed data set: shards are fetched by whoever reads them."""
    import datasets

    return datasets.load_dataset(
        file.path, file.subset, split=split, revision=file.stamp or None, streaming="[" not in split
    )


def row_ranges(file: DataFile) -> Iterator[tuple[int, int | None]]:
    """What separate tasks read: ranges of rows of a folder, numbers of the shards of a Hub data set."""
    if file.format == "folder":
        for start in range(0, file.size, ROWS_PER_PART):
            yield start, min(start + ROWS_PER_PART, file.size)
        return
    data = load_hub(file, file.split or "train")
    shards = getattr(data, "num_shards", 1)
    for shard in range(shards):
        yield shard, shards


def read_rows(file: DataFile, start: int, end: int | None) -> Iterator[tuple[int, str]]:
    """Rows of one range, class numbers replaced by class names."""
    if file.format == "folder":
        data = load_folder(file.path).select(range(start, end or file.size))
        first = start
    else:
        data = load_hub(file, file.split or "train")
        data = data.shard(num_shards=end or 1, index=start)
        first = start << 40  # shards number their rows separately
    names = _class_names(data.features)
    for offset, row in enumerate(data):
        for column, classes in names.items():
            if isinstance(row[column], int) and row[column] >= 0:
                row[column] = classes[row[column]]
        yield first + offset + 1, json.dumps(row, ensure_ascii=False, default=str)


def _class_names(features: Any) -> dict[str, list[str]]:
    import datasets

    if not features:
        return {}
    return {name: kind.names for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)}
