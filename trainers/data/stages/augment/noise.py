"""Mistakes as people, keyboards and scanners make them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from cluster.config.stages.augment import NoiseStage
from trainers.data.stages.augment.base import Draft, TextAugmenter
from trainers.data.stages.augment.words import is_kept, join_words, split_words

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
OCR_CONFUSIONS = {
    "o": "0", "0": "o", "l": "1", "1": "l", "i": "l", "s": "5", "5": "s", "b": "6", "g": "9", "e": "c", "c": "e",
    "m": "rn", "rn": "m", "w": "vv", "cl": "d", "d": "cl", "h": "b", "u": "v", "n": "ri", "O": "0", "I": "l", "S": "5",
    "B": "8", "8": "B", "Z": "2", "2": "Z",
}  # fmt: skip
"""What optical character recognition takes for what."""
_OCR = re.compile("|".join(sorted(map(re.escape, OCR_CONFUSIONS), key=len, reverse=True)))


def _neighbours() -> dict[str, str]:
    """For each letter those beside it; a row of a keyboard is set off by half a key from the one above."""
    found: dict[str, str] = {}
    for number, row in enumerate(_ROWS):
        for column, letter in enumerate(row):
            places = [(number, column - 1), (number, column + 1), (number - 1, column), (number - 1, column + 1)]
            places += [(number + 1, column - 1), (number + 1, column)]
            found[letter] = "".join(
                _ROWS[line][place] for line, place in places if 0 <= line < 3 and 0 <= place < len(_ROWS[line])
            )
    return found


NEIGHBOURS = _neighbours()
"""Letter -> letters that lie beside it on a QWERTY keyboard."""


class Noise(TextAugmenter[NoiseStage]):
    """Goes over a copy's texts once for each kind of mistake that has a rate."""

    def change(self, text: str, draft: Draft) -> str:
        config, rng = self.config, draft.rng
        words = split_words(text)
        for rate, act in ((config.delete, delete), (config.swap, swap), (config.insert, insert)):
            words = act(words, rate, rng) if rate else words
        text = join_words([(typo(word, config.typos, rng), gap) for word, gap in words] if config.typos else words)
        if config.ocr:
            text = misread(text, config.ocr, rng)
        for probability, alter in ((config.truncate, truncate), (config.format, reformat), (config.case, recase)):
            if rng.random() < probability:
                text = alter(text, rng)
        return text


Words = list[tuple[str, str]]


def delete(words: Words, rate: float, rng: random.Random) -> Words:
    """Without some words; at least one is left."""
    found = [word for word in words if is_kept(word[0]) or rng.random() >= rate] or words[:1]
    return [*found[:-1], (found[-1][0], words[-1][1])] if found else []


def swap(words: Words, rate: float, rng: random.Random) -> Words:
    """Some words have changed places with the next; the space stays where it was."""
    words = list(words)
    for here in range(len(words) - 1):
        if rng.random() < rate:
            (one, gap), (other, next_gap) = words[here : here + 2]
            words[here : here + 2] = [(other, gap), (one, next_gap)]
    return words


def insert(words: Words, rate: float, rng: random.Random) -> Words:
    """Some words are followed by another word of the text."""
    sources = [word for word, _ in words if not is_kept(word)]
    found: Words = []
    for word, gap in words:
        found.append((word, gap))
        if sources and rng.random() < rate:
            found[-1:] = [(word, gap or " "), (rng.choice(sources), gap)]
    return found


def typo(word: str, rate: float, rng: random.Random) -> str:
    """A word with some letters mistyped; digits, signs and the case of letters stay."""
    if is_kept(word):
        return word
    letters, here = list(word), 0
    while here < len(letters):
        if letters[here].lower() in NEIGHBOURS and rng.random() < rate:
            letters[here : here + 2] = _mistype(letters[here : here + 2], rng)
            here += 1
        here += 1
    return "".join(letters)


def _mistype(pair: list[str], rng: random.Random) -> list[str]:
    letter, rest = pair[0], pair[1:]
    beside = rng.choice(NEIGHBOURS[letter.lower()])
    choices: list[Callable[[], list[str]]] = [
        lambda: [beside.upper() if letter.isupper() else beside, *rest],
        lambda: [letter, letter, *rest],
        lambda: rest or [letter],
        lambda: [*rest, letter],
    ]
    return rng.choice(choices)()


def misread(text: str, rate: float, rng: random.Random) -> str:
    """Some characters taken for others that look like them."""
    return _OCR.sub(lambda found: OCR_CONFUSIONS[found[0]] if rng.random() < rate else found[0], text)


def truncate(text: str, rng: random.Random) -> str:
    """Broken off after a word of the second half."""
    words = split_words(text)
    if len(words) < 2:
        return text
    return join_words(words[: rng.randrange((len(words) + 1) // 2, len(words))]).rstrip()


def recase(text: str, rng: random.Random) -> str:
    """In another case."""
    return rng.choice([text.lower(), text.upper(), text[:1].swapcase() + text[1:]])


def reformat(text: str, rng: random.Random) -> str:
    """With other punctuation or spacing."""
    stripped = text.rstrip(".!?")
    return rng.choice(
        [
            stripped,
            stripped + rng.choice(["...", "!", "!!", " ?"]),
            re.sub("[,;:'\"]", "", text),
            text.replace(" ", "  "),
        ]
    )
