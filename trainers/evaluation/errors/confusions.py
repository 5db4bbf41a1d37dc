"""Which answer is taken for which, and labels that look wrong themselves."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from trainers.data.stages.label_errors import NOTHING, confident
from trainers.evaluation.confidence.calibrators import softmax
from trainers.evaluation.confidence.scores import scores_of_classes
from trainers.evaluation.rows import Rows

MOST_SHOWN, MOST_ANSWERS, LONGEST_ANSWER = 30, 500, 80
MOST_DOUBTFUL = 15
CLEAR_MARGIN = 0.5
"""By how much more the model must believe in another label."""


def confusions(rows: Rows, level: float = 0.95) -> list[dict[str, Any]]:
    """Pairs of right and given answer, the most frequent first: how often, which share of the right answer's rows that is with its
    Wilson interval, and how often it happens the other way round. Nothing where answers are free text."""
    from trainers.evaluation.statistics.intervals import wilson

    pairs = [
        (str(want), str(got))
        for want, got, both in zip(rows.references, rows.outputs, rows.is_compared, strict=True)
        if both
    ]
    of_answer = collections.Counter(want for want, _ in pairs)
    if len(of_answer) > max(MOST_ANSWERS, len(rows.labels)) or len(of_answer) > len(pairs) / 2:
        return []
    counted = collections.Counter((want, got) for want, got in pairs if want.strip() != got.strip())
    found: list[dict[str, Any]] = []
    for (want, got), number in counted.items():
        interval = wilson(number, of_answer[want], level)
        found.append(
            {
                "reference": want[:LONGEST_ANSWER],
                "output": got[:LONGEST_ANSWER],
                "n": number,
                "of": of_answer[want],
                "rate": number / of_answer[want],
                "interval": [interval.low, interval.high],
                "reverse": counted.get((got, want), 0),
            }
        )
    return sorted(found, key=lambda one: (-one["n"], -one["rate"], one["reference"]))[:MOST_SHOWN]


def doubtful_labels(rows: Rows) -> dict[str, Any] | None:
    """Evaluated rows whose own label is likely wrong: the model, which never learnt from them, is confident of another one.

    Confident is at least as sure as it is on average of rows with that label (Northcutt et al. 2021, arXiv 1911.00068), and
    by `CLEAR_MARGIN` surer than of the label given. A suspicion: a model that is wrong with confidence looks the same.
    """
    scores = scores_of_classes(rows)
    if scores is None:
        return None
    probable = softmax(scores.logits).astype(np.float16)
    suggested, margin = confident(probable, scores.classes)
    doubtful = (suggested != NOTHING) & (suggested != scores.classes) & (margin >= CLEAR_MARGIN)
    surest = [at for at in np.argsort(-margin, kind="stable") if doubtful[at]][:MOST_DOUBTFUL]
    return {
        "n": int(doubtful.sum()),
        "share": float(doubtful.mean()),
        "rows": [
            {
                **_short(rows, int(scores.index[at])),
                "label": scores.labels[scores.classes[at]],
                "suggested": scores.labels[suggested[at]],
                "margin": float(margin[at]),
            }
            for at in surest
        ],
    }


def _short(rows: Rows, at: int) -> dict[str, Any]:
    one = rows.predictions[at]
    return {"place": one.place, "text": (one.prompt or "")[:200]}
