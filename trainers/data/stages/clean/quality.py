"""Rules of thumb that tell prose worth learning from apart from lists of links, menus, gibberish and loops.

The rules and the thresholds for documents are those of MassiveText (Rae et al. 2021, "Scaling Language Models: Methods,
Analysis & Insights from Training Gopher", arXiv 2112.11446, tables A1 and A2) and the last two of FineWeb (Penedo et al.
2024, arXiv 2406.17557, section 3.6: line endings and short lines). FineWeb's third rule, 1 % of characters in repeated
lines, would refuse every page with a repeated heading, so Gopher's 20 % stands. Rules for repeated paragraphs are left
out: lines and word sequences find the same texts. The thresholds for chat are ours: what one-line answers, lists and
arithmetic pass, and loops and symbol noise do not.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from cluster.config.stages.clean import QualityRule, QualityStage
from trainers.data.record import OUTPUT_ROLES, Record
from trainers.data.stages.base import RowStage, StageContext
from trainers.data.stages.clean.fences import without_code

DOCUMENT: dict[str, Any] = {
    "min_words": 50, "max_words": 100_000, "min_word_length": 3.0, "max_word_length": 10.0, "max_symbols": 0.1,
    "min_alphabetic_words": 0.8, "min_stop_words": 2, "max_bullet_lines": 0.9, "max_ellipsis_lines": 0.3,
    "max_short_lines": 0.67, "min_line_endings": 0.12, "max_repeated_lines": 0.3, "max_top_ngram": {2: 0.2, 3: 0.18, 4: 0.16},
    "max_repeated_ngrams": {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
}  # fmt: skip
CHAT: dict[str, Any] = {
    "min_words": 1, "max_words": 20_000, "min_word_length": 1.0, "max_word_length": 15.0, "max_symbols": 0.3,
    "min_alphabetic_words": 0.0, "min_stop_words": 0, "max_bullet_lines": 1.0, "max_ellipsis_lines": 1.0,
    "max_short_lines": 1.0, "min_line_endings": 0.0, "max_repeated_lines": 0.5, "max_top_ngram": {2: 0.4, 3: 0.36, 4: 0.32},
    "max_repeated_ngrams": {5: 0.5},
}  # fmt: skip
FEWEST_WORDS = 10
"""Shares of fewer words than that say nothing, so a shorter text passes the rules about them."""
FEWEST_LOOPING_WORDS = 30
"""The same for repeated sequences."""
GOPHER_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_SYMBOL = re.compile(r"#+|\.{3,}|…")
_SHORT_LINE = 30
_BULLET = re.compile(r"\s*([-*•‣▪●+]|\d+[.)])\s")
_LINE_END = (".", "!", "?", "…", '"', "'", "”", "’", "。", "！", "？", "؟", "।")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_WORD_RULES = ("words", "word_length", "symbols", "alphabetic_words", "stop_words", "short_lines")


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a text must keep to; the fields are those of the config."""

    min_words: int
    max_words: int
    min_word_length: float
    max_word_length: float
    max_symbols: float
    min_alphabetic_words: float
    min_stop_words: int
    max_bullet_lines: float
    max_ellipsis_lines: float
    max_short_lines: float
    min_line_endings: float
    max_repeated_lines: float
    max_top_ngram: Mapping[int, float]
    max_repeated_ngrams: Mapping[int, float]


class Quality(RowStage[QualityStage]):
    """Notes `quality` and rejects rows that fail a rule."""

    def __init__(self, config: QualityStage, context: StageContext) -> None:
        super().__init__(config, context)
        chosen = config.model_dump(include=set(DOCUMENT), exclude_none=True)
        self.thresholds = {
            name: Thresholds(**{**preset, **chosen}) for name, preset in (("document", DOCUMENT), ("chat", CHAT))
        }
        self.rules = [rule for rule in get_args(QualityRule) if rule not in config.skip]

    def __call__(self, records: list[Record]) -> list[Record]:
        for record in records:
            failed = self.judge(record)
            score = 1 - len(failed) / max(1, len(self.rules))
            record.notes["quality"] = {"score": round(score, 3), "failed": list(failed)}
            if failed and self.config.action == "reject":
                rule, found = next(iter(failed.items()))
                record.reject(f"quality rule {rule} ({found})")
        return records

    def judge(self, record: Record) -> dict[str, str]:
        """The rules that a row fails, each with what was found."""
        preset = self.config.preset
        if preset == "auto":
            preset = "document" if isinstance(record.row.get("text"), str) and record.label is None else "chat"
        text = record.text(self.config.roles)
        if preset == "chat" and self.config.roles is None:
            text = record.text(OUTPUT_ROLES) or text
        failed = judge_text(text, self.thresholds[preset], record.notes.get("language"))
        return {rule: failed[rule] for rule in self.rules if rule in failed}


