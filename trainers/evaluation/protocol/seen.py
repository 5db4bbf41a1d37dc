"""Which rows a model has seen: learnt from, or used to pick its checkpoint. A score on those is no test.

A run leaves eight bytes of the hash of each such row in its model folder (`seen_rows.npz`), so that whatever is scored later
can be held against them, wherever the files have gone.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config import Classification, DataConfig, RunConfig
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.data.encode import parse_row
from trainers.data.formats import Limits
from trainers.data.ray_data import quiet_context, rows_of
from trainers.data.sources import Sources, locate, read
from trainers.data.staging import StagedRows, is_held_out
from trainers.data.store import Prepared
from trainers.evaluation.exchange import row_key
from trainers.evaluation.result import Prediction
from trainers.folder import ModelFolder

if TYPE_CHECKING:
    import pyarrow as pa

SEEN_ROWS = "seen_rows.npz"
MOSTLY = 0.5
"""Share of seen rows from which on a set is called the one that was seen."""
MOST_ROWS = 20_000_000
"""Of more rows no list is kept: it would be larger than many a model."""
LEARNT, SELECTED = "train", "validation"


def write_seen_rows(config: RunConfig, prepared: Prepared, model: Storage) -> None:
    """Leave in the model folder which rows it learnt from and was picked by. Ray must be initialised."""
    if sum(split.num_rows for name, split in prepared.splits.items() if name in (LEARNT, SELECTED)) > MOST_ROWS:
        return
    keys: dict[str, list[np.ndarray]] = {LEARNT: [], SELECTED: []}
    for split, found in _keys(config, prepared):
        keys[split].append(found)
    buffer = io.BytesIO()
    arrays = {split: np.unique(np.concatenate(found)) for split, found in keys.items() if found}
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    model.write_bytes(SEEN_ROWS, buffer.getvalue())


def _keys(config: RunConfig, prepared: Prepared) -> Iterator[tuple[str, np.ndarray]]:
    data = config.data
    staged = StagedRows.open(prepared.rows_url).files if prepared.rows_url else None
    for split in (LEARNT, SELECTED):
        specs: Any = staged.get(split, []) if staged is not None else data.sources(split)
        if not specs:
            continue
        share = data.val_size if staged is None and split == LEARNT else 0.0
        sources = locate(specs, split, None if staged else data.max_rows, Limits.of(data))
        with quiet_context():
            hashed = read(sources).map_batches(
                HashRows(split, sources, data, isinstance(config.train.objective, Classification), share),
                batch_size=4096,
                batch_format="pyarrow",
            )
        for row in rows_of(hashed):
            yield row["split"], np.frombuffer(row["keys"], np.uint64)


@dataclasses.dataclass(frozen=True)
class HashRows:
    """Hashes of what the rows of a block say, by split. Runs inside the tasks of Ray Data."""

    split: str
    sources: Sources
    data: DataConfig
    classification: bool
    share: float

    def __call__(self, block: pa.Table) -> dict[str, list[Any]]:
        found: dict[str, list[int]] = {LEARNT: [], SELECTED: []}
        for file, position, row in zip(*(block[name].to_pylist() for name in ("file", "position", "row")), strict=True):
            try:
                parsed = parse_row(self.sources, (file, position), row, self.data, self.classification)
            except DataError:  # a row that was rejected was not seen
                continue
            held_out = bool(self.share) and is_held_out(row, self.share)
            found[SELECTED if held_out else self.split].append(short_key(row_key(parsed.example)))
        return {
            "split": list(found),
            "keys": [np.array(keys, np.uint64).tobytes() for keys in found.values()],
        }


def short_key(key: str) -> int:
    """Eight bytes of a row's key."""
    return int(key[:16], 16)


@dataclasses.dataclass(frozen=True)
class Seen:
    """How many of the rows that were scored the model has seen.

    Attributes:
        n: rows scored.
        learnt: of these, rows it learnt from.
        selected: of these, rows that picked its checkpoint.
        is_known: whether the folder says what its model has seen.
    """

    n: int
    learnt: int = 0
    selected: int = 0
    is_known: bool = True

    def describe(self) -> dict[str, Any]:
        """As a section of a result."""
        return {**dataclasses.asdict(self), "sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """What it means, in words."""
        if not self.is_known:
            return "the model does not say which rows it has seen, so whether these are among them is not known"
        said = [
            f"{count} of {self.n} rows {what}"
            for count, what in ((self.learnt, "were learnt from"), (self.selected, "picked the checkpoint"))
            if count
        ]
        return f"{' and '.join(said)}: scores on them are too good" if said else "none of the rows was seen in training"

    def refuse(self, name: str) -> None:
        """Refuse a set that mostly is the one that picked the checkpoint.

        Raises:
            DataError: saying so.
        """
        if self.selected > MOSTLY * self.n:
            raise DataError(
                f"{name}: {self.selected} of {self.n} rows are validation rows of the run, which picked its checkpoint, so a score "
                "on them is no test; give other rows, or set evaluate.seen_rows=flag to look at them all the same"
            )


def seen_rows(folder: ModelFolder | None, predictions: Sequence[Prediction]) -> Seen:
    """Hold scored rows against those that a model folder says it has seen."""
    path = folder.path / SEEN_ROWS if folder is not None else None
    if path is None or not path.exists():
        return Seen(len(predictions), is_known=False)
    keys = np.array([short_key(one.key) for one in predictions], np.uint64)
    with np.load(path, allow_pickle=False) as known:
        learnt, selected = (
            int(np.isin(keys, known[split]).sum()) if split in known else 0 for split in (LEARNT, SELECTED)
        )
    return Seen(len(predictions), learnt, selected)


def refuse_selecting_files(folder: ModelFolder | None, sources: Sources) -> None:
    """Refuse, before anything runs, files that are those the checkpoint was picked by.

    Raises:
        DataError: naming the file.
    """
    inputs = folder.lineage.get("data", {}).get("inputs", {}) if folder is not None else {}
    selecting = {(one["hash"], one["bytes"]) for one in inputs.get(SELECTED, []) if one.get("hash")}
    same = [file for file in sources.files if (file.stamp, file.size) in selecting]
    if selecting and len(same) == len(sources.files):
        raise DataError(
            f"{same[0].name}: this is the run's validation file, which picked its checkpoint, so a score on it is no test; "
            "give other rows, or set evaluate.seen_rows=flag to look at it all the same"
        )
