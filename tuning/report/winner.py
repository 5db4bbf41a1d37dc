"""How sure it is that the winner is the best: against the second, over validation rows or over seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from cluster.exceptions import DataError
from trainers.evaluation.statistic import Sums
from trainers.evaluation.statistics import difference, probability_better
from trainers.evaluation.statistics.differences import UnpairedShares
from tuning.report.facts import StudyFacts, TrialFacts
from tuning.study import TrialOutcome

SURE = 0.95
LEAST_SEEDS = 2
Basis = Literal["rows", "seeds", "counts"]
WORDS = {
    "rows": "bootstrap over {n:,} validation rows that both answered",
    "seeds": "{n} seeds of each",
    "counts": "the two scores and {n:,} validation rows taken as independent, which is cautious: answers row by row are "
    "not kept",
}


@dataclasses.dataclass(frozen=True)
class Lead:
    """The winner against the second.

    Attributes:
        gain: winner minus second, turned so that more is better.
        low, high: its 95 % interval.
        probability: that the winner is truly better.
        n: rows or seeds.
    """

    winner: str
    second: str
    gain: float
    low: float
    high: float
    probability: float
    basis: Basis
    n: int

    @property
    def sentence(self) -> str:
        """All of it in words."""
        basis = WORDS[self.basis].format(n=self.n)
        verdict = "cannot be told from" if self.probability < SURE else "is probably better than"
        verdict = "is better than" if self.low > 0 else verdict
        return (
            f"{self.winner} {verdict} {self.second}: it leads by {self.gain:.4g} ({self.low:.4g} to {self.high:.4g}; better "
            f"with probability {self.probability:.0%}; {basis})."
        )


def over_rows(
    winner: tuple[str, np.ndarray], second: tuple[str, np.ndarray], *, maximises: bool = True, seed: int = 0
) -> Lead:
    """From one value a row of each (right or wrong, or a loss), on the same rows in the same order.

    Raises:
        UnpairedRows, DataError: for different rows, or fewer than two.
    """
    sign = 1.0 if maximises else -1.0
    of_winner, of_second = (Sums.mean(values) for _, values in (winner, second))
    found = difference(of_second, of_winner, seed=seed)
    interval = found.interval(0.95)
    low, high = sorted((sign * interval.low, sign * interval.high))
    better = probability_better(of_second, of_winner, higher_is_better=maximises, seed=seed)
    return Lead(winner[0], second[0], sign * found.value, low, high, better, "rows", len(winner[1]))


def over_seeds(winner: tuple[str, np.ndarray], second: tuple[str, np.ndarray], *, maximises: bool = True) -> Lead:
    """From the scores of each over seeds, by Welch's t: a bootstrap of three seeds would be far too sure of itself.

    Raises:
        DataError: for fewer than two seeds of either.
    """
    from scipy import stats

    sign = 1.0 if maximises else -1.0
    one, other = sign * np.asarray(winner[1], float), sign * np.asarray(second[1], float)
    if min(len(one), len(other)) < LEAST_SEEDS:
        raise DataError(f"found {min(len(one), len(other))} seeds of a setting; expected at least {LEAST_SEEDS}")
    gain = float(one.mean() - other.mean())
    if np.ptp(one) == 0 and np.ptp(other) == 0:
        better = 0.5 if gain == 0 else float(gain > 0)
        return Lead(winner[0], second[0], gain, gain, gain, better, "seeds", min(len(one), len(other)))
    found = stats.ttest_ind(one, other, equal_var=False)
    low, high = found.confidence_interval(0.95)
    better = float(stats.t.cdf(found.statistic, found.df))
    return Lead(winner[0], second[0], gain, float(low), float(high), better, "seeds", min(len(one), len(other)))


def from_counts(winner: tuple[str, float], second: tuple[str, float], n: int) -> Lead:
    """From two shares of `n` rows alone, as if the rows were different ones.

    Two models that answer the same rows mostly err on the same ones, so the truth is surer than this.
    """
    hits = round(second[1] * n), round(winner[1] * n)
    found = UnpairedShares(hits, (n, n))
    interval = found.interval(0.95)
    return Lead(
        winner[0], second[0], winner[1] - second[1], interval.low, interval.high, 1.0 - found.tail(0.0), "counts", n
    )


def chances_to_be_best(
    values: Mapping[str, np.ndarray], *, maximises: bool = True, num_resamples: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """How often each trial is the best when validation rows are drawn anew: one value a row of each, the same rows.

    Raises:
        DataError: for trials with different numbers of rows.
    """
    sizes = {len(one) for one in values.values()}
    if len(sizes) != 1:
        raise DataError(f"found trials with {sorted(sizes)} rows; expected the same rows for all")
    (n,) = sizes
    table = np.stack(list(values.values())) * (1.0 if maximises else -1.0)
    rng = np.random.default_rng(seed)
    wins = np.zeros(len(table))
    for size in [1000] * (num_resamples // 1000) + [num_resamples % 1000]:
        means = rng.multinomial(n, np.full(n, 1 / n), size=size) @ table.T / n
        top = np.isclose(means, means.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
        wins += (top / top.sum(axis=1, keepdims=True)).sum(axis=0)
    return dict(zip(values, (wins / num_resamples).tolist(), strict=True))


@dataclasses.dataclass(frozen=True)
class Repeated:
    """A setting that was tried with several seeds."""

    name: str
    scores: np.ndarray
    outcome: TrialOutcome

    @property
    def mean(self) -> float:
        return float(self.scores.mean())


def repeats(study: StudyFacts) -> list[Repeated]:
    """Settings tried with at least two seeds, the best mean first: trials that differ in nothing but keys named `...seed`."""
    groups: dict[tuple[tuple[str, str], ...], list[TrialFacts]] = {}
    for trial in study.scored:
        same = tuple(sorted((key, str(value)) for key, value in trial.outcome.values.items() if not is_seed(key)))
        groups.setdefault(same, []).append(trial)
    found = [
        Repeated(trials[0].name, study.scores(trials), trials[0].outcome)
        for trials in groups.values()
        if len(trials) >= LEAST_SEEDS
    ]
    return sorted(found, key=lambda one: -study.objective.sign * one.mean)


def is_seed(key: str) -> bool:
    """Whether a key only names a draw of chance."""
    return key.rpartition(".")[2].endswith("seed")


def lead(study: StudyFacts, values: Mapping[str, np.ndarray] | None = None, seed: int = 0) -> Lead | None:
    """The winner against the second, by the best evidence that there is; None where there is none.

    Args:
        values: one value a row of some trials, on the same validation rows. Of trials as good as the second, one whose
            answers are there stands for it.
    """
    seeded, maximises = repeats(study), study.objective.maximises
    if len(seeded) >= 2:
        return over_seeds((seeded[0].name, seeded[0].scores), (seeded[1].name, seeded[1].scores), maximises=maximises)
    if len(study.ranked) < 2:
        return None
    first, second = study.ranked[:2]
    counted, rival = _counted(study, [first, second]), _rival(study, values or {})
    metric = study.objective.name
    if rival is None or (counted is not None and rival.value(metric) != second.value(metric)):
        return counted
    assert values is not None
    pair = (first.name, values[first.name]), (rival.name, values[rival.name])
    return over_rows(*pair, maximises=maximises, seed=seed)


def _rival(study: StudyFacts, values: Mapping[str, np.ndarray]) -> TrialFacts | None:
    """The best trial beside the winner whose answers are known; None where the winner's are not."""
    first, *others = study.ranked
    return next((trial for trial in others if trial.name in values), None) if first.name in values else None


def _counted(study: StudyFacts, pair: Sequence[TrialFacts]) -> Lead | None:
    metric, n = study.objective.name, study.num_validation_rows
    scores = [trial.value(metric) for trial in pair]
    if n is None or not metric.endswith(("accuracy", "exact_match")) or not all(0 <= score <= 1 for score in scores):
        return None
    return from_counts((pair[0].name, scores[0]), (pair[1].name, scores[1]), n)


def noise_of(study: StudyFacts) -> float:
    """Standard error of the winner's score: over seeds where they were repeated, else of a share of the rows; 0 if unknown."""
    seeded = repeats(study)
    if seeded:
        spread = [float(one.scores.var(ddof=1)) for one in seeded]
        return math.sqrt(float(np.mean(spread)))
    n, score = study.num_validation_rows, study.best.value(study.objective.name)
    if n and study.objective.name.endswith(("accuracy", "exact_match")) and 0 <= score <= 1:
        return math.sqrt(max(score * (1 - score), 1 / n) / n)
    return 0.0
