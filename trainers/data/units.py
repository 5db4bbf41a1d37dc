"""Rows that have to stay together, and how they are dealt out over splits or folds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

__all__ = ["Units", "apportion", "deal", "fill", "fill_in_order", "number_of", "ranks_within", "units_of"]


@dataclasses.dataclass(frozen=True)
class Units:
    """Sets of rows that stay together.

    Attributes:
        of_row: which unit each row is in.
        rows: how many rows each unit has.
        draw: a number of each unit by which units are drawn.
        stratum: the class that each unit is drawn from, that of its first row.
    """

    of_row: np.ndarray
    rows: np.ndarray
    draw: np.ndarray
    stratum: np.ndarray


def number_of(values: np.ndarray) -> np.ndarray:
    """Numbers from 0 in place of values (or of rows of values), equal where those are."""
    return np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)


def units_of(content: np.ndarray, draw: np.ndarray, group: np.ndarray | None, stratum: np.ndarray | None) -> Units:
    """Rows that say the same stay together, and so do rows of a group; so two groups that share a row are one unit."""
    of_row = number_of(content)
    if group is not None:
        of_row = _connected(of_row, number_of(group))
    total = int(of_row.max()) + 1 if len(of_row) else 0
    draws, strata = np.full(total, np.inf), np.zeros(total, np.int64)
    np.minimum.at(draws, of_row, draw)
    if stratum is not None:
        strata[of_row[::-1]] = number_of(stratum)[::-1]  # written last, so the first row's counts
    return Units(of_row, np.bincount(of_row, minlength=total), draws, strata)


def _connected(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Components of the graph whose edges are the rows, from their content to their group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left = int(one.max(initial=-1)) + 1
    size = left + int(other.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(one), np.int8), (one, left + other)), shape=(size, size))
    return connected_components(edges, directed=False)[1][one]


def fill(units: Units, shares: Sequence[float]) -> np.ndarray:
    """Side of each unit: 0 for the first share, 1 for the second, ..., and the number of shares for what is left.

    Units of a stratum are taken by their draw as long as one brings its side nearer to what it shall have.
    """
    strata, of_unit = np.unique(units.stratum, return_inverse=True)
    sizes = np.bincount(of_unit, weights=units.rows, minlength=len(strata))
    wanted = np.stack([apportion(share * sizes) for share in shares])
    side = np.full(len(units.rows), len(shares))
    taken = np.zeros_like(wanted)
    for unit in np.lexsort((units.draw, of_unit)).tolist():
        stratum, rows = of_unit[unit], units.rows[unit]
        for number in range(len(shares)):
            if 2 * taken[number, stratum] + rows <= 2 * wanted[number, stratum]:
                taken[number, stratum] += rows
                side[unit] = number
                break
    return side


def fill_in_order(key: np.ndarray, rows: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Like `fill`, but units are taken by rising `key`, none is passed over, and those with the same key stay together."""
    keys, of_unit = np.unique(key, return_inverse=True)
    size = np.bincount(of_unit, weights=rows, minlength=len(keys))
    middle = np.cumsum(size) - size / 2
    ends = np.cumsum([share * rows.sum() for share in shares])
    return np.searchsorted(ends, middle, side="left")[of_unit]


def apportion(quotas: np.ndarray) -> np.ndarray:
    """Whole numbers near the quotas that come to what the quotas come to: the largest remainders are rounded up."""
    whole = np.floor(quotas + 1e-9)
    missing = math.floor(quotas.sum() - whole.sum() + 0.5)
    whole[np.argsort(-(quotas - whole), kind="stable")[:missing]] += 1
    return whole


def ranks_within(group: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Place of each row among those of its group, counted from 0 by rising key; of equal keys the first row comes first."""
    order = np.lexsort((key, group))
    ordered = group[order]
    begins = np.ones(len(order), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    return ranks


def deal(units: Units, folds: int) -> np.ndarray:
    """Fold of each unit: the largest first, each to the fold with the fewest rows of its stratum, then with the fewest."""
    fold = np.zeros(len(units.rows), np.int64)
    total, here, stratum = [0] * folds, [0] * folds, None
    for unit in np.lexsort((units.draw, -units.rows, units.stratum)).tolist():
        if units.stratum[unit] != stratum:
            here, stratum = [0] * folds, units.stratum[unit]
        chosen = min(range(folds), key=lambda number: (here[number], total[number]))
        fold[unit] = chosen
        here[chosen] += int(units.rows[unit])
        total[chosen] += int(units.rows[unit])
    return fold
