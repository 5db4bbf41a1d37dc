"""Tiny real things for the data tests: a tokenizer trained on the spot, files of a few rows."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig, Scratch
from cluster.storage import Storage
from trainers.data.store import Prepared

SENTENCES = [
    "user\nHello, who are you? assistant\nI am a small model that answers questions about orders.",
    "system\nYou are helpful. Where is my order 12345? It was shipped on Monday, and should arrive soon.",
    '{"name": "weather", "arguments": {"city": "Paris"}} The weather in Paris is sunny today.',
] * 4


@pytest.fixture(scope="session")
def tokenizer():
    """A scratch tokenizer with ChatML."""
    from trainers.tokenizer import load_tokenizer

    return load_tokenizer(Scratch(vocab_size=400), SENTENCES)


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., str]:
    """Writes rows as a JSONL file; returns its path."""

    def write(rows: Iterable[Any], name: str = "rows.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def prepared(tmp_path: Path, tokenizer: Any, ray_cluster: None) -> Callable[..., Prepared]:
    """Prepares data as `mobula train` does; keywords are those of the data section."""
    from trainers.data.prepare import prepare

    def run(train: str | list[str], objective: str = "sft", seed: int = 0, **data: Any) -> Prepared:
        config = RunConfig.model_validate(
            {
                "name": "tiny",
                "model": {"kind": "scratch"},
                "data": {"train": train, "max_length": 64, **data},
                "train": {"objective": {"kind": objective}, "seed": seed},
            }
        )
        return prepare(config, tokenizer, Storage.open(tmp_path / "prepared"))

    return run


def chat(question: str, answer: str) -> dict[str, Any]:
    """One row of shape messages."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
