"""From predictions to numbers. Pure functions, without a model or a cluster."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from trainers.evaluation.result import Prediction

Metrics = dict[str, float]


def parse_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None."""
    try:
        value = json.loads(text) if text is not None else None
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def most_common(references: Sequence[str | None]) -> str | None:
    """The reference given most often (the first such, so that the answer is the same every time)."""
    counted = Counter(reference for reference in references if reference is not None)
    return counted.most_common(1)[0][0] if counted else None


def loss_metrics(predictions: Sequence[Prediction]) -> Metrics:
    """Mean loss over the units that carry it, and its perplexity."""
    units = sum(prediction.loss_units for prediction in predictions)
    if not units:
        return {}
    loss = sum(prediction.loss_sum for prediction in predictions) / units
    return {"loss": loss, "perplexity": math.exp(min(loss, 80.0))}


class AnswerScorer:
    """Compares answers with references: as JSON objects where every reference is one, else as text.

    Two JSON objects match when they parse to equal values, whatever their spacing and order of keys. Text
    matches when it is equal without white space at the ends.
    """

    def __init__(self, references: Sequence[str]) -> None:
        objects = [parse_object(reference) for reference in references]
        self.is_json = bool(objects) and all(value is not None for value in objects)
        names = {name: None for value in objects if value is not None for name in value} if self.is_json else {}
        self.fields = list(names)
        self._common_values = {
            name: most_common([_dumped(value, name) for value in objects if value is not None]) for name in self.fields
        }

    def score(self, pairs: Sequence[tuple[str, str]]) -> Metrics:
        """Shares over (reference, answer) pairs: exact_match, and for JSON json_valid and one share for each field."""
        if not pairs:
            return {}
        if not self.is_json:
            return {"exact_match": _share([want.strip() == got.strip() for want, got in pairs])}
        parsed = [(parse_object(want) or {}, parse_object(got)) for want, got in pairs]
        return {
            "exact_match": _share([want == got for want, got in parsed]),
            "json_valid": _share([got is not None for _, got in parsed]),
            **{f"field.{name}": _share([_agree(want, got, name) for want, got in parsed]) for name in self.fields},
        }

    def baseline(self, references: Sequence[str], answer: str) -> Metrics:
        """Scores of always giving `answer`; of a field, always its most common value."""
        metrics = self.score([(reference, answer) for reference in references])
        parsed = [parse_object(reference) or {} for reference in references]
        for name in self.fields:
            metrics[f"field.{name}"] = _share([_dumped(value, name) == self._common_values[name] for value in parsed])
        return metrics


def _agree(want: dict[str, Any], got: dict[str, Any] | None, name: str) -> bool:
    return got is not None and _dumped(want, name) == _dumped(got, name)


def _dumped(value: dict[str, Any], name: str) -> str | None:
    return json.dumps(value[name], sort_keys=True) if name in value else None


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0


def label_metrics(references: Sequence[str], outputs: Sequence[str]) -> Metrics:
    """Accuracy and macro-F1 over the labels that occur."""
    from sklearn.metrics import f1_score

    return {
        "accuracy": _share([want == got for want, got in zip(references, outputs, strict=True)]),
        "macro_f1": float(f1_score(references, outputs, average="macro", zero_division=0)),
    }


def class_report(references: Sequence[str], outputs: Sequence[str]) -> dict[str, Metrics]:
    """Precision, recall, F1 and rows of each label."""
    from sklearn.metrics import precision_recall_fscore_support

    labels = sorted(set(references) | set(outputs))
    columns = precision_recall_fscore_support(references, outputs, labels=labels, zero_division=0)
    return {
        label: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "n": int(n)}
        for label, precision, recall, f1, n in zip(labels, *columns, strict=True)
    }
