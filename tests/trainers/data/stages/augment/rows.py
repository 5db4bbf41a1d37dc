"""A stage over a few rows, as the data room runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from cluster.config.stages import Stage
from trainers.data.record import Record
from trainers.data.stages import StageContext, build_stage
from trainers.data.staging import run_stage

QUESTIONS = [
    "When will my new card arrive in the post?",
    "I have not received my money back, please help.",
    "How do I top up with a cheque from another bank?",
    "Why was I charged twice for one payment today?",
]


def labelled(*texts: str, label: str = "card", **known: Any) -> list[Record]:
    """Classification rows of one class, each with a place of its own."""
    return [
        Record({"text": text, "label": label}, place=f"rows:{number}", order=(0, number), **known)
        for number, text in enumerate(texts)
    ]


def chat(question: str, answer: str) -> Record:
    """A conversation of one exchange."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Record({"messages": turns}, place="chat:1")


def run(records: Sequence[Record], *, seed: int = 0, number: int = 0, **settings: Any) -> list[Record]:
    """Rows after the stage that `settings` describe."""
    config = TypeAdapter(Stage).validate_python(settings)
    stage = build_stage(config, StageContext(seed=seed, number=number))
    return run_stage(stage, records)  # type: ignore[arg-type]


def made(records: Sequence[Record]) -> list[Record]:
    """Only the rows that were added."""
    return [record for record in records if record.origin is not None]


def texts(records: Sequence[Record]) -> list[str]:
    """What the rows say."""
    return [record.text() for record in records]
