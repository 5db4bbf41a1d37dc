"""Models trained several times: a difference that is one of methods, not of seeds.

Scores are a table of runs by rows. A row that is hard is hard for every run, and a run that came out well is good on every
row; so neither runs nor scores are independent, and averaging runs first or pooling all scores claims too much. The difference
of the two methods is analysed as a mixed design with runs and rows as crossed random effects (as readers and cases are in
studies of many readers): its error has a part from the rows, a part from the runs, and the rest. On a complete table, which
this always is, the parts follow from mean squares exactly as REML gives them, and degrees of freedom from Satterthwaite.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.statistic import Statistic, Sums
from trainers.evaluation.statistics import checks
from trainers.evaluation.statistics.intervals import Interval, jackknife, known_level

Scores = np.ndarray | Sequence[float] | Sequence[Statistic]


@dataclasses.dataclass(frozen=True)
class SeedEffect:
    """Second method minus first, over seeds.

    Attributes:
        difference: of the means over all runs.
        interval: where that of new runs on new rows would lie on average.
        p_value: of no difference, two-sided.
        num_runs: of each method.
        between_seeds: standard deviation of the difference that changing the seeds of one run of each brings.
        between_rows: standard deviation of the difference from row to row, on average over runs; nan without rows.
        rest: standard deviation of what is left; nan without rows.
        sentence: what it means, in words.
    """

    difference: float
    interval: Interval
    p_value: float
    num_runs: tuple[int, int]
    between_seeds: float
    between_rows: float
    rest: float
    sentence: str


@dataclasses.dataclass(frozen=True)
class _Part:
    """A mean square's share in the variance of the mean difference."""

    variance: float
    freedom: float


def over_seeds(first: Scores, second: Scores, *, paired: bool = False, confidence: float = 0.95) -> SeedEffect:
    """Compare two methods, each trained with several seeds.

    Args:
        first, second: a table of shape (runs, rows) with the value of each row; or a statistic for each run, all on the
            same rows; or one number for each run.
        paired: run i of both used the same seed (and so the same order of rows, the same new weights).

    Raises:
        DataError: for fewer than two runs or rows, or values that are no numbers.
        UnpairedRows: for runs on different rows, or different numbers of paired runs.
    """
    known_level(confidence)
    one, other = _table(first), _table(second)
    checks.enough(min(len(one), len(other)), what="runs of a method")
    if paired and len(one) != len(other):
        raise checks.UnpairedRows(
            f"paired seeds need as many runs of both methods; found {len(one)} and {len(other)}: compare them as unpaired"
        )
    if one.ndim != other.ndim or one.shape[1:] != other.shape[1:]:
        raise checks.UnpairedRows(
            f"runs need to be scored on the same rows; found tables of shape {one.shape} and {other.shape}"
        )
    return _per_run(one, other, paired, confidence) if one.ndim == 1 else _crossed(one, other, paired, confidence)


def _table(scores: Scores) -> np.ndarray:
    """Scores as numbers; a statistic becomes its value for each row, or the jackknife's pseudo-values (Tukey 1958)."""
    first = scores[0] if len(scores) else None
    if isinstance(first, Statistic):
        rows = [_pseudo_values(one) for one in scores if isinstance(one, Statistic)]
        if len({len(row) for row in rows}) > 1:
            raise checks.UnpairedRows(
                f"runs need to be scored on the same rows; found {[len(row) for row in rows]} rows"
            )
        table = np.stack(rows)
        counted = ~np.isnan(table).any(0)
        table = table[:, counted]
    else:
        table = np.asarray(scores, np.float64)
    if table.ndim not in (1, 2) or not np.isfinite(table).all():
        raise DataError(
            f"found scores of shape {table.shape}; expected finite numbers, runs by rows or one for each run"
        )
    if table.ndim == 2:
        checks.enough(table.shape[1])
    return table


