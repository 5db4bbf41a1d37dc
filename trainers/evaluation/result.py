"""What an evaluation found, as plain values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One row: what was asked for and what the model gave.

    Attributes:
        place: file and line of the row.
        reference: expected answer or label; None where a row has no answer to compare (plain text).
        output: the model's answer or label; None where nothing was generated.
        loss_sum: summed over the tokens (or the one label) that carry loss.
        loss_units: how many those are.
        probability: of the chosen label, or the geometric mean of the answer's token probabilities where those are known.
        was_cut: the row did not fit into the model and was shortened.
        slices: value of each slice column.
        key: hash of what the row says, the same in every evaluation of it; pairs rows of two evaluations.
        prompt: what the model was asked, as text.
        logits: scores of the classes, in the order of the folder's labels.
        loss_bytes: UTF-8 bytes of the text that carries loss.
        columns: the other columns of the row.
        samples: further answers to the same question, where several were asked for.
        output_tokens: length of the answer in tokens.
        latency_s: time from request to whole answer, for endpoints.
        notes: what annotators found out (a judge's score, whether code passed, a person's rating), by name.
        error: why there is no output, where an endpoint gave none.
    """

    place: str
    reference: str | None
    output: str | None
    loss_sum: float = 0.0
    loss_units: int = 0
    probability: float | None = None
    was_cut: bool = False
    slices: dict[str, str] = dataclasses.field(default_factory=dict)
    key: str = ""
    prompt: str | None = None
    logits: list[float] | None = None
    loss_bytes: int = 0
    columns: dict[str, Any] = dataclasses.field(default_factory=dict)
    samples: list[str] = dataclasses.field(default_factory=list)
    output_tokens: int | None = None
    latency_s: float | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None


_AS_JSON = ("slices", "columns", "notes")


def schema() -> pa.Schema:
    """Columns of a table of predictions; what has no fixed form is JSON text."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    types = {
        "loss_sum": number,
        "loss_units": pa.int64(),
        "probability": number,
        "was_cut": pa.bool_(),
        "logits": pa.list_(pa.float32()),
        "loss_bytes": pa.int64(),
        "samples": pa.list_(text),
        "output_tokens": pa.int64(),
        "latency_s": number,
    }
    return pa.schema([(field.name, types.get(field.name, text)) for field in dataclasses.fields(Prediction)])


def to_table(predictions: Sequence[Prediction]) -> pa.Table:
    """Predictions as a table, as they travel and are stored."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        field.name: [getattr(one, field.name) for one in predictions] for field in dataclasses.fields(Prediction)
    }
    for name in _AS_JSON:
        columns[name] = [json.dumps(value, ensure_ascii=False, default=str) for value in columns[name]]
    return pa.table(columns, schema=schema())


def from_table(table: pa.Table) -> list[Prediction]:
    """The predictions of a table."""
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for name in _AS_JSON:
        columns[name] = [json.loads(text) for text in columns[name]]
    names = list(columns)
    return [Prediction(**dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """Scores of one model on some rows.

    Attributes:
        kind: `causal_lm` or `classification`.
        n: rows scored.
        metrics: name -> value over all rows; `exact_match`, `accuracy` and the like are shares between 0 and 1.
        baseline: the same metrics for always giving the most common reference.
        baseline_answer: that reference.
        slices: column -> value -> metrics of the rows with that value; `n` is among them.
        classes: label -> precision, recall, f1, n (classification).
        predictions: one for each row, in the order of the files.
        duration_s: wall time, start of the workers included.
        labels: class names in the order of `Prediction.logits`.
        intervals: metric -> (low, high), at the confidence of `evaluate.confidence`.
        cost: what it took: `rows_per_s`, `output_tokens_per_s`, `latency_p50_s`, `peak_memory_bytes`, `model_bytes`, ...
        fingerprint: of the model, the rows and the settings; the same evaluation has the same.
        sections: what else was found, by name (`calibration`, `errors`, `looks`, ...), ready for JSON.
        slice_intervals: column -> value -> metric -> (low, high), as `intervals`.
        subject: what was scored, as people name it.
        data: names of the files that the rows are from.
        data_fingerprint: of what the rows say, whatever file or order they come in.
        scored_at: when, UTC in ISO 8601.
    """

    kind: str
    n: int
    metrics: dict[str, float]
    baseline: dict[str, float]
    baseline_answer: str | None
    slices: dict[str, dict[str, dict[str, float]]]
    classes: dict[str, dict[str, float]]
    predictions: list[Prediction]
    duration_s: float
    labels: list[str] = dataclasses.field(default_factory=list)
    intervals: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    cost: dict[str, float] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    sections: dict[str, Any] = dataclasses.field(default_factory=dict)
    slice_intervals: dict[str, dict[str, dict[str, tuple[float, float]]]] = dataclasses.field(default_factory=dict)
    subject: str = ""
    data: list[str] = dataclasses.field(default_factory=list)
    data_fingerprint: str = ""
    scored_at: str = ""

    @property
    def headline(self) -> str:
        """Name of the metric that says it all: accuracy, exact_match, ... or, where nothing can be compared, loss."""
        known = ("accuracy", "exact_match", "dialogue_success", "judge", "loss")
        return next((name for name in known if name in self.metrics), next(iter(self.metrics), "n"))

    def summary(self) -> dict[str, Any]:
        """Everything but the single predictions, ready for JSON."""
        return {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "predictions"
        }

    def write_predictions(self, path: Path) -> None:
        """One JSON object a line for each row."""
        with path.open("w", encoding="utf-8") as lines:
            for prediction in self.predictions:
                lines.write(json.dumps(dataclasses.asdict(prediction), ensure_ascii=False) + "\n")
