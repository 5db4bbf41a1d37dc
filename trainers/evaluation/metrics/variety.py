"""How varied answers are: among themselves, within one, and against what was trained on."""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.metrics.base import LeftOut, Notes
from trainers.evaluation.metrics.common import parse_json
from trainers.evaluation.metrics.translation import MAX_ORDER, bleu_of
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Whole

_WORDS = re.compile(r"\w+")
ROWS_AT_ONCE = 10_000
"""Rows of training data whose n-grams are gathered before double ones are thrown away."""


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return _WORDS.findall(text.lower())


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of `n` tokens, in order."""
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


def distinct(rows: Rows, n: Sequence[int] = (1, 2, 3)) -> dict[str, Whole] | None:
    """`distinct.N`: of all runs of N words in the answers, the share that is unlike the others (Li et al., 2016).

    It falls with the number of answers, so compare models over the same rows. Rows drawn twice repeat themselves, so
    intervals lie below the value.
    """
    outputs = [words(one or "") for one in rows.outputs]
    return {str(size): _distinct(outputs, size) for size in n} if any(outputs) else None


def _distinct(outputs: Sequence[Sequence[str]], size: int) -> Whole:
    number: dict[tuple[str, ...], int] = {}
    ids = [np.array([number.setdefault(one, len(number)) for one in ngrams(tokens, size)], int) for tokens in outputs]
    lengths = np.array([len(one) for one in ids])

    def of(drawn: np.ndarray) -> float:
        total = int(lengths[drawn].sum())
        seen = np.zeros(len(number), bool)
        for at in np.unique(drawn):
            seen[ids[at]] = True
        return int(seen.sum()) / total if total else float("nan")

    return Whole(len(outputs), of)


def self_bleu(rows: Rows, most: int = 500) -> np.ndarray | LeftOut:
    """Mean BLEU of each answer against all others: how much they say the same (Zhu et al., 2018). Lower is more varied.

    Args:
        most: of more answers, so many are taken, evenly; they are compared with one another only.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.helpers import extract_all_word_ngrams

    there = np.array([at for at, one in enumerate(rows.outputs) if one is not None])
    if len(there) < 2:
        return LeftOut(f"at least two answers are needed; found {len(there)}")
    taken = there[np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).astype(int))]
    tokenizer = BLEU().tokenizer
    counted = [extract_all_word_ngrams(tokenizer(str(rows.outputs[at]).rstrip()), 1, MAX_ORDER) for at in taken]
    found = np.full(len(rows), np.nan)
    found[taken] = _against_others([grams for grams, _ in counted], [length for _, length in counted])
    return found


def _against_others(grams: Sequence[Counter[Any]], lengths: Sequence[int]) -> np.ndarray:
    """Sentence BLEU of each text with all others as references, over the orders that the text has."""
    highest: dict[Any, tuple[int, int, int]] = {}  # the most often that one text has an n-gram, which, and the next
    for at, own in enumerate(grams):
        for gram, count in own.items():
            first, owner, second = highest.get(gram, (0, -1, 0))
            highest[gram] = (count, at, first) if count > first else (first, owner, max(second, count))
    scores = np.zeros(len(grams))
    for at, own in enumerate(grams):
        correct, total = np.zeros(MAX_ORDER), np.zeros(MAX_ORDER)
        for gram, count in own.items():
            first, owner, second = highest[gram]
            total[len(gram) - 1] += count
            correct[len(gram) - 1] += min(count, second if owner == at else first)
        others = [length for other, length in enumerate(lengths) if other != at]
        closest = min(others, key=lambda length: (abs(length - lengths[at]), length))
        scores[at] = _effective_bleu(lengths[at], closest, correct, total)
    return scores


