"""What a gate asks of evaluations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from cluster.config import GateConfig, MetricSpec
from cluster.config.compare import CompareConfig
from cluster.exceptions import ConfigError
from trainers.evaluation import compare_statistics
from trainers.evaluation.compare import Pair, Scored, Side, aligned, headline_of, is_share, latency_statistic, unknown
from trainers.evaluation.comparison import CostDifference, Difference
from trainers.evaluation.gate import Decision, Value, decide
from trainers.evaluation.metrics import specs_for
from trainers.evaluation.statistic import Statistic

AGREEMENTS = ("weighted_kappa", "kappa", "spearman", "raw")
"""Measures of how far a judge agrees with people, the strictest that is known first."""


def decide_by(
    gate: GateConfig,
    candidate: Side,
    reference: Side | None = None,
    config: CompareConfig | None = None,
    specs: Sequence[MetricSpec] = (),
) -> Decision:
    """Hold an evaluated candidate against a reference, or alone against absolute clauses where there is none yet.

    Raises:
        ConfigError: for a clause about what was not measured.
        UnpairedRows: for evaluations of different rows.
    """
    config = config or CompareConfig()
    sides = [candidate] if reference is None else [reference, candidate]
    scored = aligned(sides, config, specs_for(candidate.results[0].kind, specs))
    pair = Pair(scored[0], scored[-1], config.rows != "unpaired", config) if reference is not None else None
    return decide(gate, MeasuredFacts(candidate, scored[-1], pair, config))


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredFacts:
    """Facts from predictions; see `trainers.evaluation.gate.Facts`."""

    side: Side
    scored: Scored
    pair: Pair | None
    config: CompareConfig

    @property
    def candidate(self) -> str:
        """Its name."""
        return self.side.name

    @property
    def reference(self) -> str | None:
        """Name of what it is held against."""
        return self.pair.first.name if self.pair else None

    def difference(self, metric: str, confidence: float, margin: float) -> Difference:
        """Candidate against reference."""
        pair = self._pair
        return pair.difference(pair.known(metric), confidence=confidence, margin=margin)

    def slices(
        self, metric: str | None, columns: Sequence[str], min_rows: int, confidence: float, margin: float
    ) -> tuple[list[Difference], int]:
        """The same in every slice that is large enough, and how many there are in all."""
        pair = self._pair
        metric = headline_of(pair.names) if metric is None else pair.known(metric)
        columns = list(columns) or list(dict.fromkeys((*pair.first.slices, *pair.second.slices)))
        if not columns:
            raise ConfigError(
                "gate: a clause is about slices, and none were evaluated; name columns in the clause's `columns`, in "
                "evaluate.slices or with --slice"
            )
        among = sum(len(pair.second.rows_of(column)) for column in columns)
        return pair.slices(metric, min_rows, columns, confidence=confidence, margin=margin), among

    def ratio(self, name: str, confidence: float) -> CostDifference:
        """A cost or metric of both."""
        pair = self._pair
        if name not in pair.names:
            return pair.cost(name, confidence)
        values = pair.first.value(name), pair.second.value(name)
        found = CostDifference(name, pair.first.name, pair.second.name, *values)
        if len(pair.first.runs) > 1 or len(pair.second.runs) > 1 or min(values) <= 0:
            return found
        statistics = [side.measured[0][name].statistic for side in (pair.first, pair.second)]
        interval = compare_statistics.log_ratio_interval(
            statistics[0], statistics[1], pair.paired, self.config, confidence
        )
        return dataclasses.replace(found, interval=interval)

    def value(self, name: str, confidence: float) -> Value:
        """A metric or cost of the candidate, the mean over its runs."""
        costs = self.scored.costs
        if name in self.scored.names:
            statistics: list[Statistic] = [one[name].statistic for one in self.scored.measured]
            share = is_share(self.scored.measured[0][name])
            interval = self._interval(statistics, confidence)
            return Value(name, self.scored.value(name), interval, self.scored.n, share)
        if not all(name in one for one in costs):
            known = [*self.scored.names, *(known for known in costs[0] if all(known in one for one in costs))]
            raise ConfigError(f"gate: {unknown(name, known, 'metric or cost')}")
        mean = float(np.mean([one[name] for one in costs]))
        latency = latency_statistic(self.scored.runs[0], name)
        if latency is None or len(costs) > 1:
            return Value(name, mean)
        return Value(name, mean, self._interval([latency], confidence), self.scored.n)

    def agreement(self, metric: str) -> float | None:
        """Of the judge behind a metric with people; None where it was never compared."""
        found = self.side.results[0].sections.get("judge", {}).get("agreement", {})
        known: Mapping[str, float] = found.get(metric) or next(iter(found.values()), {})
        return next((float(known[name]) for name in AGREEMENTS if name in known), None)

    @property
    def _pair(self) -> Pair:
        assert self.pair is not None, "clauses that need a reference are skipped where there is none"
        return self.pair

    def _interval(self, statistics: Sequence[Statistic], confidence: float) -> tuple[float, float]:
        """Of one run by its rows; of several, rows and runs together: the spread of both adds up."""
        from trainers.evaluation.statistics.intervals import interval_for, student_t

        drawing = {"num_resamples": self.config.num_resamples, "seed": self.config.seed}
        spans = [interval_for(one, confidence=confidence, **drawing) for one in statistics]  # type: ignore[arg-type]
        low, high = float(np.mean([one.low for one in spans])), float(np.mean([one.high for one in spans]))
        if len(statistics) == 1:
            return low, high
        values = np.array([one.value for one in statistics])
        runs = student_t(values, confidence)
        mean, half = float(values.mean()), (runs.high - runs.low) / 2
        return mean - math.hypot(mean - low, half), mean + math.hypot(high - mean, half)
