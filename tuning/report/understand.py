"""Everything that a study teaches, gathered once: the page and the JSON beside it are written from this."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from cluster.exceptions import DataError
from tuning.report.advice import Advice, Known, advise
from tuning.report.facts import Sample, StudyFacts, sample_of
from tuning.report.history import NO_ENERGY, Costs, best_so_far, costs, rank_correlation, with_costs
from tuning.report.importance import Importance, importances
from tuning.report.objectives import knee, pareto
from tuning.report.regression import Fit, regressions
from tuning.report.sensitivity import Box, Effects, Indices, Sweep, Worst, morris, sobol, sweeps, worst_cases
from tuning.report.surrogate import Surrogate, fit_surrogate
from tuning.report.winner import Lead, chances_to_be_best, lead

BUDGETS = ("tokens", "train_s", "step", "memory_gib", "energy_j")
Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Indices and effects over one part of the space."""

    indices: Indices
    effects: Effects


@dataclasses.dataclass(frozen=True)
class Front:
    """The trials that no other beats in everything.

    Attributes:
        names: of the trials, the best by the first objective first.
        knee: from which any gain costs most; None where there is none.
    """

    names: list[str]
    knee: str | None


@dataclasses.dataclass(frozen=True)
class Understanding:
    """What a study teaches. What could not be found out is in `missing`, with the reason."""

    study: StudyFacts
    sample: Sample
    costs: list[Costs]
    surrogate: Surrogate | None
    importances: list[Importance]
    regressions: list[Fit]
    whole: Sensitivity | None
    near_best: Sensitivity | None
    sweeps: list[Sweep]
    worst: list[Worst]
    lead: Lead | None
    chances: dict[str, float]
    budgets: dict[str, float]
    front: Front | None
    advice: list[Advice]
    missing: dict[str, str]

    def summary(self) -> dict[str, Any]:
        """All of it, ready for JSON: what is no number is null."""
        study = self.study
        plain: dict[str, Any] = {
            "study": study.name,
            "objectives": [vars(one) for one in study.objectives],
            "num_trials": len(study.trials),
            "num_failed": len(study.failed),
            "num_stopped": sum(trial.outcome.stopped for trial in study.trials),
            "best": dataclasses.asdict(study.best.outcome),
            "published": dict(study.published),
            "history": self._history(),
            "trials": [vars(one) for one in self.costs],
            "energy": None if any(math.isfinite(one.energy_j) for one in self.costs) else NO_ENERGY,
            "model_of_the_study": self.surrogate and {"kind": self.surrogate.kind, "r2": self.surrogate.r2},
            "importance": [vars(one) | {"mean": one.mean} for one in self.importances],
            "regression": [dataclasses.asdict(fit) for fit in self.regressions],
            "sensitivity": {name: self._sensitivity(one) for name, one in self._parts().items() if one},
            "sweeps": [vars(one) for one in self.sweeps],
            "worst_cases": [vars(one) | {"values": self._values(one.place)} for one in self.worst],
            "lead": self.lead and vars(self.lead) | {"sentence": self.lead.sentence},
            "chances_to_be_best": self.chances,
            "rank_correlation_with_budget": self.budgets,
            "pareto": self.front and vars(self.front),
            "next": [vars(one) for one in self.advice],
            "missing": self.missing,
        }
        found: dict[str, Any] = as_plain(plain)
        return found

    def _parts(self) -> dict[str, Sensitivity | None]:
        return {"whole_space": self.whole, "around_the_best": self.near_best}

    def _history(self) -> list[dict[str, Any]]:
        trials, scores = self.study.scored, self.study.scores()
        best = best_so_far(scores, self.study.objective.maximises)
        return [
            {"trial": trial.name, "finished_at": trial.finished_at, "score": score, "best": so_far}
            for trial, score, so_far in zip(trials, scores, best, strict=True)
        ]

    def _sensitivity(self, found: Sensitivity) -> dict[str, Any]:
        keys, pairs = self.sample.keys, found.indices.pairs
        return {
            "sobol": [
                {
                    "setting": key,
                    "first": found.indices.first[at],
                    "first_error": found.indices.first_error[at],
                    "total": found.indices.total[at],
                    "total_error": found.indices.total_error[at],
                }
                for at, key in enumerate(keys)
            ],
            "interactions": [
                {"settings": [keys[one], keys[other]], "share": pairs[one, other]}
                for one in range(len(keys))
                for other in range(one + 1, len(keys))
            ],
            "morris": [
                {
                    "setting": key,
                    "mean": found.effects.mean[at],
                    "strength": found.effects.strength[at],
                    "spread": found.effects.spread[at],
                }
                for at, key in enumerate(keys)
            ],
        }

    def _values(self, place: np.ndarray) -> dict[str, Any]:
        return self.sample.settings.values(place)


