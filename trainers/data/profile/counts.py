"""Counts over rows that add up: each block of rows gives one, and together they describe the whole data set."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import heapq
import json
import re
from typing import Any

from trainers.data.record import Record, to_json

SAMPLE = 2000
"""Rows of each split that are kept whole, for what cannot be counted block by block."""
WORDS_KEPT = 20_000
LENGTH_STEP = 8
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """Words in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def digest(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def normalised(text: str) -> str:
    """A text as duplicates are told by: letter case and white space do not matter."""
    return " ".join(text.lower().split())


@dataclasses.dataclass
class SplitCounts:
    """What is counted of the rows of one split.

    Attributes:
        rows, characters, words: totals.
        tokens: rows by length in tokens, rounded down to a multiple of `LENGTH_STEP`.
        labels, languages, pii, terms, sources: rows by class, language, kind of personal data, listed term, source.
        failed_rules: rows by quality rule that they fail.
        columns: rows that have a value in a column, by name.
        vocabulary: how often a word occurs, of the most frequent ones.
        texts: hash of each row's text, and hash of its text with its label.
        empty: rows with a text that is empty.
        augmented: rows that a stage made.
        sample: (hash, row as JSON with place, label and notes) of the rows with the smallest hashes.
    """

    rows: int = 0
    characters: int = 0
    words: int = 0
    empty: int = 0
    augmented: int = 0
    tokens: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    labels: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    languages: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    pii: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    terms: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    failed_rules: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    columns: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    slices: dict[str, collections.Counter[str]] = dataclasses.field(default_factory=dict)
    vocabulary: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    texts: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    sample: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def add(self, record: Record, slices: tuple[str, ...] = ()) -> None:
        """Count one row."""
        texts = record.texts()
        text = "\n".join(texts)
        words = words_of(text)
        self.rows += 1
        self.characters += len(text)
        self.words += len(words)
        self.empty += any(not one.strip() for one in texts)
        self.augmented += record.origin is not None
        self.vocabulary.update(words)
        self.columns.update(name for name, value in record.columns.items() if value not in (None, ""))
        for name in slices:
            self.slices.setdefault(name, collections.Counter())[str(record.columns.get(name, "(none)"))] += 1
        self._add_labels(record)
        key = digest(normalised(text))
        self.texts.append((key, digest(f"{key} {record.label}")))
        self._keep(key ^ digest(record.place), record)

    def _add_labels(self, record: Record) -> None:
        if record.label is not None:
            self.labels[record.label] += 1
        for label in record.row.get("labels") or ():
            self.labels[str(label)] += 1

    def note(self, found: dict[str, Any]) -> None:
        """Count what stages noted of a row."""
        self.languages.update([found["language"]] if found.get("language") else [])
        self.pii.update(found.get("pii", {}))
        self.terms.update(found.get("blocklist", {}))
        self.failed_rules.update(found.get("failed_rules", ()))

    def _keep(self, key: int, record: Record) -> None:
        shown = {"row": record.row, "place": record.place, "label": record.label, "columns": record.columns}
        entry = (-key, to_json(shown))
        if len(self.sample) < SAMPLE:
            heapq.heappush(self.sample, entry)
        elif entry > self.sample[0]:
            heapq.heapreplace(self.sample, entry)

    def merge(self, other: SplitCounts) -> None:
        """Add the counts of other rows."""
        for name in ("rows", "characters", "words", "empty", "augmented"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("tokens", "labels", "languages", "pii", "terms", "failed_rules", "columns", "vocabulary"):
            getattr(self, name).update(getattr(other, name))
        for name, values in other.slices.items():
            self.slices.setdefault(name, collections.Counter()).update(values)
        if len(self.vocabulary) > 2 * WORDS_KEPT:
            self.vocabulary = collections.Counter(dict(self.vocabulary.most_common(WORDS_KEPT)))
        self.texts += other.texts
        self.sample = heapq.nlargest(SAMPLE, self.sample + other.sample)

    def to_json(self) -> str:
        """The counts as they travel from a task to the driver."""
        return json.dumps({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @classmethod
    def from_json(cls, text: str) -> SplitCounts:
        """Counts that `to_json` wrote."""
        values = json.loads(text)
        for field in dataclasses.fields(cls):
            if "Counter" in str(field.type) and field.name != "slices":
                values[field.name] = collections.Counter(values[field.name])
        values["tokens"] = collections.Counter({int(length): rows for length, rows in values["tokens"].items()})
        values["slices"] = {name: collections.Counter(found) for name, found in values["slices"].items()}
        values["texts"] = [tuple(pair) for pair in values["texts"]]
        values["sample"] = [tuple(entry) for entry in values["sample"]]
        return cls(**values)

    def sampled(self) -> list[dict[str, Any]]:
        """The kept rows, in an order that says nothing."""
        return [json.loads(row) for _, row in sorted(self.sample, reverse=True)]
