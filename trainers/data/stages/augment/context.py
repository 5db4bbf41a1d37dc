"""Related sentences put beside a text."""

from __future__ import annotations

from typing import Any

from cluster.config.stages.augment import ContextStage
from trainers.data.stages.augment.base import Draft, TextAugmenter
from trainers.data.stages.augment.tables import read_table, table_stamp
from trainers.data.stages.base import StageContext


class Context(TextAugmenter[ContextStage]):
    """Draws one of the sentences that are nearest to a text. The sentences and their TF-IDF are held in memory."""

    def __init__(self, config: ContextStage, context: StageContext) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        super().__init__(config, context)
        rows = read_table(config.sentences, "text")
        self.sentences = [str(row["text"]).strip() for row in rows]
        self.labels = [row.get("label") or None for row in rows]
        self.vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        self.vectors = self.vectorizer.fit_transform(self.sentences)

    @classmethod
    def inputs(cls, config: ContextStage) -> Any:
        """The content of the file."""
        return table_stamp(config.sentences)

    def change(self, text: str, draft: Draft) -> str:
        near = self._near(text, draft.record.label)
        if not near:
            return text
        sentence = draft.rng.choice(near)
        parts = [sentence, text] if self.config.position == "before" else [text, sentence]
        return self.config.separator.join(parts)

    def _near(self, text: str, label: str | None) -> list[str]:
        similar = (self.vectors @ self.vectorizer.transform([text]).T).toarray().ravel()
        found: list[str] = []
        for number in similar.argsort(kind="stable")[::-1]:
            if similar[number] < self.config.min_similarity or len(found) == self.config.neighbours:
                break
            if self.labels[number] in (None, label) and self.sentences[number] not in text:
                found.append(self.sentences[number])
        return found
