"""Slurs and obscene words, by lists; and what a classifier objects to.

The packaged lists are those of glin-profanity: 416 English words and lists of 23 other languages, in a package that is
kept. better-profanity's list, which many use, has not changed since 2020 and holds words such as `pot`, `kill` and `god`:
it finds something in 65 rows of GSM8K and 39 of 300 web pages, the list used here in 8 and none.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from cluster.config.stages.clean import BlocklistStage, Toxicity
from cluster.exceptions import ConfigError
from trainers.data.record import Record
from trainers.data.stages.base import RowStage, StageContext

MASK = "***"
LEET = str.maketrans("@4301!5$7+8", "aaeoiissttb")
"""Signs that stand for letters."""
_TOKEN = re.compile(r"[\w@$!+]+")
_SPELT = re.compile(r"(?<!\w)[\w@$](?:([ .\-_*])[\w@$])(?:\1[\w@$])+(?!\w)")
"""Letters with the same sign between each two, as in `s.h.i.t`."""
_GAP = re.compile(r"[\s_-]+")
"""What may stand between the words of a phrase."""
_RUN = re.compile(r"(.)\1+")

Span = tuple[int, int, str]


class Blocklist(RowStage[BlocklistStage]):
    """Looks for listed words, patterns and toxic texts."""

    def __init__(self, config: BlocklistStage, context: StageContext) -> None:
        super().__init__(config, context)
        self.words = WordList(listed_words(config))
        self.patterns = [re.compile(pattern, re.IGNORECASE) for pattern in config.patterns]
        self.classifier = Classifier(config.toxicity) if config.toxicity is not None else None

    @classmethod
    def inputs(cls, config: BlocklistStage) -> Any:
        """The words, wherever they come from."""
        words = "\n".join(sorted(listed_words(config)))
        return [hashlib.sha256(words.encode()).hexdigest(), metadata.version("glin-profanity")]

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            texts = record.texts(self.config.roles)
            found = list(dict.fromkeys(word for text in texts for _, _, word in self.find(text)))
            if found:
                record.notes["blocklist"] = found
            if found and self.config.action == "reject":
                record.reject(f"blocked word ({', '.join(found[:3])})")
            elif found and self.config.action == "mask":
                record.map_texts(self.mask, self.config.roles)
        if self.classifier is not None:
            self._score([record for record in records if record.rejected is None], self.classifier)
        return records

    def find(self, text: str) -> list[Span]:
        """Start, end and listed form of what is in a text, in order; what overlaps counts once."""
        spans = [
            (match.start(), match.end(), match[0]) for pattern in self.patterns for match in pattern.finditer(text)
        ]
        found: list[Span] = []
        for span in sorted([*self.words.find(text), *spans]):
            if not found or span[0] >= found[-1][1]:
                found.append(span)
        return found

    def mask(self, text: str) -> str:
        """The text with a mask for each find."""
        for start, end, _ in reversed(self.find(text)):
            text = text[:start] + MASK + text[end:]
        return text

    def _score(self, records: list[Record], classifier: Classifier) -> None:
        texts = [(record, text) for record in records for text in record.texts(self.config.roles) if text.strip()]
        highest: dict[int, float] = collections.defaultdict(float)
        for (record, _), score in zip(texts, classifier.scores([text for _, text in texts]), strict=True):
            highest[id(record)] = max(highest[id(record)], score)
        for record in records:
            score = record.notes["toxicity"] = round(highest[id(record)], 4)
            if score >= classifier.config.threshold and self.config.action == "reject":
                record.reject(f"toxic text (score {score:.2f})")


class WordList:
    """Finds words and phrases, whatever their case, with letters repeated, replaced by signs, or set apart."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words: dict[tuple[str, ...], list[tuple[str, re.Pattern[str]]]] = collections.defaultdict(list)
        self.longest: dict[str, int] = collections.defaultdict(int)
        """Key of a first word -> words in the longest phrase that it begins."""
        self.literal: list[tuple[str, re.Pattern[str]]] = []
        """Those with other characters in them, such as `s&m`, are searched as they are."""
        for word in words:
            tokens = _GAP.split(word.casefold())
            if not all(map(_TOKEN.fullmatch, tokens)):
                self.literal.append((word, re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)))
                continue
            pattern = re.compile(" ".join("".join(f"{re.escape(letter)}+" for letter in one) for one in tokens))
            keys = tuple(map(_key, tokens))
            self.words[keys].append((word, pattern))
            self.longest[keys[0]] = max(self.longest[keys[0]], len(tokens))

    def find(self, text: str) -> Iterator[Span]:
        """Start, end and listed form of each find."""
        tokens = [(match.start(), match[0].rstrip("!+")) for match in _TOKEN.finditer(text)]
        for at, (_, token) in enumerate(tokens):
            longest = max(self.longest.get(key, 0) for key in _keys(token.casefold()))
            for last in range(at, min(at + longest, len(tokens))):
                if last > at and not _GAP.fullmatch(text, _end(tokens[last - 1]), tokens[last][0]):
                    break
                if word := self._listed([token.casefold() for _, token in tokens[at : last + 1]]):
                    yield tokens[at][0], _end(tokens[last]), word
        for word, pattern in self.literal:
            yield from ((match.start(), match.end(), word) for match in pattern.finditer(text))
        for match in _SPELT.finditer(text):
            if word := self._listed([match[0].replace(match[1], "").casefold()]):
                yield match.start(), match.end(), word

    def _listed(self, tokens: list[str]) -> str | None:
        letters = "".join(tokens)
        spellings = [tokens]
        if len(letters) > 2 and sum(map(str.isdigit, letters)) * 2 <= len(
            letters
        ):  # 455 is a number, and 8s are eights
            spellings.append([token.translate(LEET) for token in tokens])
        for spelling in spellings:
            for word, pattern in self.words.get(tuple(map(_key, spelling)), ()):
                if pattern.fullmatch(" ".join(spelling)):
                    return word
        return None