def _effective_bleu(length: int, wanted: int, correct: np.ndarray, total: np.ndarray) -> float:
    """BLEU over the orders there are: sacrebleu's `effective_order`, meant for single sentences."""
    orders = int((total > 0).sum())
    if not orders:
        return 0.0
    filled = np.concatenate([[length, wanted], correct, np.maximum(total, 1)])
    if orders == MAX_ORDER:
        return float(bleu_of(filled))
    if not correct.any():
        return 0.0
    smooth = 2.0 ** np.cumsum(correct[:orders] == 0)
    precise = np.where(correct[:orders] > 0, correct[:orders], 1 / smooth) / total[:orders]
    return float(100 * min(1.0, np.exp(1 - wanted / length)) * np.exp(np.log(precise).mean()))


def repetition(rows: Rows, n: int = 4) -> list[float] | None:
    """Share of each answer's runs of `n` words that it has said before (seq-rep-n of Welleck et al., 2020), as a mean.

    Answers of fewer words do not count.
    """
    found = [_repeated(ngrams(words(one), n)) if one is not None else np.nan for one in rows.outputs]
    return None if all(np.isnan(one) for one in found) else found


def _repeated(grams: Sequence[tuple[str, ...]]) -> float:
    return 1 - len(set(grams)) / len(grams) if grams else float("nan")


def novelty(rows: Rows, against: str | Sequence[str], n: int = 4) -> dict[str, np.ndarray] | LeftOut:
    """`novelty.new`: share of each answer's runs of `n` words that no training row has; `novelty.unseen`: share of answers
    that are no training row's text, word for word.

    Args:
        against: files, folders or globs of training rows, of any form that `data.train` takes.
        n: words in a run. Answers of fewer words count for `unseen` only.
    """
    found = {name: rows.note(f"novelty_{name}") for name in ("new", "unseen")}
    return LeftOut("no row has an answer") if np.isnan(found["unseen"]).all() else found


def compare_with_training(predictions: Sequence[Prediction], against: str | Sequence[str], n: int = 4) -> Notes:
    """What of each answer stands in the training rows."""
    paths = (against,) if isinstance(against, str) else tuple(against)
    seen, texts = _training(paths, n)
    return [{} if one.output is None else _novelty(words(one.output), n, seen, texts) for one in predictions]


def _novelty(tokens: Sequence[str], n: int, seen: np.ndarray, texts: np.ndarray) -> dict[str, float]:
    grams = _hashes(ngrams(tokens, n))
    found = {"novelty_unseen": float(not _among(_hashes([tuple(tokens)]), texts).any())}
    return found | ({"novelty_new": float(1 - _among(grams, seen).mean())} if len(grams) else {})


def _among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which values are among sorted ones."""
    if not len(known):
        return np.zeros(len(values), bool)
    return known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values


def _hashes(grams: Sequence[tuple[str, ...]]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(" ".join(one).encode(), digest_size=8).digest() for one in grams)
    return np.frombuffer(digests, np.uint64)


@functools.lru_cache(maxsize=1)
def _training(paths: tuple[str, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the runs of words and of the whole texts of training rows, sorted; kept, since answers come in parts."""
    grams, texts = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    new_grams: list[np.ndarray] = []
    new_texts: list[np.ndarray] = []
    for number, text in enumerate(_training_texts(paths), 1):
        tokens = words(text)
        new_grams.append(_hashes(ngrams(tokens, n)))
        new_texts.append(_hashes([tuple(tokens)]))
        if number % ROWS_AT_ONCE == 0:
            grams, texts = np.unique(np.concatenate([grams, *new_grams])), np.concatenate([texts, *new_texts])
            new_grams, new_texts = [], []
    grams, texts = np.concatenate([grams, *new_grams]), np.concatenate([texts, *new_texts])
    if not len(texts):
        raise DataError(f"metric novelty: {', '.join(paths)}: no text was found; name files of training rows")
    return np.unique(grams), np.unique(texts)


def _training_texts(paths: Sequence[str]) -> Iterator[str]:
    """Every text in every row, whatever its column."""
    from trainers.data.sources import locate

    for plan in locate(list(paths)).plans:
        for _, _, row in plan.rows():
            yield from _leaves(parse_json(row))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
