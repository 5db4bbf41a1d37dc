"""Whether there are rows enough: how large a difference would be seen, how often, and how many rows it takes; in words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError
from trainers.evaluation.statistic import Statistic
from trainers.evaluation.statistics import checks
from trainers.evaluation.statistics.differences import PairedShares, difference

OFTEN = 0.9
"""The chance to see a difference that `detectable` and `n_for_90` stand for."""
MOST_ROWS = 10**9
SHARES_IN_WORDS = ((1, 10), (1, 5), (1, 4), (1, 3), (2, 5), (1, 2), (3, 5), (2, 3), (3, 4), (4, 5), (9, 10), (19, 20))


@dataclasses.dataclass(frozen=True)
class Power:
    """What a number of rows can show.

    Attributes:
        n: rows (groups; of different rows, those of the smaller side).
        margin: the true difference asked about, in the units of the metric.
        detectable: the difference that these rows show 9 times in 10.
        power: how often they show `margin`, 0 to 1.
        n_for_90: rows that show `margin` 9 times in 10.
        sentence: all of it in words.
    """

    n: int
    margin: float
    detectable: float
    power: float
    n_for_90: int
    sentence: str


def power_of(
    first: Statistic,
    second: Statistic,
    margin: float,
    *,
    confidence: float = 0.95,
    one_sided: bool = False,
    higher_is_better: bool = True,
    **how: Any,
) -> Power:
    """How often a true difference of `margin` between the two would be shown by as many rows as these.

    The rows tell only how much the difference varies from row to row; the difference found plays no part (power *at* the
    difference found says nothing that its p-value does not; Hoenig and Heisey 2001).

    Args:
        margin: above 0, in the units of the metric.
        one_sided: for non-inferiority, which asks one side only.
        how: `paired`, `num_resamples`, `groups` and `seed` of `difference`.

    Raises:
        ConfigError: for a margin that is not above 0.
        UnpairedRows, DataError: as `difference`.
    """
    found = difference(first, second, **how)
    error = found.error
    if isinstance(found, PairedShares):
        # A difference of `margin` needs at least as many rows that differ; few rows may show fewer than there are
        differing = max((found.gained + found.lost + 1) / (found.n + 2), margin)
        error = math.sqrt(max(differing - margin**2, 0.0) / found.n)
    in_points = checks.is_share(first) and checks.is_share(second)
    return power_for(
        found.n,
        error,
        margin,
        confidence=confidence,
        one_sided=one_sided,
        in_points=in_points,
        change="drop" if higher_is_better else "rise",
    )


def power_of_share(n: int, share: float, margin: float, *, confidence: float = 0.95, one_sided: bool = False) -> Power:
    """Before anything was measured: two models with about this share right, each on `n` rows of its own. On the same rows
    they mostly agree, so that fewer do.

    Raises:
        ConfigError: for a share outside of 0 to 1, or a margin that is not above 0.
        DataError: for fewer than two rows.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"found a share of {share}; expected a number between 0 and 1")
    checks.enough(n)
    lower = min(max(share - margin, 0.0), 1.0)
    error = math.sqrt((share * (1 - share) + lower * (1 - lower)) / n)
    return power_for(n, error, margin, confidence=confidence, one_sided=one_sided, in_points=True, change="drop")


def power_for(
    n: int,
    error: float,
    margin: float,
    *,
    confidence: float = 0.95,
    one_sided: bool = False,
    in_points: bool = False,
    change: str = "difference",
) -> Power:
    """From the standard error that a difference has over `n` rows; normal approximation, as statsmodels' NormalIndPower.

    Raises:
        ConfigError: for a margin that is not above 0.
    """
    from scipy.special import ndtr, ndtri

    if not margin > 0:
        raise ConfigError(f"found a margin of {margin}; expected a number above 0, in the units of the metric")
    critical = float(ndtri(confidence if one_sided else (1 + confidence) / 2))
    needed = critical + float(ndtri(OFTEN))
    if error == 0:
        power, rows = 1.0, n
    else:
        away = margin / error
        power = float(ndtr(away - critical) + (0.0 if one_sided else ndtr(-away - critical)))
        rows = min(math.ceil(n * (needed / away) ** 2), MOST_ROWS)
    size = f"a {margin * 100:.3g}-point {change}" if in_points else f"a {change} of {margin:.3g}"
    return Power(n, margin, needed * error, power, rows, _sentence(n, size, power, rows))


def _sentence(n: int, size: str, power: float, rows: int) -> str:
    seen = f"with these {n:,} rows {size} is seen {in_words(power)}"
    if power >= OFTEN:
        return f"{seen}; {_round_up(rows):,} rows are enough" if _round_up(rows) < n else seen
    return f"{seen}; {_round_up(rows):,} rows would see it 9 times in 10"


def in_words(share: float) -> str:
    """How often, as people say it: `1 time in 5`."""
    if share < 0.06:
        return "hardly ever"
    if share > 0.975:
        return "nearly always"
    times, of = min(SHARES_IN_WORDS, key=lambda pair: abs(pair[0] / pair[1] - share))
    return f"{times} {'time' if times == 1 else 'times'} in {of}"


def _round_up(rows: int) -> int:
    """To two digits: the figure is an estimate."""
    unit = 10 ** max(int(np.log10(max(rows, 1))) - 1, 0)
    return -(-rows // unit) * unit
