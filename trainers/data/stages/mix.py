"""The rows of several sources, mixed by weighted draws. Used through `data.mix`, before all other stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config.stages.mix import MixStage
from cluster.exceptions import DataError
from trainers.data.record import Record
from trainers.data.sources import Sources
from trainers.data.stages.base import StageContext
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage

if TYPE_CHECKING:
    import ray.data

DRAWS_AT_ONCE = 1 << 16
BYTES_PER_TOKEN = 4


@dataclasses.dataclass(frozen=True)
class MixedSource:
    """One source of a mix.

    Attributes:
        name: what it is called in counts.
        weight: how often it is drawn beside the others.
        files: numbers of its files.
    """

    name: str
    weight: float
    files: tuple[int, ...]


def mixed_sources(sources: Sources) -> list[MixedSource]:
    """The located sources of the training rows, in the order in which they are named."""
    files: dict[int, list[int]] = {}
    for number, entry in enumerate(sources.entries):
        files.setdefault(id(entry), []).append(number)
    entries = {id(entry): entry for entry in sources.entries}
    return [MixedSource(entries[key].label, entries[key].weight, tuple(found)) for key, found in files.items()]


class Mix(TwoPassStage[MixStage]):
    """Draws a source for every place of the mix; its next row is put there, and again its first behind its last.

    Holds 8 bytes a row in the first pass; then 12 bytes a draw and 24 a row while it decides.
    """

    def __init__(self, config: MixStage, context: StageContext, sources: Sequence[MixedSource] = ()) -> None:
        super().__init__(config, context)
        self.sources = sources
        self.source_of_file = {file: number for number, source in enumerate(sources) for file in source.files}
        self.counts: list[dict[str, Any]] = []
        """Of each source its name, its rows, and how often they were drawn; known once the rows were counted."""

    def look(self, records: list[Record]) -> Facts:
        sources = [self.source_of_file[record.order[0]] for record in records]
        sizes = [sum(len(text.encode()) for text in record.texts()) for record in records]
        tokens = np.maximum(np.array(sizes) // BYTES_PER_TOKEN, 1)
        return {"source": np.array(sources, np.int32), "tokens": tokens.astype(np.int32)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        """The places of each row in the mix, none or several."""
        import pyarrow as pa

        rows_of_source = [np.flatnonzero(facts["source"] == number) for number in range(len(self.sources))]
        for source, rows in zip(self.sources, rows_of_source, strict=True):
            if not len(rows):
                raise DataError(f"{source.name}: has no row to be mixed; remove it from data.train or mend its rows")
        drawn = self._draw([facts["tokens"][rows] for rows in rows_of_source])
        row_at = np.empty(len(drawn), np.int64)
        for number, rows in enumerate(rows_of_source):
            places = np.flatnonzero(drawn == number)
            row_at[places] = rows[np.arange(len(places)) % len(rows)]
            self.counts.append({"source": self.sources[number].name, "rows": len(rows), "drawn": len(places)})
        times = np.bincount(row_at, minlength=spool.rows)
        offsets = np.concatenate([[0], np.cumsum(times)])
        places = np.argsort(row_at, kind="stable")
        return {"places": pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(places))}

    def _draw(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """The number of a source for each place, up to where the mix stops.

        Args:
            tokens: of each row of each source.
        """
        weights = np.array([source.weight for source in self.sources])
        generator = np.random.default_rng([self.context.seed, len(weights)])
        stop = _Stop(self.config, tokens)
        parts: list[np.ndarray] = []
        end: int | None = None
        while end is None:
            part = generator.choice(len(weights), DRAWS_AT_ONCE, p=weights / weights.sum()).astype(np.int32)
            end = stop.end_in(part)
            parts.append(part)
        return np.concatenate(parts)[:end]

    def second_pass(self, spool: Spool, decisions: Mapping[str, Any]) -> ray.data.Dataset:
        return super().second_pass(spool, decisions).sort(["file", "position"])

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        places = decision["places"]
        if not places:
            record.reject(f"not drawn before the mix stopped (stop: {self.config.stop})")
            return [record]
        record.order = (0, places[0])
        return [record, *(record.derive(order=(0, place)) for place in places[1:])]


class _Stop:
    """Where drawing ends, found while it goes on."""

    def __init__(self, config: MixStage, tokens: Sequence[np.ndarray]) -> None:
        self.config, self.tokens = config, tokens
        self.drawn = np.zeros(len(tokens), np.int64)
        self.last_row_at = np.full(len(tokens), -1, np.int64)
        self.places, self.tokens_drawn = 0, 0

    def end_in(self, part: np.ndarray) -> int | None:
        """How many draws there are, if the mix stops within these."""
        tokens = np.zeros(len(part), np.int64)
        for number, of_rows in enumerate(self.tokens):
            here = np.flatnonzero(part == number)
            times = self.drawn[number] + np.arange(len(here))
            tokens[here] = of_rows[times % len(of_rows)]
            last = len(of_rows) - 1 - self.drawn[number]
            if self.last_row_at[number] < 0 and 0 <= last < len(here):
                self.last_row_at[number] = self.places + here[last]
            self.drawn[number] += len(here)
        end = self._end(self.tokens_drawn + np.cumsum(tokens))
        self.places, self.tokens_drawn = self.places + len(part), self.tokens_drawn + int(tokens.sum())
        return end

    def _end(self, tokens_by: np.ndarray) -> int | None:
        if self.config.stop == "tokens":
            within = int(np.searchsorted(tokens_by, self.config.tokens or 0))
            return self.places + within + 1 if within < len(tokens_by) else None
        is_out = self.last_row_at >= 0
        if self.config.stop == "first_exhausted":
            return int(self.last_row_at[is_out].min()) + 1 if is_out.any() else None
        return int(self.last_row_at.max()) + 1 if is_out.all() else None
