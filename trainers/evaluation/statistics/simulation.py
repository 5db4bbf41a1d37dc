"""Playing it through: what scores to expect on rows not seen yet, and which of several would come out first how often."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.statistic import Statistic
from trainers.evaluation.statistics.intervals import Groups
from trainers.evaluation.statistics.resampling import resample


@dataclasses.dataclass(frozen=True, eq=False)
class Simulation:
    """Scores of several contenders, played through many times.

    Attributes:
        names: of the contenders.
        scores: shape (contenders, times); each time all of them meet the same rows.
        higher_is_better: whether the first is the highest.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    higher_is_better: bool = True

    def first(self) -> dict[str, float]:
        """How often each comes out first; ties are shared."""
        return self._places()[0]

    def expected_place(self) -> dict[str, float]:
        """Average place of each, 1 being the first."""
        return self._places()[1]

    def range(self, share: float = 0.95) -> dict[str, tuple[float, float]]:
        """Where the middle `share` of the scores of each lies."""
        tail = (1 - share) / 2
        bounds = np.quantile(self.scores, (tail, 1 - tail), axis=1)
        return {name: (float(low), float(high)) for name, low, high in zip(self.names, *bounds, strict=True)}

    def reaches(self, target: float) -> dict[str, float]:
        """How often each is at least as good as a target."""
        good = self.scores >= target if self.higher_is_better else self.scores <= target
        return dict(zip(self.names, good.mean(1).tolist(), strict=True))

    def _places(self) -> tuple[dict[str, float], dict[str, float]]:
        from scipy.stats import rankdata

        places = rankdata(-self.scores if self.higher_is_better else self.scores, axis=0)
        best = places == places.min(axis=0)
        shares = (best / best.sum(axis=0)).mean(axis=1)
        return (
            dict(zip(self.names, shares.tolist(), strict=True)),
            dict(zip(self.names, places.mean(axis=1).tolist(), strict=True)),
        )


def simulate_scores(
    contenders: Mapping[str, Statistic],
    *,
    num_rows: int | None = None,
    num_simulations: int = 10_000,
    higher_is_better: bool = True,
    groups: Groups = None,
    seed: int = 0,
) -> Simulation:
    """Models on other rows of the same kind: each time `num_rows` rows are drawn from those that were scored.

    Args:
        contenders: name to metric, all on the same rows.
        num_rows: rows (or groups) in a test set to come. Default: as many as were scored.

    Raises:
        ConfigError: for contenders on different rows.
        DataError: for fewer than two rows, or times at which a metric is not defined throughout.
    """
    drawn = resample(list(contenders.values()), num_simulations, groups=groups, size=num_rows, seed=seed)
    defined = drawn[:, ~np.isnan(drawn).any(axis=0)]
    if not defined.size:
        raise DataError("the metrics are defined on no simulated test set; expected some: take more rows")
    return Simulation(tuple(contenders), defined, higher_is_better)


def simulate_strategies(
    strategies: Mapping[str, Callable[[np.random.Generator], float]],
    *,
    num_simulations: int = 10_000,
    higher_is_better: bool = True,
    seed: int = 0,
) -> Simulation:
    """Ways of doing something, each a function of a random generator to a score.

    All strategies get the same random numbers each time (common random numbers), so that luck does not decide.

    Raises:
        DataError: for a score that is no number, or no strategies.
    """
    if not strategies:
        raise DataError("found no strategies to simulate; expected at least one")
    seeds = np.random.SeedSequence(seed).spawn(num_simulations)
    scores = np.array([[play(np.random.default_rng(one)) for one in seeds] for play in strategies.values()], np.float64)
    if not np.isfinite(scores).all():
        name = tuple(strategies)[int(np.argwhere(~np.isfinite(scores))[0][0])]
        raise DataError(f"strategy {name} gave a score that is no number; expected finite numbers")
    return Simulation(tuple(strategies), scores, higher_is_better)


def monte_carlo_error(draws: Sequence[float] | np.ndarray) -> float:
    """Standard error of the mean of independent draws: how much of a simulated figure is noise of the simulation."""
    given = np.asarray(draws, np.float64)
    if len(given) < 2:
        raise DataError(f"found {len(given)} draws; expected at least two")
    return float(given.std(ddof=1) / np.sqrt(len(given)))
