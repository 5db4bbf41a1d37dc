"""Short answers compared with references, more kindly than letter by letter."""

from __future__ import annotations

import re
import string
from collections import Counter
from decimal import Decimal, InvalidOperation

import numpy as np

from trainers.evaluation.metrics.base import LeftOut
from trainers.evaluation.metrics.common import accepted, best
from trainers.evaluation.rows import Rows

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MARKED = re.compile(r"####\s*(.+)")
_NUMBER = re.compile(r"-?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
LARGEST_EXPONENT = 4000


def normalise(text: str) -> str:
    """Lower case without punctuation, articles and double spaces, as SQuAD's script compares answers.

    Source: P. Rajpurkar et al., SQuAD, 2016, evaluate-v1.1.py.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def normalised_match(rows: Rows, references: str | None = None) -> np.ndarray | None:
    """Share of answers that equal a reference but for case, punctuation, articles and spaces.

    Args:
        references: column with further answers that are right.
    """
    wanted = [[normalise(one) for one in answers] for answers in accepted(rows, references)]
    return best(rows, wanted, lambda want, got: float(want == normalise(got)))


def token_f1(rows: Rows, references: str | None = None) -> np.ndarray | None:
    """Mean F1 of the words that answer and reference share, the best over the references (SQuAD).

    Args:
        references: column with further answers that are right.
    """
    return best(rows, accepted(rows, references), _token_f1)


def _token_f1(want: str, got: str) -> float:
    wanted, given = normalise(want).split(), normalise(got).split()
    if not wanted or not given:
        return float(wanted == given)
    return 2 * sum((Counter(wanted) & Counter(given)).values()) / (len(wanted) + len(given))


def final_number(text: str | None) -> Decimal | None:
    """The number a text ends in: the one after the last `####` (GSM8K), else the last there is."""
    if text is None:
        return None
    marked = _MARKED.findall(text)
    numbers = _NUMBER.findall(marked[-1] if marked else text)
    if not numbers:
        return None
    try:
        found = Decimal((numbers[0] if marked else numbers[-1]).replace(",", "").rstrip("."))
    except InvalidOperation:
        return None
    return found if abs(found.adjusted()) <= LARGEST_EXPONENT else None


def numeric_match(rows: Rows, tolerance: float = 0.0) -> list[float] | LeftOut | None:
    """Share of answers whose final number is the reference's; `1,000`, `1000.0` and `#### 1000` are the same number.

    Args:
        tolerance: largest difference, as a share of the reference, that still counts as the same.
    """
    if not rows.is_compared.any():
        return None
    wanted = [final_number(one) for one in rows.references]
    if all(one is None for one in wanted):
        return LeftOut("no reference has a number")
    pairs = zip(wanted, rows.outputs, strict=True)
    return [
        np.nan if want is None or got is None else _is_near(want, final_number(got), tolerance) for want, got in pairs
    ]


def _is_near(want: Decimal, got: Decimal | None, tolerance: float) -> float:
    return float(got is not None and abs(want - got) <= Decimal(tolerance) * abs(want))
