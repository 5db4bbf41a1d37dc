"""Summaries and other free text compared with references, word by word or by meaning."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.evaluation.metrics.base import LeftOut, Notes
from trainers.evaluation.metrics.common import accepted, best
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

ROUGES = ("rouge1", "rouge2", "rougeL")
_WORDS = re.compile(r"\w+")
_WORDS_AND_SIGNS = re.compile(r"\w+|[^\w\s]")


class AnyScript:
    """Words of any script; rouge-score's own tokenizer keeps Latin letters and digits only."""

    def tokenize(self, text: str) -> list[str]:
        return _WORDS.findall(text.lower())


class NoSynonyms:
    """Stands where nltk asks WordNet, which is a download."""

    def synsets(self, word: str) -> list[Any]:
        return []


def rouge(
    rows: Rows, stem: bool = False, any_script: bool = False, references: str | None = None
) -> dict[str, list[float]] | None:
    """ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004): mean F-measure, the best over the references, from rouge-score.

    Args:
        stem: whether words count by their stems (English).
        any_script: whether words of other scripts than Latin count.
        references: column with further texts that are right.
    """
    from rouge_score.rouge_scorer import RougeScorer

    wanted = accepted(rows, references)
    scorer = RougeScorer(ROUGES, use_stemmer=stem, tokenizer=AnyScript() if any_script else None)
    found = [
        scorer.score_multi(answers, output) if answers and output is not None else None
        for answers, output in zip(wanted, rows.outputs, strict=True)
    ]
    if not any(found):
        return None
    return {name: [np.nan if one is None else one[name].fmeasure for one in found] for name in ROUGES}


def meteor(rows: Rows, references: str | None = None) -> np.ndarray | None:
    """METEOR (Lavie and Agarwal, 2007) by equal words and equal stems, from nltk; without synonyms, so lower than with them.

    Args:
        references: column with further texts that are right.
    """
    from nltk.translate.meteor_score import single_meteor_score

    def score(want: str, got: str) -> float:
        words = _WORDS_AND_SIGNS.findall(want), _WORDS_AND_SIGNS.findall(got)
        return float(single_meteor_score(*words, wordnet=NoSynonyms()))

    return best(rows, accepted(rows, references), score)


def embedding_similarity(rows: Rows, model: str) -> np.ndarray | LeftOut:
    """Mean cosine of the meanings of answer and reference, as an encoder sees them.

    Args:
        model: path or name of the encoder (one made for sentences, such as all-MiniLM-L6-v2).
    """
    found = rows.note("embedding_similarity")
    return LeftOut("no row has both an answer and a reference") if np.isnan(found).all() else found


def embed(predictions: Sequence[Prediction], model: str) -> Notes:
    """The cosine of each answer and its reference."""
    from trainers.data.stages.augment.similarity import cosines

    both = [at for at, one in enumerate(predictions) if one.reference is not None and one.output is not None]
    notes: Notes = [{} for _ in predictions]
    if both:
        outputs = [str(predictions[at].output) for at in both]
        references = [str(predictions[at].reference) for at in both]
        for at, cosine in zip(both, cosines(_encoder(model), outputs, references), strict=True):
            notes[at]["embedding_similarity"] = cosine
    return notes


@functools.lru_cache(maxsize=1)
def _encoder(model: str) -> Any:
    """Predictions come in parts; the encoder is loaded once."""
    from trainers.data.stages.augment.similarity import SentenceEncoder

    return SentenceEncoder(model)
