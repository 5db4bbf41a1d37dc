"""Named data sets that every new version is scored on: other domains, tasks left out, languages, regressions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cluster.config import EvaluateConfig
from cluster.config.load import nearest
from cluster.config.suite import SuiteConfig
from cluster.exceptions import ConfigError
from trainers.evaluation.evaluate import How, evaluate_subject
from trainers.evaluation.metrics import measure, specs_for
from trainers.evaluation.result import EvaluationResult
from trainers.evaluation.rows import Rows
from trainers.evaluation.slices import LANGUAGE
from trainers.evaluation.subjects import Subject

TRANSFERS = ("out_of_domain", "left_out_task")
"""Kinds of suites whose scores are held against those of the test rows."""


@dataclasses.dataclass(frozen=True)
class Miss:
    """A metric that a suite asks more of.

    Attributes:
        value: None where the suite's rows do not define it.
        wanted: the least it must be; the most, for losses.
    """

    metric: str
    value: float | None
    wanted: float

    def __str__(self) -> str:
        found = "is not defined" if self.value is None else f"is {self.value:.4g}"
        return f"{self.metric} {found}, wanted {self.wanted:g}"


@dataclasses.dataclass(frozen=True)
class SuiteResult:
    """How a model does on a suite.

    Attributes:
        gaps: metric -> how much worse it is than on the test rows, where those were scored; negative where it is better.
        misses: what a regression suite asks for and did not get.
    """

    name: str
    kind: str
    result: EvaluationResult
    gaps: dict[str, float]
    misses: list[Miss]

    @property
    def passed(self) -> bool:
        """Whether it reached all that is asked for."""
        return not self.misses

    def summary(self) -> dict[str, Any]:
        """Ready for JSON, without the single predictions."""
        return {
            "kind": self.kind,
            "passed": self.passed,
            "misses": [dataclasses.asdict(miss) for miss in self.misses],
            "gaps": self.gaps,
            **self.result.summary(),
        }


def chosen_suites(names: tuple[str, ...], suites: Mapping[str, SuiteConfig]) -> dict[str, SuiteConfig]:
    """The suites of these names; `all` stands for every one.

    Raises:
        ConfigError: for a name that the settings do not have.
    """
    if not suites:
        raise ConfigError("evaluate.suites is empty, so there is no suite to score; name data sets there")
    if "all" in names:
        return dict(suites)
    for name in names:
        if name not in suites:
            guess = nearest(name, suites)
            hint = f"did you mean {guess!r}?" if guess else f"there are {', '.join(suites)}"
            raise ConfigError(f"evaluate.suites has no {name!r}; {hint}")
    return {name: suites[name] for name in names}


def run_suite(
    subject: Subject,
    name: str,
    suite: SuiteConfig,
    evaluate: EvaluateConfig,
    how: How,
    *,
    tested: Mapping[str, float] | None = None,
) -> SuiteResult:
    """Score a model on a suite.

    Args:
        tested: its metrics on the test rows, to hold those of other domains and tasks against.
    """
    slices = list(suite.slices or evaluate.slices)
    if suite.kind == "language" and LANGUAGE not in slices:
        slices.append(LANGUAGE)
    how = dataclasses.replace(how, purpose=f"suite {name}")
    result = evaluate_subject(subject, suite.sources, evaluate, slices=slices, how=how)
    higher = directions(result, evaluate)
    gaps = _gaps(tested, result.metrics, higher) if tested is not None and suite.kind in TRANSFERS else {}
    return SuiteResult(name, suite.kind, result, gaps, misses(result, suite, higher))


def directions(result: EvaluationResult, evaluate: EvaluateConfig) -> dict[str, bool | None]:
    """Metric -> whether higher is better; None where neither is."""
    found = measure(Rows(result.predictions, result.labels), specs_for(result.kind, evaluate.metrics))
    return {name: one.higher_is_better for name, one in found.items()}


def _gaps(
    tested: Mapping[str, float], found: Mapping[str, float], higher: Mapping[str, bool | None]
) -> dict[str, float]:
    signs = {name: 1.0 if better else -1.0 for name, better in higher.items() if better is not None}
    return {
        name: sign * (tested[name] - found[name]) for name, sign in signs.items() if name in tested and name in found
    }


def misses(result: EvaluationResult, suite: SuiteConfig, higher: Mapping[str, bool | None]) -> list[Miss]:
    """What the suite asks for and did not get."""
    found = []
    for name, wanted in suite.minimum.items():
        value = result.metrics.get(name)
        sign = -1.0 if higher.get(name) is False else 1.0
        if value is None or not sign * value >= sign * wanted:
            found.append(Miss(name, value, wanted))
    return found
