"""Augmented rows that lost the meaning of their original, or its label, are left out."""

from __future__ import annotations

import json
from typing import Any

from cluster.config.stages.augment import MeaningGuardStage
from trainers.data.record import Record
from trainers.data.stages.augment.base import NOTE
from trainers.data.stages.augment.similarity import BATCH_SIZE, SentenceEncoder, cosines, letters
from trainers.data.stages.augment.tables import folder_stamp
from trainers.data.stages.base import RowStage, StageContext
from trainers.folder import ModelFolder


class MeaningGuard(RowStage[MeaningGuardStage]):
    """Compares each augmented row with the one it was made from, and its label with what a classifier says."""

    def __init__(self, config: MeaningGuardStage, context: StageContext) -> None:
        super().__init__(config, context)
        self.embed = SentenceEncoder(config.model) if config.model else letters
        self.judge = Judge(config.classifier) if config.classifier else None

    @classmethod
    def inputs(cls, config: MeaningGuardStage) -> Any:
        """Which models they are."""
        return [folder_stamp(name) for name in (config.model, config.classifier) if name]

    def __call__(self, records: list[Record]) -> list[Record]:
        augmented = [record for record in records if NOTE in record.notes]
        if self.config.min_similarity:
            self._compare([record for record in augmented if record.before is not None])
        if self.judge is not None:
            self._judge([record for record in augmented if record.rejected is None and record.label is not None])
        return records

    def _compare(self, records: list[Record]) -> None:
        if not records:
            return
        roles = self.config.roles
        originals = [Record(json.loads(record.before or "{}")).text(roles) for record in records]
        similar = cosines(self.embed, [record.text(roles) for record in records], originals)
        for record, similarity in zip(records, similar, strict=True):
            record.notes["similarity"] = round(similarity, 4)
            if similarity < self.config.min_similarity:
                record.reject(f"meaning changed (similarity {similarity:.2f}, expected {self.config.min_similarity:g})")

    def _judge(self, records: list[Record]) -> None:
        assert self.judge is not None
        found = self.judge([record.row["text"] for record in records])
        for record, probabilities in zip(records, found, strict=True):
            said, own = max(probabilities, key=probabilities.__getitem__), probabilities.get(record.label or "", 0.0)
            if said != record.label:
                record.reject(f"label changed (the classifier says {said}, expected {record.label})")
            elif own < self.config.min_probability:
                record.reject(f"label uncertain (probability {own:.2f}, expected {self.config.min_probability:g})")


class Judge:
    """A classification folder: the probability of each class for each text."""

    def __init__(self, path: str) -> None:
        import torch

        folder = ModelFolder.open(path)
        self._labels = folder.labels
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer, self._model = folder.tokenizer(), folder.load(self._device)
        lengths = [self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", None)]
        self._max_length = min(int(length) for length in lengths if length)

    def __call__(self, texts: list[str]) -> list[dict[str, float]]:
        import torch

        found: list[dict[str, float]] = []
        for start in range(0, len(texts), BATCH_SIZE):
            batch = self._tokenizer(
                texts[start : start + BATCH_SIZE],
                truncation=True,
                max_length=self._max_length,
                padding=True,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                rows = self._model(**batch).logits.float().softmax(-1).tolist()
            found += [dict(zip(self._labels, row, strict=True)) for row in rows]
        return found
