"""How answers are written: how long, how hard to read, in which language, and whether several ways of asking agree."""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

import numpy as np

from trainers.evaluation.metrics.answers import normalise
from trainers.evaluation.metrics.base import LeftOut
from trainers.evaluation.metrics.common import column
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums, ratio

_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_SENTENCE_ENDS = re.compile(r"[.!?]+(?:\s|$)")
_VOWELS = re.compile(r"[aeiouy]+")
SHORTEST_TEXT = 20
"""In characters: what is shorter is in no language for certain."""


def length(rows: Rows) -> dict[str, Any] | None:
    """`length.words`, `length.characters` and, where they were counted, `length.tokens` of the answers, as means;
    `length.ratio` is the words of all answers over those of all references."""
    if all(one is None for one in rows.outputs):
        return None
    found: dict[str, Any] = {
        "words": [np.nan if one is None else float(len(one.split())) for one in rows.outputs],
        "characters": [np.nan if one is None else float(len(one)) for one in rows.outputs],
    }
    tokens = [np.nan if one.output_tokens is None else float(one.output_tokens) for one in rows.predictions]
    if not np.isnan(tokens).all():
        found["tokens"] = tokens
    if rows.is_compared.any():
        found["ratio"] = _length_ratio(rows)
    return found


def _length_ratio(rows: Rows) -> Sums:
    pairs = zip(rows.outputs, rows.references, rows.is_compared, strict=True)
    return Sums(
        np.array(
            [[len((got or "").split()), len((want or "").split())] if both else [0, 0] for got, want, both in pairs],
            float,
        ),
        ratio,
    )


def readability(rows: Rows) -> dict[str, np.ndarray] | LeftOut:
    """`readability.flesch` (reading ease: 60 and above is plain English) and `readability.grade` (Flesch-Kincaid: years of
    school), as means over the answers that have words. Made for English; syllables are counted by groups of vowels.

    Source: R. Flesch, A new readability yardstick, 1948; J. P. Kincaid et al., 1975.
    """
    counted = np.array([_counts(one) if one else (0, 0, 0) for one in rows.outputs], np.float64)
    sentences, spoken, syllables = np.where(counted > 0, counted, np.nan).T
    if np.isnan(spoken).all():
        return LeftOut("no answer has words")
    per_sentence, per_word = spoken / sentences, syllables / spoken
    return {
        "flesch": 206.835 - 1.015 * per_sentence - 84.6 * per_word,
        "grade": 0.39 * per_sentence + 11.8 * per_word - 15.59,
    }


def _counts(text: str) -> tuple[int, int, int]:
    """Sentences, words and syllables."""
    found = _WORDS.findall(text.lower())
    return max(len(_SENTENCE_ENDS.findall(text)), 1), len(found), sum(map(syllables_of, found))


def syllables_of(word: str) -> int:
    """Groups of vowels, without a silent e at the end."""
    groups = len(_VOWELS.findall(word))
    is_silent = word.endswith("e") and not word.endswith(("le", "ee")) and groups > 1
    return max(groups - is_silent, 1)


def language(rows: Rows, expected: str | None = None) -> list[float] | LeftOut:
    """Share of answers in the language of the reference, or in the one expected.

    Texts under 20 characters do not count: nothing can be said of them. Languages are told apart by py3langid.

    Args:
        expected: code of the language (`de`), or column that holds such codes.
    """
    if expected is None:
        wanted = [_language(one) for one in rows.references]
    elif len(expected) == 2 and not any(expected in one.columns for one in rows.predictions):
        wanted = [expected] * len(rows)
    else:
        wanted = [None if one is None else str(one).lower()[:2] for one in column(rows, expected)]
    given = [_language(one) for one in rows.outputs]
    found = [
        np.nan if want is None or got is None else float(want == got) for want, got in zip(wanted, given, strict=True)
    ]
    return LeftOut("no row has an answer and a language it should be in") if np.isnan(found).all() else found


def _language(text: str | None) -> str | None:
    return None if text is None or len(text) < SHORTEST_TEXT else _identifier().classify(text)[0]


@functools.lru_cache(maxsize=1)
def _identifier() -> Any:
    import py3langid

    return py3langid


def consistency(rows: Rows, group: str) -> list[float] | LeftOut:
    """Share of the other ways of asking the same (languages, wordings) that are answered alike, but for case,
    punctuation, articles and spaces. Intervals should draw whole groups.

    Args:
        group: column that says which rows ask the same.
    """
    groups = [None if one is None else str(one) for one in column(rows, group)]
    said = [None if one is None else normalise(one) for one in rows.outputs]
    answers: dict[str | None, Counter[str]] = {}
    for name, one in zip(groups, said, strict=True):
        if name is not None and one is not None:
            answers.setdefault(name, Counter())[one] += 1
    found = [_alike(answers.get(name, Counter()), one) for name, one in zip(groups, said, strict=True)]
    return LeftOut(f"no two rows have the same {group!r}") if np.isnan(found).all() else found


def _alike(answers: Counter[str], one: str | None) -> float:
    others = answers.total() - 1
    return (answers[one] - 1) / others if one is not None and others > 0 else float("nan")