def _end(token: tuple[int, str]) -> int:
    return token[0] + len(token[1])


def _key(token: str) -> str:
    """The same for a word with and without repeated letters."""
    return _RUN.sub(r"\1", token)


@functools.lru_cache(maxsize=1 << 16)
def _keys(token: str) -> tuple[str, str]:
    """Keys of a word as it stands, and with signs read as letters."""
    return _key(token), _key(token.translate(LEET))


class Classifier:
    """A sequence classification model that scores texts, on the CPU."""

    batch_size = 16

    def __init__(self, config: Toxicity) -> None:
        from transformers import pipeline

        from trainers.models import resolve_model

        self.config = config
        try:
            self.pipeline = pipeline("text-classification", model=resolve_model(config.model), device="cpu", top_k=None)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"blocklist: toxicity.model={config.model} cannot be loaded ({error}); expected a folder or Hub id of a "
                "sequence classification model"
            ) from error
        names: Any = self.pipeline.model.config.id2label
        known = set(names.values())
        if lost := set(config.labels) - known:
            raise ConfigError(
                f"blocklist: {config.model} has no label {', '.join(sorted(lost))}, expected some of "
                f"{', '.join(sorted(known))}; change toxicity.labels"
            )

    def scores(self, texts: list[str]) -> list[float]:
        """For each text the highest probability of a label that counts."""
        if not texts:
            return []
        told: Any = self.pipeline(texts, batch_size=self.batch_size, truncation=True)
        return [max(one["score"] for one in each if one["label"] in self.config.labels) for each in told]


def listed_words(config: BlocklistStage) -> set[str]:
    """All words that are looked for.

    Raises:
        ConfigError: if a language has no list, the file is not there, or there is nothing to look for.
    """
    words = {word for language in config.languages for word in packaged_words(language)} | set(config.words)
    if config.words_file is not None:
        words |= _words_of_file(Path(config.words_file))
    words = {word.strip() for word in words} - {""}
    words -= {word for word in words if word.casefold() in {one.casefold() for one in config.allow}}
    if not (words or config.patterns or config.toxicity):
        raise ConfigError(
            "blocklist: there is nothing to look for; give languages, words, words_file, patterns or toxicity"
        )
    return words


def _words_of_file(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"blocklist: words_file {path} cannot be read ({error}); expected one word to a line"
        ) from error
    return {line.partition("#")[0].strip() for line in lines}


@functools.cache
def packaged_words(language: str) -> tuple[str, ...]:
    """The list of a language.

    Raises:
        ConfigError: if there is none.
    """
    folder = resources.files("glin_profanity") / "data" / "dictionaries"
    file = folder / f"{language}.json"
    if not file.is_file():
        known = sorted(one.name.removesuffix(".json") for one in folder.iterdir() if one.name[0].islower())
        raise ConfigError(f"blocklist: no list of {language} words, expected languages among {', '.join(known)}")
    return tuple(json.loads(file.read_text("utf-8"))["words"])
