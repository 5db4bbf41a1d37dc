"""Evaluations in storage: a folder for each, named by its fingerprint.

    evaluations/<fingerprint>/
        predictions/*.parquet       parts, each complete or absent; a killed evaluation goes on from those that are there
        notes/<key>/*.parquet       what an annotator wrote of the rows of a part
        evaluation.json             the figures; written last
        report.html                 the same for people

The fingerprint covers what decides the predictions (model, rows, settings of generation), not the metrics: another metric
is computed from the predictions that are there.
"""

from __future__ import annotations

import dataclasses
import io
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.evaluation.result import EvaluationResult, Prediction, from_table, to_table
from trainers.evaluation.slices import sliced

if TYPE_CHECKING:
    import pyarrow as pa

EVALUATIONS = "evaluations"
SUMMARY = "evaluation.json"
PAGE = "report.html"
PREDICTIONS = "predictions"
NOTES = "notes"
ORDER = "order"
"""Column of a part that says where a row belongs; unique in an evaluation."""
_ROW_BITS = 40
_WHAT = b"mobula"
"""Key of the part's own facts in the metadata of its file."""


def order_of(file: int, position: int) -> int:
    """Rank of a row among all rows of an evaluation: by file, then by position in it."""
    return (file << _ROW_BITS) | position


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows and what is known of them together.

    Attributes:
        orders: rank of each row.
        predictions: one for each row.
        facts: how they came about, for each window they were scored in (`began_unix_s`, `peak_memory_bytes`, ...).
    """

    orders: Sequence[int]
    predictions: Sequence[Prediction]
    facts: Sequence[Mapping[str, Any]] = ()


@dataclasses.dataclass(frozen=True)
class EvaluationDirectory:
    """One evaluation's folder. Parts may be written twice (two processes, one killed): the later reading takes one."""

    storage: Storage

    @classmethod
    def of(cls, storage_path: str | Path, fingerprint: str) -> EvaluationDirectory:
        """The folder of an evaluation below a storage path; it need not exist yet."""
        return cls(Storage.open(storage_path).child(EVALUATIONS, fingerprint))

    def write_part(self, part: Part, folder: str = PREDICTIONS) -> None:
        """Add rows that are done."""
        import pyarrow as pa

        table = to_table(part.predictions).append_column(ORDER, pa.array(part.orders, pa.int64()))
        self._write(f"{folder}/{part.orders[0]:016d}-{uuid.uuid4().hex[:8]}.parquet", table, part.facts)

    def parts(self, folder: str = PREDICTIONS) -> list[Part]:
        """All that was done so far."""
        parts = []
        for name in self.storage.list(folder):
            table = self._read(f"{folder}/{name}")
            facts = json.loads((table.schema.metadata or {}).get(_WHAT, b"[]"))
            parts.append(Part(table[ORDER].to_pylist(), from_table(table.drop_columns([ORDER])), facts))
        return parts

    def predictions(self, folder: str = PREDICTIONS) -> dict[int, Prediction]:
        """Rows done so far by rank, in order of rank. Of a row that failed once and was asked again, the answer."""
        found: dict[int, Prediction] = {}
        for part in self.parts(folder):
            for order, one in zip(part.orders, part.predictions, strict=True):
                if order not in found or one.error is None:
                    found[order] = one
        return dict(sorted(found.items()))

    def write_notes(self, key: str, notes: Mapping[int, Mapping[str, Any]]) -> None:
        """Add what an annotator wrote of some rows, by rank."""
        import pyarrow as pa

        texts = [json.dumps(note, ensure_ascii=False, default=str) for note in notes.values()]
        table = pa.table({ORDER: pa.array(list(notes), pa.int64()), "notes": pa.array(texts, pa.string())})
        self._write(f"{NOTES}/{key}/{next(iter(notes)):016d}-{uuid.uuid4().hex[:8]}.parquet", table)

    def notes(self, key: str) -> dict[int, dict[str, Any]]:
        """What an annotator wrote so far, by rank of the row."""
        tables = [self._read(f"{NOTES}/{key}/{name}") for name in self.storage.list(f"{NOTES}/{key}")]
        return {
            order: json.loads(note)
            for table in tables
            for order, note in zip(table[ORDER].to_pylist(), table["notes"].to_pylist(), strict=True)
        }

    def summary(self) -> dict[str, Any] | None:
        """The figures; None while the evaluation is not finished."""
        return self.storage.read_json(SUMMARY) if self.storage.exists(SUMMARY) else None

    def write_summary(self, result: EvaluationResult, **more: Any) -> None:
        """Write the figures: from now on the evaluation is finished."""
        self.storage.write_json(SUMMARY, result.summary() | more)

    def delete(self) -> None:
        """Forget it all."""
        self.storage.delete()

    def _write(self, name: str, table: pa.Table, facts: Sequence[Mapping[str, Any]] = ()) -> None:
        from pyarrow import parquet

        buffer = io.BytesIO()
        parquet.write_table(table.replace_schema_metadata({_WHAT: json.dumps(list(facts))}), buffer)
        self.storage.write_bytes(name, buffer.getvalue())

    def _read(self, name: str) -> pa.Table:
        from pyarrow import parquet

        return parquet.read_table(io.BytesIO(self.storage.read_bytes(name)))


def save(result: EvaluationResult, storage: Storage | str) -> None:
    """Write an evaluation with its predictions to a folder, in place of what is there."""
    directory = EvaluationDirectory(_opened(storage))
    directory.delete()
    if result.predictions:
        directory.write_part(Part(range(len(result.predictions)), result.predictions))
    directory.write_summary(result)


def load(storage: Storage | str) -> EvaluationResult:
    """An evaluation with its predictions.

    Raises:
        DataError: if there is no finished one.
    """
    directory = EvaluationDirectory(_opened(storage))
    summary = directory.summary()
    if summary is None:
        raise DataError(
            f"{directory.storage.url}: no finished evaluation (no {SUMMARY}); `mobula evaluate` writes one, and goes on "
            "with one that was interrupted"
        )
    found = directory.predictions()
    for key in summary.pop("annotators", []):
        found = with_notes(found, directory.notes(key))
    return restored(summary, sliced(list(found.values()), list(summary["slices"])))


def with_notes(predictions: Mapping[int, Prediction], notes: Mapping[int, Mapping[str, Any]]) -> dict[int, Prediction]:
    """Predictions with what an annotator wrote of them."""
    return {
        order: dataclasses.replace(one, notes={**one.notes, **notes[order]}) if order in notes else one
        for order, one in predictions.items()
    }


def restored(summary: Mapping[str, Any], predictions: Sequence[Prediction]) -> EvaluationResult:
    """A result from its figures as JSON holds them."""
    known = {field.name for field in dataclasses.fields(EvaluationResult)}
    values = {name: value for name, value in summary.items() if name in known}
    values["intervals"] = _pairs(values.get("intervals", {}))
    values["slice_intervals"] = {
        column: {value: _pairs(found) for value, found in by_value.items()}
        for column, by_value in values.get("slice_intervals", {}).items()
    }
    return EvaluationResult(**values, predictions=list(predictions))


def _pairs(intervals: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    return {name: (low, high) for name, (low, high) in intervals.items()}


def _opened(storage: Storage | str) -> Storage:
    return storage if isinstance(storage, Storage) else Storage.open(storage)
