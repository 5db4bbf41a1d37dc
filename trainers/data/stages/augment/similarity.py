"""How alike two texts are: by the letters that stand together, or by a model's idea of their meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trainers.models import resolve_model

Embed = Callable[[Sequence[str]], Any]
"""Texts -> one vector of length 1 each, as a numpy array."""

BATCH_SIZE = 64


def letters(texts: Sequence[str]) -> Any:
    """Counts of the 2 to 4 letters that stand together inside words. Needs no corpus, so a row's own texts decide alone."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), alternate_sign=False, n_features=2**18)
    return vectorizer.transform(texts)


class SentenceEncoder:
    """Averages the last token vectors of an encoder, as sentence-transformers' models are meant to be used."""

    def __init__(self, model: str) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        path = resolve_model(model)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(path)
        self._model: Any = AutoModel.from_pretrained(path, use_safetensors=True).to(self._device).eval()
        self._max_length = min(self._tokenizer.model_max_length, self._model.config.max_position_embeddings)

    def __call__(self, texts: Sequence[str]) -> Any:
        import numpy as np
        import torch

        by_length = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = np.zeros((len(texts), self._model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH_SIZE):
                rows = by_length[start : start + BATCH_SIZE]
                vectors[rows] = self._embed([texts[number] for number in rows]).cpu().numpy()
        return vectors

    def _embed(self, texts: list[str]) -> Any:
        import torch

        batch = self._tokenizer(
            texts, truncation=True, max_length=self._max_length, padding=True, return_tensors="pt"
        ).to(self._device)
        states = self._model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


def cosines(embed: Embed, texts: Sequence[str], others: Sequence[str]) -> list[float]:
    """Cosine of each text with its other."""
    import numpy as np

    one, two = embed(texts), embed(others)
    product = one.multiply(two) if hasattr(one, "multiply") else one * two
    return [float(value) for value in np.asarray(product.sum(axis=1)).ravel()]
