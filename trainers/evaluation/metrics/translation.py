"""BLEU, chrF and TER of whole sets of answers, from sacrebleu's counts: 0 to 100, as sacrebleu gives them.

sacrebleu counts each row once (n-grams that match, lengths, edits); the scores are functions of the sums of these counts,
written here for many sums at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainers.evaluation.metrics.classification import share
from trainers.evaluation.metrics.common import accepted
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums

MAX_ORDER = 4


def bleu(rows: Rows, tokenize: str = "13a", lowercase: bool = False, references: str | None = None) -> Sums | None:
    """BLEU (Papineni et al., 2002) as sacrebleu computes it, with its exponential smoothing.

    Args:
        tokenize: sacrebleu's tokenizer: `13a`, `char` for languages without spaces, `intl`, `none`.
        references: column with further translations that are right.
    """
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    return _counted(rows, scorer, references, bleu_of)


def chrf(rows: Rows, word_order: int = 0, beta: int = 2, references: str | None = None) -> Sums | None:
    """chrF (Popović, 2015): F-score of the letters that stand together; needs no tokenizer.

    Args:
        word_order: 2 makes it chrF++.
        beta: how much more recall weighs than precision.
        references: column with further translations that are right.
    """
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF(word_order=word_order, beta=beta)
    return _counted(rows, scorer, references, lambda sums: _chrf_of(sums, beta))


def ter(rows: Rows, references: str | None = None) -> Sums | None:
    """Translation edit rate (Snover et al., 2006): edits to become the reference, in percent of its words.

    Args:
        references: column with further translations that are right.
    """
    from sacrebleu.metrics.ter import TER

    return _counted(rows, TER(), references, _ter_of)


def _counted(rows: Rows, scorer: Any, references: str | None, of: Callable[[np.ndarray], np.ndarray]) -> Sums | None:
    """What each row adds: a one for the row, then sacrebleu's counts."""
    wanted = accepted(rows, references)
    at = [at for at, answers in enumerate(wanted) if answers and rows.outputs[at] is not None]
    if not at:
        return None
    counts = counts_of(scorer, [str(rows.outputs[one]) for one in at], [wanted[one] for one in at])
    added = np.zeros((len(rows), 1 + counts.shape[1]))
    added[at, 0], added[at, 1:] = 1.0, counts
    return Sums(added, lambda sums: np.where(sums[..., 0] > 0, of(sums[..., 1:]), np.nan))


def counts_of(scorer: Any, outputs: Sequence[str], wanted: Sequence[Sequence[str]]) -> np.ndarray:
    """sacrebleu's counts of each answer, shape (n, counts)."""
    most = max(map(len, wanted))
    streams = [[answers[number] if number < len(answers) else None for answers in wanted] for number in range(most)]
    # sacrebleu 2.6 has no public name for it; its own bootstrap works on the same counts.
    return np.array(scorer._extract_corpus_statistics(outputs, streams), np.float64)


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """BLEU from (length, reference length, matches of orders 1 to 4, n-grams of orders 1 to 4), shape (..., 10)."""
    length, wanted = counts[..., 0], counts[..., 1]
    correct, total = counts[..., 2 : 2 + MAX_ORDER], counts[..., 2 + MAX_ORDER :]
    brevity = np.exp(np.minimum(1 - share(wanted, length, np.inf), 0.0))
    smooth = 2.0 ** np.cumsum(correct == 0, axis=-1)
    found = np.where(correct > 0, correct, 1 / smooth) / np.maximum(total, 1)
    is_defined = (total > 0).all(-1) & (correct > 0).any(-1)
    return np.where(is_defined, 100 * brevity * np.exp(np.log(found).mean(-1)), 0.0)


def _chrf_of(counts: np.ndarray, beta: int) -> np.ndarray:
    """chrF from (n-grams of the answer, of the reference, in both) of each order, shape (..., 3 * orders)."""
    given, wanted, both = np.moveaxis(counts.reshape(*counts.shape[:-1], -1, 3), -1, 0)
    is_there = (given > 0) & (wanted > 0)
    orders = is_there.sum(-1)
    precise = share(np.where(is_there, share(both, given), 0.0).sum(-1), orders)
    recalled = share(np.where(is_there, share(both, wanted), 0.0).sum(-1), orders)
    return 100 * share((1 + beta**2) * precise * recalled, beta**2 * precise + recalled)


def _ter_of(counts: np.ndarray) -> np.ndarray:
    edits, words = counts[..., 0], counts[..., 1]
    return 100 * share(edits, words, 1.0) * np.where((words > 0) | (edits > 0), 1.0, 0.0)
