"""Rows unlike the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.select import ByStatistics, OutliersStage
from trainers.data.features import points, term_counts, tfidf
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage

STATISTICS = (
    "length",
    "length of words",
    "share of letters",
    "share of digits",
    "share of punctuation",
    "share of capitals",
    "share of spaces",
    "variety of characters",
)
MAD_OF_NORMAL = 0.6745
"""Median absolute deviation of the normal distribution: it makes z-scores of it (Iglewicz and Hoaglin 1993)."""
LEAST_SPREAD = 0.02
"""A measure that is nearly the same in most rows, such as the share of digits, is not odd for being a little different."""


class Outliers(TwoPassStage[OutliersStage]):
    """Measures every row, then how far each measure is from the usual.

    Holds 32 bytes a row and twice that while it decides; by distance, up to 1.3 kB for its terms (0.2 kB for a row of 15
    words, three times that while it decides), or 2 bytes for each dimension of the model.
    """

    def look(self, records: list[Record]) -> Facts:
        texts = [record.text(self.config.roles) for record in records]
        by = self.config.by
        if isinstance(by, ByStatistics):
            return {"measure": np.array([measure(text) for text in texts], np.float32)}
        return term_counts(texts) if by.model is None else {"point": points(by.model, texts)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        names: tuple[str, ...]
        if "measure" in facts:
            scores, names = np.stack([robust_z(column) for column in facts["measure"].T], axis=1), STATISTICS
        else:
            scores, names = robust_z(distances(facts))[:, None], ("distance from the middle",)
            scores = np.maximum(scores, 0)  # near the middle is no fault
        worst = np.abs(scores).argmax(axis=1)
        score = scores[np.arange(len(scores)), worst]
        return {"what": [names[number] for number in worst], "score": score.astype(np.float32)}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if abs(decision["score"]) < self.config.by.threshold:
            return [record]
        found = f"{decision['what']}: {decision['score']:+.1f}"
        if self.config.action == "note":
            record.notes["outlier"] = found
        else:
            record.reject(f"outlier ({found})")
        return [record]


def measure(text: str) -> list[float]:
    """The statistics of a text. Lengths are logarithms, as they spread over orders of magnitude."""
    size, words = max(len(text), 1), text.split()
    letters, digits = sum(map(str.isalpha, text)), sum(map(str.isdigit, text))
    spaces, capitals = sum(map(str.isspace, text)), sum(map(str.isupper, text))
    return [
        np.log1p(len(text)),
        np.log1p(sum(map(len, words)) / max(len(words), 1)),
        letters / size,
        digits / size,
        (len(text) - letters - digits - spaces) / size,
        capitals / max(letters, 1),
        spaces / size,
        len(set(text)) / np.sqrt(size),
    ]


def robust_z(values: np.ndarray) -> np.ndarray:
    """How far each value is from the median, in units of which the normal distribution has 1."""
    deviation = values.astype(np.float64) - np.median(values)
    return deviation / max(np.median(np.abs(deviation)) / MAD_OF_NORMAL, LEAST_SPREAD)


def distances(facts: Facts) -> np.ndarray:
    """1 - cosine of each row with the mean of all."""
    if "terms" in facts:
        features = tfidf(facts)[0]
        middle = np.asarray(features.mean(axis=0)).ravel()
    else:
        features = facts["point"]
        middle = features.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(middle)
    return 1 - np.asarray(features @ (middle / (length or 1.0)).astype(np.float32)).ravel()
