"""Texts as words and the space between them, so that what is put together again looks as it did."""

from __future__ import annotations

import re

_WORD = re.compile(r"(\S+)(\s*)")
_EDGES = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)
NEGATIONS = frozenset(
    ("no", "not", "nor", "never", "none", "nobody", "nothing", "cannot", "without", "neither", "hardly")
)


def split_words(text: str) -> list[tuple[str, str]]:
    """(word with its punctuation, space after it) for each word; space before the first belongs to it."""
    leading = text[: len(text) - len(text.lstrip())]
    words = _WORD.findall(text)
    return [(leading + words[0][0], words[0][1]), *words[1:]] if words else []


def join_words(words: list[tuple[str, str]]) -> str:
    """The text again."""
    return "".join(word + gap for word, gap in words)


def peel(word: str) -> tuple[str, str, str]:
    """Punctuation before, the word itself, punctuation after."""
    found = _EDGES.match(word)
    assert found is not None
    return found[1], found[2], found[3]


def is_kept(word: str) -> bool:
    """Whether changing the word would turn the meaning of a text round."""
    bare = peel(word)[1].lower()
    return bare in NEGATIONS or bare.endswith(("n't", "n’t"))


def like(word: str, other: str) -> str:
    """`other` in the case of `word`."""
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other
