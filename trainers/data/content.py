"""What a row says, without what does not matter: by this rows are told to be the same."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from trainers.data.record import Record

__all__ = ["USUAL", "content_hashes", "draws", "hash_text", "normalise"]

USUAL = ("case", "whitespace")
"""What usually does not matter."""
_NOT_WORDS = re.compile(r"[^\w\s]+|_+")
_APART_FROM_CONTENT = ("weight", "label")


def normalise(text: str, ignore: Sequence[str] = USUAL) -> str:
    """A text in Unicode's NFKC form, without the differences to be ignored: `case`, `whitespace`, `punctuation`."""
    text = unicodedata.normalize("NFKC", text)
    if "case" in ignore:
        text = text.casefold()
    if "punctuation" in ignore:
        text = _NOT_WORDS.sub(" ", text)
    return " ".join(text.split()) if "whitespace" in ignore else text


def hash_text(*parts: str) -> bytes:
    """16 bytes that stand for some texts."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def content_hashes(
    records: Sequence[Record], ignore: Sequence[str] = USUAL, roles: Sequence[str] | None = None, label: bool = False
) -> np.ndarray:
    """Two 64-bit numbers for each row, equal where rows say the same.

    Args:
        roles: compare the texts of these only; by default the whole row, tools and all, without label and weight.
        label: rows with different labels do not say the same.
    """
    digests = b"".join(
        hash_text(_content(record, ignore, roles), (record.label or "") if label else "") for record in records
    )
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def _content(record: Record, ignore: Sequence[str], roles: Sequence[str] | None) -> str:
    if roles is not None:
        return json.dumps([normalise(text, ignore) for text in record.texts(roles)])
    kept = {name: value for name, value in record.row.items() if name not in _APART_FROM_CONTENT}
    bare = Record(copy.deepcopy(kept))
    bare.map_texts(lambda text: normalise(text, ignore))
    return json.dumps(bare.row, sort_keys=True, default=str)


def draws(hashes: np.ndarray, *seeds: int) -> np.ndarray:
    """A number from 0 to 1 for each hash, as good as random, and the same wherever and whenever it is drawn.

    The hashes are good already, so that a round of splitmix64 over each with the seeds is enough.
    """
    mixed = hashes[:, 0] ^ np.uint64(int.from_bytes(hash_text(*map(str, seeds))[:8], "little"))
    with np.errstate(over="ignore"):
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53
