"""Words replaced by what a masked language model expects in their place."""

from __future__ import annotations

import random
from typing import Any

from cluster.config.stages.augment import MaskedLmStage
from cluster.exceptions import ConfigError
from trainers.data.stages.augment.base import Augmenter, Draft
from trainers.data.stages.augment.similarity import BATCH_SIZE
from trainers.data.stages.augment.tables import folder_stamp
from trainers.data.stages.augment.words import is_kept, join_words, like, peel, split_words
from trainers.data.stages.base import StageContext
from trainers.models import resolve_model


class MaskedLm(Augmenter[MaskedLmStage]):
    """Masks the drawn words of all copies at once, each word by itself, and draws from what the model says.

    A text with several masks is seen once, all of them masked, so that one replacement does not know of the other.
    """

    batch_size = 64

    def __init__(self, config: MaskedLmStage, context: StageContext) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        super().__init__(config, context)
        self.function_words = ENGLISH_STOP_WORDS
        self.model = _FillMask(config.model, config.top_k)

    @classmethod
    def inputs(cls, config: MaskedLmStage) -> Any:
        """Which model it is."""
        return folder_stamp(config.model)

    def augment(self, drafts: list[Draft]) -> None:
        roles = self.config.roles
        masked = [
            (draft, text, self._choose(text, draft.rng)) for draft in drafts for text in draft.record.texts(roles)
        ]
        guesses = iter(self.model([self._mask(text, chosen) for _, text, chosen in masked]))
        new = iter([_fill(text, chosen, next(guesses), draft.rng) for draft, text, chosen in masked])
        for draft in drafts:
            draft.record.map_texts(lambda _: next(new), roles)

    def _choose(self, text: str, rng: random.Random) -> list[int]:
        """Numbers of the words to replace."""
        bare = [peel(word)[1] for word, _ in split_words(text)]
        able = [n for n, word in enumerate(bare) if word.isalpha() and not self._stays(word)]
        count = max(round(self.config.rate * len(bare)), 1)
        return sorted(rng.sample(able, min(count, len(able))))

    def _stays(self, word: str) -> bool:
        return word.lower() in self.function_words or is_kept(word)

    def _mask(self, text: str, chosen: list[int]) -> str:
        words = split_words(text)
        for number in chosen:
            before, _, after = peel(words[number][0])
            words[number] = (f"{before}{self.model.mask}{after}", words[number][1])
        return join_words(words)


Guesses = list[list[tuple[str, float]]]
"""For each mask of a text the likeliest words with their probabilities."""


def _fill(text: str, chosen: list[int], guesses: Guesses, rng: random.Random) -> str:
    """The text with a drawn guess for each word; those that were cut off stay."""
    words = split_words(text)
    for number, choices in zip(chosen, guesses, strict=False):
        before, bare, after = peel(words[number][0])
        others = [(word, probability) for word, probability in choices if word.lower() != bare.lower()]
        if others:
            [drawn] = rng.choices([word for word, _ in others], [probability for _, probability in others])
            words[number] = (f"{before}{like(bare, drawn)}{after}", words[number][1])
    return join_words(words)


class _FillMask:
    """A masked language model that names whole words only."""

    def __init__(self, model: str, top_k: int) -> None:
        import torch
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        path = resolve_model(model)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(path)
        if self._tokenizer.mask_token is None:
            raise ConfigError(
                f"model={model}: its tokenizer has no mask token; name a masked language model, such as BERT"
            )
        self._model: Any = AutoModelForMaskedLM.from_pretrained(path, use_safetensors=True).to(self._device).eval()
        self._max_length = min(self._tokenizer.model_max_length, self._model.config.max_position_embeddings)
        self._words = self._whole_words()
        self._top_k = min(top_k + 1, int(self._words.sum()))  # one more, since the word itself is often among them

    @property
    def mask(self) -> str:
        """What stands for a word to be guessed."""
        return str(self._tokenizer.mask_token)

    def _whole_words(self) -> Any:
        """Which ids of the vocabulary are words by themselves, as a mask."""
        import torch

        vocabulary = self._tokenizer.get_vocab()
        marked = any(token[:1] in "Ġ▁" for token in vocabulary)
        mask = torch.zeros(self._model.config.vocab_size, dtype=torch.bool, device=self._device)
        for token, number in vocabulary.items():
            bare = token[1:] if marked and token[:1] in "Ġ▁" else token
            mask[number] = bare.isalpha() and len(bare) > 1 and (bare != token or not marked)
        return mask

    def __call__(self, texts: list[str]) -> list[Guesses]:
        by_length = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        found: list[Guesses] = [[] for _ in texts]
        for start in range(0, len(texts), BATCH_SIZE):
            rows = by_length[start : start + BATCH_SIZE]
            for number, guesses in zip(rows, self._guess([texts[number] for number in rows]), strict=True):
                found[number] = guesses
        return found

    def _guess(self, texts: list[str]) -> list[Guesses]:
        import torch

        batch = self._tokenizer(
            texts, truncation=True, max_length=self._max_length, padding=True, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            logits = self._model(**batch).logits.float().masked_fill(~self._words, -torch.inf)
        at_mask = batch["input_ids"] == self._tokenizer.mask_token_id
        return [self._likeliest(row[here]) for row, here in zip(logits, at_mask, strict=True)]

    def _likeliest(self, logits: Any) -> Guesses:
        best = logits.softmax(-1).topk(self._top_k)
        return [
            [(str(self._tokenizer.decode([token])).strip(), chance) for token, chance in zip(ids, chances, strict=True)]
            for ids, chances in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
