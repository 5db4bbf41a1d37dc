"""Scores of predicted labels. Each is a function of counts per class, so that it resamples as a matrix product."""

from __future__ import annotations

import numpy as np

from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums


def accuracy(rows: Rows) -> list[float] | None:
    """Share of rows with the right label."""
    pairs = zip(rows.references, rows.outputs, rows.is_compared, strict=True)
    return [float(want == got) if both else np.nan for want, got, both in pairs] if rows.is_compared.any() else None


def class_counts(rows: Rows) -> np.ndarray:
    """What each row adds to (hits, predicted, true) of each class that occurs, shape (n, 3 * classes)."""
    names = {name: index for index, name in enumerate(sorted({*rows.references, *rows.outputs} - {None}))}  # type: ignore[type-var]
    counts = np.zeros((len(rows), 3, len(names)))
    for line, want, got, both in zip(counts, rows.references, rows.outputs, rows.is_compared, strict=True):
        if both:
            line[0, names[want]] = want == got  # type: ignore[index]
            line[1, names[got]] = line[2, names[want]] = 1.0  # type: ignore[index]
    return counts.reshape(len(rows), -1)


def macro_f1(rows: Rows) -> Sums | None:
    """Mean over classes of F1, every class of the same weight (classes that occur nowhere left out)."""
    return Sums(class_counts(rows), _macro_f1) if rows.is_compared.any() else None


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    hits, predicted, true = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    occurs = predicted + true > 0
    f1 = np.where(occurs, 2 * hits / np.maximum(predicted + true, 1), 0.0)
    return f1.sum(-1) / np.maximum(occurs.sum(-1), 1)


def class_report(rows: Rows) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and rows of each label."""
    from sklearn.metrics import precision_recall_fscore_support

    pairs = [
        (one, other) for one, other, both in zip(rows.references, rows.outputs, rows.is_compared, strict=True) if both
    ]
    references, outputs = [str(want) for want, _ in pairs], [str(got) for _, got in pairs]
    labels = sorted({*references, *outputs})
    columns = precision_recall_fscore_support(references, outputs, labels=labels, zero_division=0)
    return {
        label: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "n": int(n)}
        for label, precision, recall, f1, n in zip(labels, *columns, strict=True)
    }
