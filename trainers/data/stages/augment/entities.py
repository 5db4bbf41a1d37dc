"""What a table knows of names: others of their type to put in their place, and facts to say beside them."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterable
from typing import Any

from cluster.config.stages.augment import EntitySwapStage, FactsStage
from trainers.data.record import Record
from trainers.data.stages.augment.base import Augmenter, Draft, TextAugmenter
from trainers.data.stages.augment.tables import read_table, table_stamp
from trainers.data.stages.base import StageContext

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclasses.dataclass(frozen=True)
class Mention:
    """A name in a text: where it stands, and which it is."""

    start: int
    end: int
    name: str


class Names:
    """Finds names in texts as whole words, whatever their case and spacing; of two that overlap the longer."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {self._key(name): name for name in names}
        self._longest = max(map(len, self._names), default=0)

    @staticmethod
    def _key(text: str) -> tuple[str, ...]:
        return tuple(_TOKEN.findall(text.lower()))

    def find(self, text: str) -> list[Mention]:
        """Mentions from left to right."""
        tokens = list(_TOKEN.finditer(text))
        words = [token[0].lower() for token in tokens]
        found, here = [], 0
        while here < len(tokens):
            lengths = range(min(self._longest, len(tokens) - here), 0, -1)
            length = next((n for n in lengths if tuple(words[here : here + n]) in self._names), 0)
            if length:
                name = self._names[tuple(words[here : here + length])]
                found.append(Mention(tokens[here].start(), tokens[here + length - 1].end(), name))
            here += length or 1
        return found


class EntitySwap(Augmenter[EntitySwapStage]):
    """Draws for each name of a row another of its type."""

    def __init__(self, config: EntitySwapStage, context: StageContext) -> None:
        super().__init__(config, context)
        rows = read_table(config.table, "entity", "type")
        self.type_of = {str(row["entity"]): str(row["type"]) for row in rows}
        self.of_type: dict[str, list[str]] = {}
        for entity, kind in self.type_of.items():
            self.of_type.setdefault(kind, []).append(entity)
        self.names = Names(self.type_of)

    @classmethod
    def inputs(cls, config: EntitySwapStage) -> Any:
        """The content of the table."""
        return table_stamp(config.table)

    def augment(self, drafts: list[Draft]) -> None:
        for draft in drafts:
            others = self._draw(draft.record, draft.rng)
            draft.record.map_texts(lambda text, others=others: self._swap(text, others), self.config.roles)  # type: ignore[misc]

    def _draw(self, record: Record, rng: random.Random) -> dict[str, str]:
        """Name -> the one in its place; none that the row says already."""
        mine = [one.name for text in record.texts(self.config.roles) for one in self.names.find(text)]
        everywhere = [one.name for text in record.texts() for one in self.names.find(text)]
        free = [name for name in dict.fromkeys(mine) if mine.count(name) == everywhere.count(name)]
        taken, others = set(everywhere), {}
        for name in free:
            choices = [other for other in self.of_type[self.type_of[name]] if other not in taken]
            if choices and rng.random() < self.config.rate:
                others[name] = rng.choice(choices)
                taken.add(others[name])
        return others

    def _swap(self, text: str, others: dict[str, str]) -> str:
        for mention in reversed(self.names.find(text)):
            if mention.name in others:
                text = text[: mention.start] + others[mention.name] + text[mention.end :]
        return text


class Facts(TextAugmenter[FactsStage]):
    """Draws from what the table knows of the entities that a text mentions."""

    def __init__(self, config: FactsStage, context: StageContext) -> None:
        super().__init__(config, context)
        self.facts: dict[str, list[str]] = {}
        for row in read_table(config.table, "entity", "fact"):
            self.facts.setdefault(str(row["entity"]), []).append(str(row["fact"]).strip())
        self.names = Names(self.facts)

    @classmethod
    def inputs(cls, config: FactsStage) -> Any:
        """The content of the table."""
        return table_stamp(config.table)

    def change(self, text: str, draft: Draft) -> str:
        entities = dict.fromkeys(mention.name for mention in self.names.find(text))
        known = [fact for entity in entities for fact in self.facts[entity] if fact not in text]
        if not known:
            return text
        said = draft.rng.sample(known, min(self.config.most, len(known)))
        parts = [*said, text] if self.config.position == "before" else [text, *said]
        return self.config.separator.join(parts)
