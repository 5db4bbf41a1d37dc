"""Rows to clean, and a stage's way over them."""

import copy
from typing import Any

from cluster.config.stages import parse_stages
from trainers.data.record import Record
from trainers.data.stages import StageContext, build_stage
from trainers.data.staging import run_stage


def run(*rows: dict[str, Any] | str, context: StageContext | None = None, **settings: Any) -> list[Record]:
    """Rows after a stage; a text alone is a row that holds nothing else, `columns` in a row are those of its source."""
    [config] = parse_stages([settings])
    stage = build_stage(config, context or StageContext(seed=3))
    records = []
    for number, row in enumerate(rows):
        known = {"text": row} if isinstance(row, str) else copy.deepcopy(row)
        records.append(Record(columns=known.pop("columns", {}), row=known, place=f"rows.jsonl:{number + 1}"))
    return run_stage(stage, records)


def one(row: dict[str, Any] | str, **settings: Any) -> Record:
    """A row after a stage."""
    [record] = run(row, **settings)
    return record


def changed(text: str, **settings: Any) -> str:
    """A text after a stage."""
    return one(text, **settings).row["text"]


def chat(answer: str, question: str = "Where is my order?") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