def _pseudo_values(statistic: Statistic) -> np.ndarray:
    """One value a row whose mean is the metric (but for its bias) and whose variance is that of the metric."""
    if checks.is_plain_mean(statistic):
        return checks.row_values(statistic, "a comparison over seeds")
    if isinstance(statistic, Sums):
        without = statistic.of(statistic.total - statistic.kinds)
        without = without if statistic.codes is None else without[statistic.codes]
    else:
        without, _ = jackknife([statistic], None)
    return statistic.n * statistic.value - (statistic.n - 1) * without


def _per_run(one: np.ndarray, other: np.ndarray, paired: bool, confidence: float) -> SeedEffect:
    if paired:
        apart = other - one
        parts = [_Part(float(apart.var(ddof=1)) / len(apart), len(apart) - 1)]
        spread = float(apart.std(ddof=1))
    else:
        parts = [_Part(float(side.var(ddof=1)) / len(side), len(side) - 1) for side in (one, other)]
        spread = float(np.sqrt(one.var(ddof=1) + other.var(ddof=1)))
    difference = float(other.mean() - one.mean())
    return _effect(difference, parts, confidence, (len(one), len(other)), (spread, np.nan, np.nan))


def _crossed(one: np.ndarray, other: np.ndarray, paired: bool, confidence: float) -> SeedEffect:
    """Rows crossed with runs: mean squares of the differences (paired), or of each method's runs."""
    n = one.shape[1]
    tables = [other - one] if paired else [one, other]
    by_row = other.mean(0) - one.mean(0)
    parts = [_Part(float(by_row.var(ddof=1)) / n, n - 1)]
    seeds = rest = rest_of_mean = 0.0
    for table in tables:
        runs = len(table)
        centred = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
        left = float((centred**2).sum()) / ((runs - 1) * (n - 1))
        between = n * float(table.mean(1).var(ddof=1))
        rest += left
        rest_of_mean += left / runs
        # Runs that happen to lie closer than rows explain add nothing, but still count as few: else two or three runs that
        # came out alike would pass for knowledge of how much runs differ
        between = max(between, left)
        seeds += (between - left) / n
        parts += [_Part(between / (n * runs), runs - 1), _Part(-left / (n * runs), (runs - 1) * (n - 1))]
    rows = max(float(by_row.var(ddof=1)) - rest_of_mean, 0.0)
    sizes = (float(np.sqrt(seeds)), float(np.sqrt(rows)), float(np.sqrt(rest)))
    return _effect(float(by_row.mean()), parts, confidence, (len(one), len(other)), sizes)


def _effect(
    difference: float,
    parts: Sequence[_Part],
    confidence: float,
    num_runs: tuple[int, int],
    sizes: tuple[float, float, float],
) -> SeedEffect:
    """Student's t with the degrees of freedom of Satterthwaite (1946) for a sum of mean squares."""
    from scipy import stats

    variance = sum(part.variance for part in parts)
    spread = sum(part.variance**2 / part.freedom for part in parts)
    if variance <= 0 or spread <= 0:
        p, half = float(difference == 0), 0.0
    else:
        # Never fewer than the fewest runs allow: subtracted parts would push it below
        freedom = max(variance**2 / spread, min(part.freedom for part in parts))
        error = float(np.sqrt(variance))
        p = float(2 * stats.t.sf(abs(difference) / error, freedom))
        half = float(stats.t.ppf((1 + confidence) / 2, freedom) * error)
    interval = Interval(difference - half, difference + half, confidence, "runs and rows")
    sentence = _sentence(difference, interval, num_runs, sizes[0])
    return SeedEffect(difference, interval, p, num_runs, *sizes, sentence)


def _sentence(difference: float, interval: Interval, num_runs: tuple[int, int], seeds: float) -> str:
    runs = " and ".join(str(number) for number in num_runs)
    about = f"over {runs} runs the second is {abs(difference):.3g} {'higher' if difference >= 0 else 'lower'}"
    other = f"another seed alone moves the difference by about {seeds:.3g}"
    if 0 in interval:
        return f"{about}, which seeds and rows explain; {other}"
    return f"{about}, more than seeds and rows explain; {other}"
