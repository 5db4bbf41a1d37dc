"""What all augmenting stages share: whom they choose, how copies are made, drawn and kept apart."""

from __future__ import annotations

import dataclasses
import random
from abc import abstractmethod
from typing import TypeVar

from cluster.config.stages.augment import Augment
from trainers.data.record import Record, to_json
from trainers.data.stages.base import RowStage, StageContext

NOTE = "augmented"
"""Note of a row that augmentation made: the kind of the stage."""
ATTEMPTS = 5
"""Draws for each copy before it is given up: short texts often come out as they were."""

A = TypeVar("A", bound=Augment)


@dataclasses.dataclass
class Draft:
    """A copy on its way: an equal of the original until a stage changes it.

    Attributes:
        record: the copy.
        rng: whatever is drawn for it; it depends on seed, stage and row alone.
    """

    record: Record
    rng: random.Random


class Augmenter(RowStage[A]):
    """Keeps every row and adds changed copies of the chosen ones."""

    def __call__(self, records: list[Record]) -> list[Record]:
        copies = self._copies([record for record in records if is_chosen(record, self.config, self.context)])
        return [one for record in records for one in (record, *copies.get(id(record), ()))]

    @abstractmethod
    def augment(self, drafts: list[Draft]) -> None:
        """Change copies in place. What is drawn for one must not depend on the others."""

    def _copies(self, records: list[Record]) -> dict[int, list[Record]]:
        made: dict[int, list[Record]] = {id(record): [] for record in records}
        known = {id(record): {to_json(record.row)} for record in records}
        for attempt in range(ATTEMPTS):
            drafts = [
                (record, self._draft(record, f"{copy} {attempt}"))
                for record in records
                for copy in range(len(made[id(record)]), self.config.copies)
            ]
            if not drafts:
                break
            self.augment([draft for _, draft in drafts])
            for record, draft in drafts:
                row = to_json(draft.record.row)
                if row not in known[id(record)]:
                    known[id(record)].add(row)
                    made[id(record)].append(draft.record)
        return made

    def _draft(self, record: Record, purpose: str) -> Draft:
        made = record.derive()
        made.notes[NOTE] = self.config.kind
        return Draft(made, row_rng(record, self.context, purpose))


class TextAugmenter(Augmenter[A]):
    """Changes one text at a time."""

    def augment(self, drafts: list[Draft]) -> None:
        for draft in drafts:
            draft.record.map_texts(lambda text, draft=draft: self.change(text, draft), self.config.roles)  # type: ignore[misc]

    @abstractmethod
    def change(self, text: str, draft: Draft) -> str:
        """Another text for one of the copy's texts."""


def is_chosen(record: Record, config: Augment, context: StageContext) -> bool:
    """Whether a stage makes copies of a row."""
    if (NOTE in record.notes and not config.chain) or not fits(record, config):
        return False
    return config.share == 1.0 or row_rng(record, context, "share").random() < config.share


def fits(record: Record, config: Augment) -> bool:
    """Whether a row is of the classes and slices that a stage asks for."""
    if config.labels and record.label not in config.labels:
        return False
    known = record.columns | record.notes
    wanted = {name: value if isinstance(value, list) else [value] for name, value in config.where.items()}
    return all(known.get(name) in values for name, values in wanted.items())


def row_rng(record: Record, context: StageContext, purpose: str) -> random.Random:
    """Draws that depend on seed, stage, the row's content and its place among the rows, and on nothing else."""
    return random.Random(f"{context.seed} {context.number} {purpose} {record.order} {to_json(record.row)}")
