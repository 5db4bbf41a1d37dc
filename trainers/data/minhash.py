"""Which rows are nearly the same: MinHash signatures, banded so that only rows likely to be similar are compared.

A text is the set of its shingles; two texts are as similar as the share of all their shingles that they have in common
(Jaccard). Signatures agree in about that share of their entries. An entry is kept as one byte (b-bit MinHash, Li and
Koenig 2010), whose chance agreement of 1/256 is taken out of the estimate. Rows are bucketed by some bytes of their
signatures at a time, and those in a bucket are compared with its first few only, so the work is linear in rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainers.data.content import normalise

__all__ = ["ROWS_COMPARED", "Pairs", "rows_per_band", "shingles", "signatures", "similar_pairs", "similarity"]

ROWS_COMPARED = 8
"""With how many rows of a bucket, the first ones, each row of it is compared."""
_CHANCE = 1 / 256
_FOUND = 0.98
"""Share of pairs just as similar as the threshold that have to fall into a common bucket."""
_CHUNK = 1 << 16

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Later rows, earlier rows, and how similar they are."""


def shingles(text: str, unit: str, size: int, ignore: Sequence[str]) -> set[str]:
    """Runs of `size` characters or words of a text; of a shorter one the whole."""
    text = normalise(text, ignore)
    if unit == "characters":
        return {text[start : start + size] for start in range(max(1, len(text) - size + 1))} if text else set()
    words = text.split()
    return {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))} if words else set()


def signatures(sets: Sequence[set[str]], entries: int, seed: int) -> np.ndarray:
    """One byte of each entry of each set's signature."""
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_token_sets([list(one) for one in sets], entries, seed)
    return (np.array(matrix.to_rows(), np.uint32) & 0xFF).astype(np.uint8)


def rows_per_band(threshold: float, entries: int) -> int:
    """How many entries two rows must share to be compared: as many as still finds pairs just at the threshold."""
    for wide in range(entries, 1, -1):
        if 1 - (1 - threshold**wide) ** (entries // wide) >= _FOUND:
            return wide
    return 1


def similarity(signed: np.ndarray, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of pairs of rows."""
    found = np.empty(len(ones), np.float32)
    for start in range(0, len(ones), _CHUNK):
        part = slice(start, start + _CHUNK)
        found[part] = (signed[ones[part]] == signed[others[part]]).mean(axis=1)
    return np.clip((found - _CHANCE) / (1 - _CHANCE), 0, 1)


def similar_pairs(
    signed: np.ndarray, threshold: float, compare: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
) -> Pairs:
    """Pairs of rows at least as similar as the threshold, each once, by their numbers.

    Args:
        signed: signatures, the rows that others are compared with first.
        compare: which pairs (of later and earlier rows) are of interest; by default all.
    """
    rows, found, fresh = len(signed), np.empty(0, np.int64), []
    for later, earlier in _in_common_buckets(signed, rows_per_band(threshold, signed.shape[1])):
        wanted = slice(None) if compare is None else compare(later, earlier)
        ones, others = later[wanted], earlier[wanted]
        near = similarity(signed, ones, others) >= threshold
        fresh.append(ones[near] * rows + others[near])
        if sum(map(len, fresh)) > max(_CHUNK, len(found)):  # most pairs are found in several bands
            found, fresh = np.unique(np.concatenate([found, *fresh])), []
    later, earlier = np.divmod(np.unique(np.concatenate([found, *fresh])), max(rows, 1))
    return later, earlier, similarity(signed, later, earlier)


def _in_common_buckets(signed: np.ndarray, wide: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Later and earlier rows that share a band: band by band, and by which of the bucket's rows is the earlier one."""
    for start in range(0, signed.shape[1] - wide + 1, wide):
        keys = _keys(signed[:, start : start + wide])
        order = np.argsort(keys, kind="stable")  # within a bucket rows stay in their order
        ordered = keys[order]
        begins = np.ones(len(order), bool)
        begins[1:] = ordered[1:] != ordered[:-1]
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        for number in range(ROWS_COMPARED):
            later = np.flatnonzero(np.arange(len(order)) - first > number)
            if not later.size:
                break
            yield order[later], order[first[later] + number]


def _keys(band: np.ndarray) -> np.ndarray:
    """A 64-bit number for the bytes of each row; pairs that share it by chance are told apart when compared."""
    keys = np.full(len(band), 0xCBF29CE484222325, np.uint64)  # FNV-1a
    with np.errstate(over="ignore"):
        for column in band.T:
            keys = (keys ^ column) * np.uint64(0x100000001B3)
    return keys
