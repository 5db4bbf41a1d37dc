"""A support desk's inbox as training data: customer message in, `{"intent", "product", "urgency"}` out.

Messages are composed from the patterns in `phrases.py` and then roughened (typos, casing, missing
punctuation), so that no two are alike. The same seed gives the same files, byte for byte. No message of
a held-out file occurs in training, whatever its casing or punctuation.
"""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.quickstart.phrases import (
    ASIDES,
    CLOSINGS,
    DETAILS,
    GREETINGS,
    INTENTS,
    MONTHS,
    NAMES,
    PRODUCTS,
    URGENCY,
    Patterns,
)

SYSTEM = "Sort the customer's message. Answer with JSON: intent, product, urgency."
TYPO_SHARE = 0.15
UNPUNCTUATED_SHARE = 0.1
LOWER_CASE_SHARE = 0.15


@dataclass(frozen=True)
class Files:
    """Where the rows of the story lie."""

    train: Path
    validation: Path
    test: Path
    """Held-out messages; sentence patterns as in training."""
    unseen: Path
    """Held-out messages whose sentence patterns training never used."""


def write_files(
    folder: Path, *, train: int = 4000, validation: int = 200, test: int = 400, unseen: int = 200, seed: int = 0
) -> Files:
    """Write the four files of the story into `folder` and say where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(*(folder / f"{name}.jsonl" for name in ("train", "validation", "test", "unseen_patterns")))
    messages = distinct_messages(seed)
    for path, count, kind in (
        (files.test, test, "seen"),
        (files.unseen, unseen, "unseen"),
        (files.validation, validation, "seen"),
        (files.train, train, "seen"),
    ):
        lines = (json.dumps(row(*messages(kind), kind), ensure_ascii=False) + "\n" for _ in range(count))
        path.write_text("".join(lines), encoding="utf-8")
    return files


def row(message: str, answer: dict[str, str], kind: str) -> dict[str, Any]:
    """One conversation in the `messages` shape."""
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": message},
            {"role": "assistant", "content": json.dumps(answer, separators=(",", ":"))},
        ],
        "slice": kind,
    }


def distinct_messages(seed: int) -> "MessageSource":
    """A source that never gives the same message twice."""
    return MessageSource(random.Random(seed))


class MessageSource:
    """Draws (message, answer) pairs; two messages that differ only in casing or punctuation count as the same."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._given: set[str] = set()

    def __call__(self, kind: str) -> tuple[str, dict[str, str]]:
        while True:
            message, answer = _compose(self._rng, kind)
            key = re.sub(r"\W+", " ", message).strip().lower()
            if key not in self._given:
                self._given.add(key)
                return message, answer


def _compose(rng: random.Random, kind: str) -> tuple[str, dict[str, str]]:
    intent, product, urgency = (rng.choice(list(table)) for table in (INTENTS, PRODUCTS, URGENCY))
    other = rng.choice([name for name in PRODUCTS if name != product])
    filling = {
        "product": rng.choice(PRODUCTS[product]),
        "other": rng.choice(PRODUCTS[other]),
        "order": f"{rng.choice('AKMR')}{rng.randrange(10_000, 100_000)}",
        "customer": str(rng.randrange(100_000, 1_000_000)),
        "date": f"{rng.choice(MONTHS)} {rng.randrange(1, 29)}",
        "years": str(rng.randrange(2, 12)),
        "name": rng.choice(NAMES),
    }
    body = [_pick(rng, INTENTS[intent], kind), rng.choice(DETAILS), rng.choice(ASIDES)]
    body.insert(rng.randrange(len(body) + 1), _pick(rng, URGENCY[urgency], kind))
    sentences = [rng.choice(GREETINGS), *body, rng.choice(CLOSINGS)]
    message = " ".join(sentence for sentence in sentences if sentence).format(**filling)
    return _roughen(rng, message), {"intent": intent, "product": product, "urgency": urgency}


def _pick(rng: random.Random, patterns: Patterns, kind: str) -> str:
    return rng.choice(patterns.unseen if kind == "unseen" else patterns.seen)


def _roughen(rng: random.Random, message: str) -> str:
    """Write it as people do: a typo here, no capitals there."""
    if rng.random() < TYPO_SHARE:
        message = _with_typo(rng, message)
    if rng.random() < UNPUNCTUATED_SHARE:
        message = re.sub(r"[.,!]", "", message)
    return message.lower() if rng.random() < LOWER_CASE_SHARE else message


def _with_typo(rng: random.Random, message: str) -> str:
    """Swap, drop or double one letter inside a longer word."""
    words = list(re.finditer(r"[A-Za-z]{5,}", message))
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 2)
    mistakes = (message[at + 1] + message[at], message[at + 1], message[at] * 2 + message[at + 1])
    return message[:at] + rng.choice(mistakes) + message[at + 2 :]


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one written file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
