"""Prepared data: token sequences in Arrow IPC files that any process reads at random, without loading them.

A prepared data set is a folder on any `Storage`: `manifest.json`, written last, so that the folder is complete or
absent; and for each split a folder of `.arrow` files and `lengths.npy`. The files hold small record batches without
compression: locally they are memory-mapped and read without a copy, on an object store a batch is one range read.
"""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "manifest.json"
LENGTHS = "lengths.npy"
BATCH_BYTES = 64 << 10
OPEN_FILES = 256


def sequence_schema(classification: bool) -> pa.Schema:
    """Columns of the files: packed sequences with the labels, lengths and weights of their rows, or texts with their class."""
    import pyarrow as pa

    tokens = pa.list_(pa.int32())
    of_rows = [("row_weights", pa.list_(pa.float32())), ("row_made", pa.list_(pa.bool_()))]
    if classification:
        return pa.schema([("input_ids", tokens), ("label", pa.string()), *of_rows])
    return pa.schema([("input_ids", tokens), ("labels", tokens), ("row_lengths", tokens), *of_rows])


def write_sequences(storage: Storage, name: str, table: pa.Table) -> int:
    """Write one file; the number of sequences in each of its record batches."""
    import pyarrow as pa

    per_sequence = max(table.nbytes // max(table.num_rows, 1), 1)
    rows_per_batch = int(min(max(BATCH_BYTES // per_sequence, 1), 1024))
    with storage.open_output(name) as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table.combine_chunks(), max_chunksize=rows_per_batch)
    return rows_per_batch


@dataclasses.dataclass(frozen=True)
class SequenceFile:
    """One Arrow file of a split."""

    name: str
    num_sequences: int
    rows_per_batch: int


@dataclasses.dataclass(frozen=True)
class PreparedSplit:
    """The sequences of one split. A plain value: it travels between processes and opens files where it is used.

    Attributes:
        num_sequences: what the model sees.
        num_rows: training examples inside them.
        num_tokens: tokens inside them, padding not counted.
        num_loss_tokens: tokens that carry loss (rows, for classification).
        labels: class names in id order; empty for causal models.
    """

    storage: Storage
    files: tuple[SequenceFile, ...]
    num_sequences: int
    num_rows: int
    num_tokens: int
    num_loss_tokens: int
    labels: tuple[str, ...] = ()
    classification: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: counts that were read are read again where they are needed."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Tokens, rows and loss tokens of each sequence: an int32 array of three rows."""
        return np.load(io.BytesIO(self.storage.read_bytes(LENGTHS)), allow_pickle=False)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence."""
        return self.counts[0]

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([file.num_sequences for file in self.files])

    def read(self, indices: np.ndarray | Sequence[int]) -> pa.Table:
        """Sequences by number, in the order asked for.

        Columns: `input_ids`, and for causal models `labels` (-100 carries no loss) and `row_lengths` (tokens of each
        row packed into the sequence), for classification `label` (class id); `row_weights` is what each row counts in
        the loss, `row_made` whether augmentation made it.
        """
        import pyarrow as pa

        rows = [self._row(int(index)) for index in np.asarray(indices, dtype=np.int64)]
        table = pa.Table.from_batches(rows, sequence_schema(self.classification)).combine_chunks()
        return self._with_label_ids(table) if self.classification else table

    def _row(self, index: int) -> pa.RecordBatch:
        at = int(np.searchsorted(self._ends, index, side="right"))
        assert index >= 0 and at < len(self.files), f"sequence {index} of {self.num_sequences}"
        file = self.files[at]
        batch, row = divmod(index - int(self._ends[at]) + file.num_sequences, file.rows_per_batch)
        return _record_batch(self.storage, file.name, batch).slice(row, 1)

    def _with_label_ids(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = pc.index_in(table["label"], value_set=pa.array(self.labels, pa.string())).cast(pa.int64())
        return table.set_column(table.schema.get_field_index("label"), "label", ids)


@functools.lru_cache(maxsize=OPEN_FILES)
def _open(storage: Storage, name: str) -> pa.ipc.RecordBatchFileReader:
    import pyarrow as pa

    return pa.ipc.open_file(storage.open_input(name))


@functools.lru_cache(maxsize=OPEN_FILES)
def _record_batch(storage: Storage, name: str, batch: int) -> pa.RecordBatch:
    return _open(storage, name).get_batch(batch)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
        url: folder of the manifest.
        fingerprint: of all that went in: files, data section, tokenizer, template, objective.
        splits: `train`, and `validation` and `test` where there are rows for them.
        labels: class names in id order; empty for causal models.
        report: counts for each split: rows, sequences, tokens, what was cut and what was dropped, rows of each source.
        inputs: name, size in bytes and hash of every file that was read, by split.
        rows_url: folder of the rows after the stages (`trainers.data.staging`), where there are stages.
    """

    url: str
    fingerprint: str
    splits: dict[str, PreparedSplit]
    labels: list[str]
    report: dict[str, Any]
    inputs: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    rows_url: str | None = None

    @classmethod
    def open(cls, url: str) -> Prepared:
        """A prepared data set from its folder; FileNotFoundError if it is not complete."""
        storage = Storage.open(url)
        manifest = storage.read_json(MANIFEST)
        labels = manifest["labels"]
        splits = {
            name: PreparedSplit(
                storage=storage.child(split["folder"]),
                files=tuple(SequenceFile(**file) for file in split["files"]),
                labels=tuple(labels),
                classification=manifest["classification"],
                **{key: split[key] for key in ("num_sequences", "num_rows", "num_tokens", "num_loss_tokens")},
            )
            for name, split in manifest["splits"].items()
        }
        known = (manifest[name] for name in ("report", "inputs", "rows_url"))
        return cls(storage.url, manifest["fingerprint"], splits, labels, *known)
