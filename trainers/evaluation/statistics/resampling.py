"""Drawing rows again: bootstrap samples, Bayesian weights and swaps between two systems, for any metric.

A metric that is a function of sums needs of a bootstrap sample only how often each row was drawn, and of rows that add the
same sums only how often any of them was. So rows are first put together into *cells* of equal rows; the counts of the cells
are then drawn at once (a multinomial distribution, exactly that of drawing rows one by one) and multiplied with what a cell
adds. Accuracy has two cells, macro-F1 one for each pair of labels that occurs; where there are many cells, counts of single
rows are drawn (`poisson_counts`). Work goes in chunks of bounded memory over as many threads as there are cores (NumPy lets go of
the interpreter lock while it draws and multiplies); each chunk has its own generator, so that the figures of a seed do not
depend on the number of threads.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError
from trainers.evaluation.statistic import Statistic, Sums, Whole
from trainers.evaluation.statistics.checks import by_group, enough

CHUNK_BYTES = 4 << 20
"""Counts held by one thread at a time; more do not fit into its cache."""
CELLS_WORTH_COUNTING = 20
"""A multinomial count costs about as much as so many Poisson counts of rows."""
UNDECIDED = 255
COMPARED_AT_ONCE = 8192
SPARSE_BELOW = 0.2

Counts = Callable[[np.random.Generator, int], np.ndarray]
"""Generator and number of samples to weights of the cells, shape (samples, cells), float64."""


@dataclasses.dataclass(frozen=True, eq=False)
class Cells:
    """Rows put together that are equal in every statistic.

    Attributes:
        sizes: rows in each cell, shape (cells,), int64.
        cell_of: cell of each row, shape (n,), int64.
        rows: for each statistic what a row of each cell adds, shape (cells, d).
        of: for each statistic its function of sums.
    """

    sizes: np.ndarray
    cell_of: np.ndarray
    rows: list[np.ndarray]
    of: list[Callable[[np.ndarray], np.ndarray]]

    @classmethod
    def of_statistics(cls, statistics: Sequence[Sums], groups: np.ndarray | None = None) -> Cells:
        """Put equal rows together; with groups (as `by_group` gives them) a row is what a group adds."""
        tables = [one if groups is None else Sums(_group_sums(one.rows, groups), one.of) for one in statistics]
        cell_of, first, sizes = np.zeros(tables[0].n, np.int64), np.zeros(1, np.int64), np.array([tables[0].n])
        for position, table in enumerate(tables):
            codes = _codes(table.kinds) if table.codes is None else table.codes
            if position:
                codes = codes + cell_of * (int(codes.max(initial=0)) + 1)
            _, first, cell_of, sizes = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
        return cls(sizes, cell_of, [table.take(first).rows for table in tables], [one.of for one in statistics])

    @property
    def n(self) -> int:
        """Rows, or groups."""
        return len(self.cell_of)

    def totals(self) -> list[np.ndarray]:
        """Sums over all rows, one array of shape (d,) for each statistic."""
        return [self.sizes @ rows for rows in self.rows]

    def bootstrap(self, generator: np.random.Generator, num: int, size: int | None = None) -> np.ndarray:
        """How often each cell is in samples of `size` rows (default: as many as there are) drawn with replacement."""
        size = size or self.n
        if len(self.sizes) * CELLS_WORTH_COUNTING < size:
            return generator.multinomial(size, self.sizes / self.n, num).astype(np.float64)
        by_row = poisson_counts(generator, num, self.n, size)
        counts = (
            by_row if len(self.sizes) == self.n else np.add.reduceat(by_row, self._starts, axis=1, dtype=np.float64)
        )
        missing = size - by_row.sum(1, dtype=np.int64)
        counts = counts.astype(np.float64, copy=False)
        drawn = self._cells_in_order.take(generator.integers(0, self.n, missing.sum()))
        lines = np.repeat(np.arange(num) * len(self.sizes), missing)
        np.add.at(counts.reshape(-1), lines + drawn, 1.0)  # NumPy is quick at this in one dimension only
        return counts

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def _cells_in_order(self) -> np.ndarray:
        """Cell of each row, were the rows sorted by cell."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def bayesian(self, generator: np.random.Generator, num: int) -> np.ndarray:
        """Weights of the cells under the Bayesian bootstrap (Rubin 1981): Dirichlet(1, ..., 1) over rows, times n."""
        weights = generator.standard_gamma(self.sizes, (num, len(self.sizes)))
        return weights * (self.n / weights.sum(1, keepdims=True))

    def swaps(self, generator: np.random.Generator, num: int) -> np.ndarray:
        """How many rows of each cell change sides when every row does with probability 1/2."""
        if len(self.sizes) < self.n / 2:
            return generator.binomial(self.sizes, 0.5, (num, len(self.sizes))).astype(np.float64)
        width = -(-self.n // 8)
        bits = np.unpackbits(generator.integers(0, 256, (num, width), np.uint8), axis=1, count=self.n)
        if len(self.sizes) == self.n:
            counts = np.empty((num, self.n))
            counts[:, self.cell_of] = bits
            return counts
        return np.stack([np.bincount(self.cell_of, line, len(self.sizes)) for line in bits])

    def every_swap(self) -> np.ndarray:
        """The swaps of all 2**n ways in which rows can change sides, shape (2**n, cells); for a dozen rows."""
        ways = (np.arange(2**self.n)[:, None] >> np.arange(self.n)) & 1
        return ways.astype(np.float64) @ np.eye(len(self.sizes))[self.cell_of]

    def sample(self, counts: Counts, num: int, seed: int) -> np.ndarray:
        """Each statistic over weighted cells, shape (statistics, num)."""
        tables = [narrow(rows) for rows in self.rows]

        def chunk(generator: np.random.Generator, size: int) -> np.ndarray:
            drawn = counts(generator, size)
            return np.stack([of(drawn @ table) for of, table in zip(self.of, tables, strict=True)])

        return in_chunks(chunk, num, self.width, seed)

    @property
    def width(self) -> int:
        """Numbers of 8 bytes that one sample takes, about."""
        return len(self.sizes) + self.n // 2 + 2 * sum(rows.shape[1] for rows in self.rows)


def poisson_counts(generator: np.random.Generator, num: int, n: int, size: int) -> np.ndarray:
    """How often each of n rows is drawn when nearly `size` are, shape (num, n), uint8, each line with a sum of at most `size`.

    Independent Poisson counts with a given sum are multinomial, whatever the sum; so with as many single draws as the sum
    is short of `size` they are a bootstrap sample exactly. The rate is four standard deviations short, and a line that
    comes out with more is drawn anew. Sixteen random bits decide nearly every count; where they do not, more are drawn.
    """
    rate = max(size - 4 * np.sqrt(size), 0.0) / n
    table, edges = _poisson_table(rate)
    counts = np.empty((num, n), np.uint8)
    redo = np.arange(num)
    while len(redo):
        words = generator.integers(0, 2**64, (len(redo), -(-n // 4)), np.uint64).view(np.uint16)[:, :n]
        found = table.take(words)
        line, row = np.divmod(np.flatnonzero(found == UNDECIDED), n)
        uniform = (words[line, row] + generator.random(len(row))) / 2**16
        found[line, row] = np.searchsorted(edges, uniform, "right")
        counts[redo] = found
        redo = redo[found.sum(1, dtype=np.int64) > size]
    return counts


@lru_cache(maxsize=64)
def _poisson_table(rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Poisson count for each value of sixteen bits, `UNDECIDED` where these leave several, and the cumulated chances."""
    from scipy.stats import poisson

    edges = poisson.cdf(np.arange(UNDECIDED - 1), rate)
    bounds = np.arange(2**16 + 1) / 2**16
    low, high = np.searchsorted(edges, bounds[:-1], "right"), np.searchsorted(edges, bounds[1:], "left")
    return np.where(low == high, low, UNDECIDED).astype(np.uint8), edges


def in_chunks(chunk: Callable[[np.random.Generator, int], np.ndarray], num: int, width: int, seed: int) -> np.ndarray:
    """Call `chunk` with generators of its own and sizes that sum to `num`, and join what it gives on the last axis.

    Args:
        width: numbers of 8 bytes that one sample takes.
    """
    step = max(1, min(num, CHUNK_BYTES // (8 * width)))
    sizes = [min(step, num - start) for start in range(0, num, step)]
    generators = [np.random.Generator(np.random.SFC64(one)) for one in np.random.SeedSequence(seed).spawn(len(sizes))]
    if len(sizes) == 1:
        return chunk(generators[0], sizes[0])
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.concatenate(list(pool.map(chunk, generators, sizes)), axis=-1)


def resample(
    statistics: Sequence[Statistic],
    num_resamples: int = 10_000,
    *,
    groups: np.ndarray | Sequence[object] | None = None,
    size: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Statistics over bootstrap samples, the same samples for all of them: their differences are paired differences.

    Args:
        statistics: of the same rows.
        groups: rows that belong together (a document, a dialogue) have the same value; whole groups are drawn then.
        size: rows (or groups) in a sample. Default: as many as there are.

    Returns:
        Shape (statistics, num_resamples); nan where a statistic is not defined on a sample.

    Raises:
        ConfigError: for no statistics, or ones of different numbers of rows.
        DataError: for fewer than two rows or groups.
    """
    lengths = {one.n for one in statistics}
    if len(lengths) != 1:
        raise ConfigError(f"resampling together needs statistics of the same rows; found {sorted(lengths)} rows")
    enough(lengths.pop())
    codes = by_group(statistics[0].n, groups)
    sums = [one for one in statistics if isinstance(one, Sums)]
    if len(sums) == len(statistics):
        cells = Cells.of_statistics(sums, codes)
        return cells.sample(lambda generator, num: cells.bootstrap(generator, num, size), num_resamples, seed)
    return _resample_rows(statistics, num_resamples, codes, size, seed)


def _resample_rows(
    statistics: Sequence[Statistic], num: int, groups: np.ndarray | None, size: int | None, seed: int
) -> np.ndarray:
    """The same row by row, where one of them needs the rows themselves."""
    generator = np.random.default_rng(seed)
    members = None if groups is None else np.split(np.argsort(groups, kind="stable"), np.bincount(groups).cumsum()[:-1])
    units = statistics[0].n if members is None else len(members)
    found = np.empty((len(statistics), num))
    for column in range(num):
        drawn = generator.integers(0, units, size or units)
        indices = drawn if members is None else np.concatenate([members[unit] for unit in drawn])
        found[:, column] = [over(one, indices) for one in statistics]
    return found


def over(statistic: Statistic, indices: np.ndarray) -> float:
    """A statistic over some rows, with repetition."""
    if isinstance(statistic, Whole):
        return float(statistic.of(indices))
    return statistic.take(indices).value


def _codes(table: np.ndarray) -> np.ndarray:
    """A number for each row, the same for equal rows and only for these, shape (n,).

    Rows are told apart by a hash of their bits; that equal hashes mean equal rows is checked afterwards.
    """
    bits = np.ascontiguousarray(table + 0.0).view(np.uint64)  # + 0.0 makes -0.0 and 0.0 the same bits
    factors = np.random.default_rng(0).integers(1, 2**63, bits.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (bits ^ (bits >> np.uint64(32))) @ factors
    _, first, codes = np.unique(mixed, return_index=True, return_inverse=True)
    for start in range(0, len(bits), COMPARED_AT_ONCE):
        part = slice(start, start + COMPARED_AT_ONCE)
        if (bits[first[codes[part]]] != bits[part]).any():
            return np.arange(len(bits))
    return codes


def _group_sums(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.bincount(groups).cumsum()[:-1]])
    return np.add.reduceat(rows[order], starts, axis=0)


def narrow(rows: np.ndarray) -> Any:
    """The same table, sparse where most of it is zeros (counts per class are)."""
    if rows.shape[1] < 8 or np.count_nonzero(rows) > SPARSE_BELOW * rows.size:
        return rows
    from scipy.sparse import csr_array

    return _TransposedSparse(csr_array(rows.T))


@dataclasses.dataclass(frozen=True, eq=False)
class _TransposedSparse:
    """A sparse table to the right of a product: sparse times dense goes along contiguous samples, three times as fast."""

    transposed: Any
    __array_ufunc__ = None

    def __rmatmul__(self, counts: np.ndarray) -> np.ndarray:
        return (self.transposed @ np.ascontiguousarray(counts.T)).T