def understand(study: StudyFacts, values: Mapping[str, np.ndarray] | None = None, seed: int = 0) -> Understanding:
    """Everything that can be learnt from the trials that ended.

    Args:
        values: one value a row of some trials, on the same validation rows, for what is said of the winner.

    Raises:
        ConfigError: if no trial has a score.
    """
    study = with_costs(study)
    best, sample, missing = study.best, sample_of(study), dict[str, str]()
    surrogate = _unless("model of the study", missing, lambda: fit_surrogate(sample, seed))
    fits = _unless("regression", missing, lambda: regressions(sample, seed)) or []
    important: list[Importance] = []
    whole = near = None
    moved: list[Sweep] = []
    worst: list[Worst] = []
    if surrogate is not None:
        place = sample.settings.units([best.outcome.values])[0]
        important = importances(sample, surrogate, seed)
        whole = _sensitivity(surrogate, Box.whole(len(sample.keys)), seed)
        near = _sensitivity(surrogate, Box.around(sample.settings, place), seed)
        moved = sweeps(surrogate, sample.settings, place)
        worst = worst_cases(surrogate, sample.settings, place, maximises=sample.maximises, seed=seed)
    led = lead(study, values, seed)
    if led is None:
        missing["lead"] = (
            "How sure the winner is cannot be said: no answers row by row and no repeated seeds, and the metric is no share "
            "of a known number of rows. `mobula tune report --rows 2` lets the best two answer the validation rows."
        )
    known = Known(study, sample, surrogate, important, fits, led)
    return Understanding(
        study,
        sample,
        costs(study),
        surrogate,
        important,
        fits,
        whole,
        near,
        moved,
        worst,
        led,
        chances_to_be_best(values, maximises=study.objective.maximises, seed=seed) if values else {},
        _budgets(study),
        _front(study),
        advise(known),
        missing,
    )


def _unless(what: str, missing: dict[str, str], make: Callable[[], Found]) -> Found | None:
    """What can be made of the trials, or a note of why it cannot."""
    try:
        return make()
    except DataError as error:
        missing[what] = str(error)
        return None


def _sensitivity(surrogate: Surrogate, box: Box, seed: int) -> Sensitivity:
    return Sensitivity(sobol(surrogate, box, seed=seed), morris(surrogate, box, seed=seed))


def _budgets(study: StudyFacts) -> dict[str, float]:
    scores = study.objective.sign * study.scores()
    found = {name: rank_correlation(study.scores(metric=name), scores) for name in BUDGETS}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _front(study: StudyFacts) -> Front | None:
    if len(study.objectives) < 2:
        return None
    trials = study.ranked
    points = np.stack([study.scores(trials, one.name) for one in study.objectives], axis=1)
    on_it, at = pareto(points, study.objectives), knee(points, study.objectives)
    return Front(
        [trial.name for trial, chosen in zip(trials, on_it, strict=True) if chosen],
        None if at is None else trials[at].name,
    )


def as_plain(value: Any) -> Any:
    """Numbers, texts, lists and mappings only; None for nan and infinities."""
    if isinstance(value, np.ndarray):
        return as_plain(value.tolist())
    if isinstance(value, np.generic):
        return as_plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_plain(inner) for inner in value]
    return value
