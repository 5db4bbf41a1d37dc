"""What an evaluation found, as plain values."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One row: what was asked for and what the model gave.

    Attributes:
        place: file and line of the row.
        reference: expected answer or label; None where a row has no answer to compare (plain text).
        output: the model's answer or label; None where nothing was generated.
        loss_sum: summed over the tokens (or the one label) that carry loss.
        loss_units: how many those are.
        probability: of the chosen label; None for causal models.
        was_cut: the row did not fit into the model and was shortened.
        slices: value of each slice column.
    """

    place: str
    reference: str | None
    output: str | None
    loss_sum: float
    loss_units: int
    probability: float | None = None
    was_cut: bool = False
    slices: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """Scores of one model folder on some rows.

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

    @property
    def headline(self) -> str:
        """Name of the metric that says it all: accuracy, exact_match or, where nothing can be compared, loss."""
        return next(name for name in ("accuracy", "exact_match", "loss") if name in self.metrics)

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
