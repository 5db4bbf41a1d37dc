"""What is known of a study: its space, what trials are judged by, and each trial with its rows of metrics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cluster.config.tune import Domain
from cluster.exceptions import ConfigError
from cluster.progress import Row
from tuning.report.settings import Settings
from tuning.study import TrialOutcome

FENCE = 3.0
"""Interquartile ranges beyond the worse quartile, from which a score counts as that far: one that diverged would
otherwise outweigh all others."""
_LESS_IS_BETTER = ("loss", "perplexity", "_s", "tokens", "memory", "energy", "error", "step", "latency", "calibration")


@dataclasses.dataclass(frozen=True)
class Objective:
    """Something trials are judged by: a name in their results, and whether more of it is better."""

    name: str
    maximises: bool

    @classmethod
    def named(cls, name: str) -> Objective:
        """Less is better of losses, times and costs; more of anything else."""
        return cls(name, not any(name.endswith(end) or end.strip("_") in name.split("_") for end in _LESS_IS_BETTER))

    @property
    def sign(self) -> float:
        """What makes more of it better."""
        return 1.0 if self.maximises else -1.0


@dataclasses.dataclass(frozen=True)
class TrialFacts:
    """A trial that ended.

    Attributes:
        started_at, finished_at: ISO 8601; empty where unknown.
        rows: its metrics, one per logging step and evaluation.
    """

    outcome: TrialOutcome
    started_at: str = ""
    finished_at: str = ""
    rows: Sequence[Row] = ()

    @property
    def name(self) -> str:
        return self.outcome.name

    def value(self, name: str) -> float:
        """A figure of its result, or of its costs (`tuning.report.costs`); nan where there is none."""
        found = self.outcome.result.get(name)
        return float(found) if isinstance(found, int | float) else math.nan

    def evaluations(self, metric: str) -> list[tuple[int, float]]:
        """Step and score of each evaluation, in order."""
        return [(int(row["step"]), float(row[metric])) for row in self.rows if _is_finite(row.get(metric))]


@dataclasses.dataclass(frozen=True)
class StudyFacts:
    """A study as its report sees it.

    Attributes:
        objectives: the first is what the study ranked by.
        trials: in the order in which they ended.
        num_validation_rows: rows behind each score; None where that is not known.
        published: `metrics`, `model_path` and `version` of the winner; empty before there is one.
    """

    name: str
    space: Mapping[str, Domain]
    objectives: Sequence[Objective]
    trials: Sequence[TrialFacts]
    num_validation_rows: int | None = None
    published: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        outcomes: Iterable[TrialOutcome],
        space: Mapping[str, Domain],
        metric: str,
        *,
        maximises: bool = True,
        name: str = "study",
    ) -> StudyFacts:
        """A study of which nothing but the outcomes is known."""
        return cls(name, space, [Objective(metric, maximises)], [TrialFacts(one) for one in outcomes])

    @property
    def objective(self) -> Objective:
        return self.objectives[0]

    @property
    def settings(self) -> Settings:
        return Settings(dict(self.space))

    @property
    def scored(self) -> list[TrialFacts]:
        """Trials with a score, in the order in which they ended."""
        return [trial for trial in self.trials if math.isfinite(trial.value(self.objective.name))]

    @property
    def ranked(self) -> list[TrialFacts]:
        """Trials with a score, the best first; of equals the first by name, as the study itself chooses."""
        return sorted(
            self.scored, key=lambda trial: (-self.objective.sign * trial.value(self.objective.name), trial.name)
        )

    @property
    def failed(self) -> list[TrialFacts]:
        return [trial for trial in self.trials if trial.outcome.error]

    @property
    def best(self) -> TrialFacts:
        """The best trial.

        Raises:
            ConfigError: if none has a score.
        """
        if not self.scored:
            raise ConfigError(
                f"study {self.name}: none of {len(self.trials)} trials has a score called {self.objective.name}; run "
                f"`mobula tune`, or name another metric: {', '.join(self.metrics) or 'there are none'}"
            )
        return self.ranked[0]

    @property
    def metrics(self) -> list[str]:
        """Names of the figures that trials report."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.outcome.result)
        return [name for name in names if any(math.isfinite(trial.value(name)) for trial in self.trials)]

    def scores(self, trials: Sequence[TrialFacts] | None = None, metric: str | None = None) -> np.ndarray:
        """A figure of some trials (default: those with a score; what the study ranks by), shape (n,)."""
        chosen = self.scored if trials is None else trials
        return np.array([trial.value(metric or self.objective.name) for trial in chosen], float)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Trials as numbers: what surrogates, regressions and importances are fitted to.

    Attributes:
        settings: names and ranges of the columns.
        units: places of the trials in the space, shape (n, d), in 0..1.
        scores: shape (n,), with those beyond the fence moved to it.
        maximises: whether more is better.
        left_out: trials stopped early that are left out, because enough others ran to their end.
        fenced: scores that were moved.
    """

    settings: Settings
    units: np.ndarray
    scores: np.ndarray
    maximises: bool
    left_out: int = 0
    fenced: int = 0

    @property
    def n(self) -> int:
        return len(self.scores)

    @property
    def keys(self) -> list[str]:
        return self.settings.keys


def sample_of(study: StudyFacts) -> Sample:
    """The trials that can be compared with each other, over the settings that differ between them.

    A trial that a scheduler stopped has a score of a smaller budget; such trials are left out where at least
    `max(10, 3 per setting)` others ran to their end.
    """
    trials = study.scored
    ended = [trial for trial in trials if not trial.outcome.stopped]
    enough = max(10, 3 * len(study.space))
    chosen = ended if len(ended) >= enough else trials
    units = study.settings.units([trial.outcome.values for trial in chosen])
    varied = [
        key for key, column in zip(study.settings.keys, units.T, strict=True) if len(column) and np.ptp(column) > 0
    ]
    settings = study.settings.only(varied)
    scores = study.scores(chosen)
    fenced = _fenced(scores, study.objective.sign)
    return Sample(
        settings,
        settings.units([trial.outcome.values for trial in chosen]),
        fenced,
        study.objective.maximises,
        left_out=len(trials) - len(chosen),
        fenced=int((fenced != scores).sum()),
    )


def _fenced(scores: np.ndarray, sign: float) -> np.ndarray:
    """Scores with the worst of them moved to the fence (Tukey 1977)."""
    if len(scores) < 4:
        return scores
    goodness = sign * scores
    low, high = np.quantile(goodness, [0.25, 0.75])
    if high <= low:
        return scores
    return sign * np.maximum(goodness, low - FENCE * (high - low))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
