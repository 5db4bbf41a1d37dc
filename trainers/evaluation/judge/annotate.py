"""Predictions through a judge: what it found is noted of each row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from cluster.config.judge import JudgeConfig, Pairwise
from cluster.storage import Storage
from trainers.chat_engines import Sampling
from trainers.evaluation.judge.asking import Asked, Judge, Verdict
from trainers.evaluation.judge.questions import SYSTEM, Question, questions_of
from trainers.evaluation.result import Prediction

ASKED, NONSENSE, MISSING, PROBLEM = "judge_asked", "judge_nonsense", "judge_missing", "judge_problem"
"""Notes of every row that a judge was asked about: requests, answers that were not of the form asked for (the second try
included), requests without a verdict, and why."""
OTHER = "_other_answer"


def annotate(
    predictions: Sequence[Prediction], config: JudgeConfig, kept: Storage | None = None
) -> list[dict[str, Any]]:
    """What the judge says of each row, as notes; those of a question that it did not answer in form are left out.

    Args:
        kept: folder that its answers are kept in: what was asked before is not asked again.

    Raises:
        DataError: if a row lacks the column that holds its sources or the other answer, or the judge stops answering.
        ConfigError, ResourceError: if its engine cannot work.
    """
    jobs = [_Job(index, question, row) for index, row in enumerate(predictions) for question in questions_of(config)]
    jobs = [job for job in jobs if job.requests]
    asked = [_asked(config, job.question, request) for job in jobs for request in job.requests]
    sampling = Sampling(config.temperature, 1.0, config.max_tokens)
    judge = Judge(config.engine, sampling, structured=config.structured, kept=kept)
    verdicts = iter(judge.verdicts(asked))
    notes: list[dict[str, Any]] = [{} for _ in predictions]
    for job in jobs:
        _note(notes[job.index], job, [next(verdicts) for _ in job.requests])
    return notes


def prefer(
    predictions: Sequence[Prediction],
    others: Sequence[str | None],
    config: JudgeConfig,
    kept: Storage | None = None,
) -> list[dict[str, Any]]:
    """Answers of one model against those of another, row by row: the notes of `pairwise`.

    Args:
        others: the other model's answer to each row.
    """
    rows = [
        dataclasses.replace(row, columns={**row.columns, OTHER: other})
        for row, other in zip(predictions, others, strict=True)
    ]
    pairwise = (config.pairwise or Pairwise()).model_copy(update={"against": OTHER})
    only = config.model_copy(update={"pairwise": pairwise, "rubric": None, "factuality": None, "grading": None})
    return annotate(rows, only, kept)


class _Job:
    """A question about a row."""

    def __init__(self, index: int, question: Question, row: Prediction) -> None:
        self.index, self.question, self.row = index, question, row
        self.requests = question.ask(row)


def _asked(config: JudgeConfig, question: Question, request: str) -> Asked:
    messages = [{"role": "system", "content": config.system or SYSTEM}, {"role": "user", "content": request}]
    return Asked(messages, question.schema)


def _note(notes: dict[str, Any], job: _Job, verdicts: Sequence[Verdict]) -> None:
    values = [one.value for one in verdicts]
    missing = [one for one in verdicts if one.value is None]
    for name, count in (
        (ASKED, len(verdicts)),
        (NONSENSE, sum(one.nonsense for one in verdicts)),
        (MISSING, len(missing)),
    ):
        notes[name] = notes.get(name, 0) + count
    if missing:
        notes[PROBLEM] = missing[0].problem
        return
    given = [value for value in values if value is not None]
    notes |= job.question.notes(job.row, given)
    reasons = [value["reason"] for value in given if "reason" in value]
    if reasons:
        notes.setdefault("judge_reasons", []).extend(reasons)
