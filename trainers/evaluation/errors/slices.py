"""Slices of rows that go wrong more often than the rest, and are shown to: measured, tested, corrected for how many were tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from trainers.evaluation.errors.badness import Bad
from trainers.evaluation.errors.candidates import Candidate, clusters, conditions
from trainers.evaluation.errors.columns import Column
from trainers.evaluation.errors.places import Places

SAME = 0.5
"""Two slices with so many rows in common (Jaccard) are one; the clearer is kept."""
LEVEL = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """A slice that goes wrong more often.

    Attributes:
        candidate: what its rows have in common.
        rows: all rows of it that were evaluated.
        measured_on: rows that score and interval come from. Conditions are found on one half of the rows and measured on the
            other, since how they look where they were found flatters them; clusters know nothing of errors and need no halves.
        score: share wrong (or loss) on these.
        interval: where it lies.
        rest: the same of the other rows.
        p_value: of the slice being no worse than the rest.
        adjusted: that p-value, corrected for all slices tried.
    """

    candidate: Candidate
    rows: int
    measured_on: int
    score: float
    interval: tuple[float, float]
    rest: float
    p_value: float
    adjusted: float


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """The slices that are shown to be worse, and how many were tried."""

    slices: list[Slice]
    tried: int


def find_slices(
    bad: Bad,
    texts: Sequence[str],
    columns: Sequence[Column],
    places: Places,
    *,
    least: int,
    most: int,
    level: float = 0.95,
    seed: int = 0,
) -> Found:
    """Slices of at least `least` rows that go wrong more often, the one with most to gain first.

    Args:
        bad: how bad each row came out.
        texts: of the rows, shape (n,).
        columns: what is known of the rows.
        places: where their texts lie.
        most: slices that are given back.
    """
    half = np.random.default_rng(seed).permutation(len(bad)) % 2 == 0
    every = np.ones(len(bad), bool)
    tried = [(candidate, every) for candidate in clusters(places, texts, least, seed)]
    looked_at = np.where(half, bad.values, np.nan)
    tried += [(candidate, ~half) for candidate in conditions(columns, looked_at, least, seed)]
    tried = [
        (candidate, where)
        for candidate, where in tried
        if candidate.members.sum() >= least and (candidate.members & where).sum() >= 2
    ]
    found = _measured(bad, tried, level)
    worse = [one for one in found if one.adjusted <= LEVEL and one.score > one.rest]
    return Found(_distinct(worse)[:most], len(tried))


def _measured(bad: Bad, tried: Sequence[tuple[Candidate, np.ndarray]], level: float) -> list[Slice]:
    from trainers.evaluation.statistics.correction import holm

    parts = [(bad.take(np.flatnonzero(where)), candidate.members[where]) for candidate, where in tried]
    p_values = [part.worse_than_rest(members) for part, members in parts]
    adjusted = holm(p_values)
    return [
        Slice(
            candidate,
            int(candidate.members.sum()),
            int(members.sum()),
            part.mean(members),
            part.interval(members, level),
            part.mean(~members),
            p_value,
            float(corrected),
        )
        for (candidate, _), (part, members), p_value, corrected in zip(tried, parts, p_values, adjusted, strict=True)
    ]


def _distinct(slices: Sequence[Slice]) -> list[Slice]:
    """Of slices that are much the same the clearest, ordered by how many rows would come right at the others' score."""
    kept: list[Slice] = []
    for one in sorted(slices, key=lambda one: (one.p_value, len(one.candidate.name))):
        members = one.candidate.members
        if all(_shared(members, other.candidate.members) < SAME for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: -(one.score - one.rest) * one.rows)


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))
