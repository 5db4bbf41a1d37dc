"""Words replaced by others that mean much the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cluster.config.stages.augment import SynonymsStage
from trainers.data.stages.augment.base import Draft, TextAugmenter
from trainers.data.stages.augment.tables import folder_stamp, table_stamp
from trainers.data.stages.augment.thesaurus import open_thesaurus
from trainers.data.stages.augment.words import is_kept, join_words, like, peel, split_words
from trainers.data.stages.base import StageContext


class Synonyms(TextAugmenter[SynonymsStage]):
    """Draws for every word whether it is replaced, and by which of its synonyms."""

    def __init__(self, config: SynonymsStage, context: StageContext) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        super().__init__(config, context)
        self.function_words = ENGLISH_STOP_WORDS
        self.thesaurus = open_thesaurus(config.thesaurus, config.model, config.neighbours, config.min_similarity)

    @classmethod
    def inputs(cls, config: SynonymsStage) -> Any:
        """The content of the thesaurus, or which model it is."""
        if config.thesaurus is not None:
            return folder_stamp(config.thesaurus) if Path(config.thesaurus).is_dir() else table_stamp(config.thesaurus)
        return folder_stamp(config.model or "")

    def change(self, text: str, draft: Draft) -> str:
        found: list[tuple[str, str]] = []
        for word, gap in split_words(text):
            drawn = draft.rng.random()
            other = self._synonym(word, draft) if drawn < self.config.rate + self.config.insert else None
            if other is None:
                found.append((word, gap))
            elif drawn < self.config.rate:
                found.append((other, gap))
            else:
                found += [(peel(other)[1], " "), (word, gap)]
        return join_words(found)

    def _synonym(self, word: str, draft: Draft) -> str | None:
        """Another word in the same case and between the same signs."""
        before, bare, after = peel(word)
        if bare.lower() in self.function_words or is_kept(bare):
            return None
        choices = self.thesaurus(bare.lower())
        return f"{before}{like(bare, draft.rng.choice(choices))}{after}" if choices else None
