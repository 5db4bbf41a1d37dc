"""How a study went: the best so far, what each trial cost, and when it had learnt what it would learn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tuning.report.facts import Objective, StudyFacts, TrialFacts
from tuning.study import TrialOutcome

SETTLED = 0.95
"""A trial has converged when it has come so far from its first score to its best."""
ENERGY = "energy_j"
NO_ENERGY = (
    "Energy is not compared: no trial recorded any. A counter of the whole machine cannot be divided among trials that run "
    "beside each other; compare tokens and training time instead."
)


def best_so_far(scores: np.ndarray, maximises: bool) -> np.ndarray:
    """The best score up to each trial, shape (n,)."""
    return np.asarray((np.maximum if maximises else np.minimum).accumulate(scores))


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a trial gave and what it took; nan where it is not known.

    Attributes:
        quality: what the study ranks by.
        loss: on the validation rows.
        steps_to_converge, s_to_converge: until it had come 95 % of the way from its first score to its best.
        s_to_target: training time until it was as good as half of all trials ever were; infinite where it never was.
        tokens, train_s: until its end.
        memory_gib: the most that its workers held.
        energy_j: joules; nan unless its rows say so.
    """

    name: str
    quality: float
    loss: float
    steps_to_converge: float
    s_to_converge: float
    s_to_target: float
    tokens: float
    train_s: float
    memory_gib: float
    energy_j: float

    def figures(self) -> dict[str, float]:
        """By name, those that are known."""
        return {name: value for name, value in vars(self).items() if isinstance(value, float) and math.isfinite(value)}


def costs(study: StudyFacts) -> list[Costs]:
    """Of each trial with a score, the best first."""
    objective = study.objective
    bests = [_best(trial, objective) for trial in study.scored]
    target = float(np.median(bests)) if bests else math.nan
    return [_costs(trial, objective, target) for trial in study.ranked]


def with_costs(study: StudyFacts) -> StudyFacts:
    """The study with what trials cost among their results, so that it can be an objective."""
    more = {one.name: one.figures() for one in costs(study)}
    trials = [
        dataclasses.replace(trial, outcome=_with(trial, more[trial.name])) if trial.name in more else trial
        for trial in study.trials
    ]
    return dataclasses.replace(study, trials=trials)


def _with(trial: TrialFacts, figures: dict[str, float]) -> TrialOutcome:
    return dataclasses.replace(trial.outcome, result={**figures, **trial.outcome.result})


def _costs(trial: TrialFacts, objective: Objective, target: float) -> Costs:
    curve = trial.evaluations(objective.name)
    last_step, train_s = trial.value("step"), trial.value("train_s")
    s_per_step = train_s / last_step if last_step else math.nan
    steps = converged_at(curve, objective.maximises)
    reached = [step for step, score in curve if objective.sign * score >= objective.sign * target]
    return Costs(
        trial.name,
        trial.value(objective.name),
        trial.value("eval_loss"),
        steps,
        steps * s_per_step,
        reached[0] * s_per_step if reached else (math.inf if curve else math.nan),
        trial.value("tokens"),
        train_s,
        _most(trial, "memory_gib"),
        _last(trial, ENERGY),
    )


def converged_at(curve: Sequence[tuple[int, float]], maximises: bool, share: float = SETTLED) -> float:
    """Step of the first evaluation that came so far from the first score to the best; nan for an empty curve."""
    if not curve:
        return math.nan
    scores = np.array([score for _, score in curve]) * (1.0 if maximises else -1.0)
    needed = scores[0] + share * (scores.max() - scores[0])
    return float(curve[int(np.argmax(scores >= needed))][0])


def still_learning(trial: TrialFacts, objective: Objective, noise: float) -> bool:
    """Whether the last evaluation is the best so far, by more than noise."""
    scores = [objective.sign * score for _, score in trial.evaluations(objective.name)]
    return len(scores) >= 3 and scores[-1] > max(scores[:-1]) + noise


def _best(trial: TrialFacts, objective: Objective) -> float:
    scores = [score for _, score in trial.evaluations(objective.name)] or [trial.value(objective.name)]
    return max(scores, key=lambda score: objective.sign * score)


def _most(trial: TrialFacts, name: str) -> float:
    return max((float(row[name]) for row in trial.rows if row.get(name) is not None), default=trial.value(name))


def _last(trial: TrialFacts, name: str) -> float:
    found = [float(row[name]) for row in trial.rows if row.get(name) is not None]
    return found[-1] if found else trial.value(name)


def rank_correlation(budgets: np.ndarray, scores: np.ndarray) -> float:
    """Spearman's, between what trials cost and what they scored; nan where either does not vary."""
    from scipy.stats import spearmanr

    known = np.isfinite(budgets) & np.isfinite(scores)
    if known.sum() < 3 or np.ptp(budgets[known]) == 0 or np.ptp(scores[known]) == 0:
        return math.nan
    return float(spearmanr(budgets[known], scores[known]).statistic)