def judge_text(text: str, limits: Thresholds, language: str | None = None) -> dict[str, str]:
    """The rules that a text fails, each with what was found."""
    prose = without_code(text)
    words, lines = prose.split(), [line for line in prose.split("\n") if line.strip()]
    if not words and text.strip():  # nothing but code
        return {}
    failed = judge_words(prose, words, limits, language)
    if len(_UNSPACED.findall(prose)) > 0.3 * len(prose):
        failed = {rule: found for rule, found in failed.items() if rule not in _WORD_RULES}
    else:
        failed |= judge_repetition([word.casefold() for word in words], limits)
    return failed | judge_lines(lines, limits)


def judge_words(prose: str, words: Sequence[str], limits: Thresholds, language: str | None) -> dict[str, str]:
    """Rules about words taken one by one."""
    count = len(words)
    failed = {}
    if not limits.min_words <= count <= limits.max_words:
        failed["words"] = f"{count} words"
    if count >= FEWEST_WORDS:
        length = sum(map(len, words)) / count
        if not limits.min_word_length <= length <= limits.max_word_length:
            failed["word_length"] = f"mean length {length:.1f}"
        symbols = len(_SYMBOL.findall(prose)) / count
        if symbols > limits.max_symbols:
            failed["symbols"] = f"{symbols:.2f} for each word"
        alphabetic = sum(any(map(str.isalpha, word)) for word in words) / count
        if alphabetic < limits.min_alphabetic_words:
            failed["alphabetic_words"] = f"{alphabetic:.0%} of words have a letter"
    known = stop_words(language)
    if limits.min_stop_words and known:
        found = len(known.intersection(word.casefold().strip(".,;:!?\"'()") for word in words))
        if found < limits.min_stop_words:
            failed["stop_words"] = f"{found} stop words"
    return failed


def judge_lines(lines: Sequence[str], limits: Thresholds) -> dict[str, str]:
    """Rules about shares of lines."""
    if not lines:
        return {}
    stripped = [line.strip() for line in lines]
    shares = {
        "bullet_lines": (sum(bool(_BULLET.match(line)) for line in lines), limits.max_bullet_lines),
        "ellipsis_lines": (sum(line.endswith(("...", "…")) for line in stripped), limits.max_ellipsis_lines),
        "short_lines": (sum(len(line) <= _SHORT_LINE for line in stripped), limits.max_short_lines),
    }
    failed = {rule: f"{n} of {len(lines)} lines" for rule, (n, most) in shares.items() if n > most * len(lines)}
    ended = sum(line.endswith(_LINE_END) for line in stripped)
    if ended < limits.min_line_endings * len(lines):
        failed["line_endings"] = f"{ended} of {len(lines)} lines"
    again = repeated(stripped)
    share = sum(map(len, again)) / sum(map(len, stripped))
    if len(again) > limits.max_repeated_lines * len(lines) or share * 1.5 > limits.max_repeated_lines:
        failed["repeated_lines"] = f"{len(again)} of {len(lines)} lines"
    return failed


def judge_repetition(words: Sequence[str], limits: Thresholds) -> dict[str, str]:
    """Rules about word sequences that come again and again."""
    failed: dict[str, str] = {}
    if len(words) < FEWEST_LOOPING_WORDS:
        return failed
    characters = sum(map(len, words))
    for size, most in limits.max_top_ngram.items():
        counts = collections.Counter(zip(*(words[start:] for start in range(size)), strict=False))
        gram, times = counts.most_common(1)[0]
        share = sum(map(len, gram)) * times / characters
        if times > 2 and share > most:
            failed["top_ngram"] = f"{' '.join(gram)[:40]!r} {times} times"
    for size, most in limits.max_repeated_ngrams.items():
        share = _share_in_repeats(words, size) / characters
        if share > most:
            failed["repeated_ngrams"] = f"{share:.0%} of characters in repeated sequences of {size} words"
    return failed


def repeated(items: Sequence[str]) -> list[str]:
    """Those that were there before."""
    seen: set[str] = set()
    again = []
    for item in items:
        if item in seen:
            again.append(item)
        seen.add(item)
    return again


def _share_in_repeats(words: Sequence[str], size: int) -> int:
    """Characters in sequences of so many words that were there before, none counted twice."""
    seen: set[tuple[str, ...]] = set()
    covered, start = 0, 0
    while start + size <= len(words):
        gram = tuple(words[start : start + size])
        if gram in seen:
            covered += sum(map(len, gram))
            start += size
        else:
            seen.add(gram)
            start += 1
    return covered


@functools.cache
def stop_words(language: str | None) -> frozenset[str]:
    """Gopher's eight for English and where the language is unknown; a packaged list for another; none if there is none."""
    from stop_words import LANGUAGE_MAPPING, get_stop_words

    if language in (None, "en"):
        return GOPHER_STOP_WORDS
    return frozenset(get_stop_words(language)) if language in LANGUAGE_MAPPING else frozenset()
