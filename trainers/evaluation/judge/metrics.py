"""Metrics over what judges and people said of rows; None where nobody did."""

from __future__ import annotations

import numpy as np

from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums

SCORES = ("judge", "judge_correct", "judge_factuality")


def judge(rows: Rows) -> dict[str, Sums] | None:
    """Means of what the judge noted: `judge` and `judge.NAME` on the rubric's scale, `judge_correct` (grades, a partly
    correct answer counts half) and `judge_factuality` (share of an answer's claims that the sources support)."""
    said = dict.fromkeys(name for one in rows.predictions for name in one.notes)
    names = [name for name in said if name in SCORES or name.startswith("judge.")]
    return {name: Sums.mean(rows.note(name)) for name in names} or None


def judge_win_rate(rows: Rows) -> Sums | None:
    """Share of rows whose answer the judge prefers to the other one; ties, verdicts that turned with the order among
    them, count half."""
    return _mean(rows, "judge_win")


def human_rating(rows: Rows) -> Sums | None:
    """Mean over rows of the mean rating by people."""
    return _mean(rows, "human_rating")


def _mean(rows: Rows, note: str) -> Sums | None:
    values = rows.note(note)
    return None if np.isnan(values).all() else Sums.mean(values)
