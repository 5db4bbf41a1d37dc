"""Compares evaluations: which model is better in which metric, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from cluster.config import MetricSpec
from cluster.config.compare import CompareConfig
from cluster.config.load import nearest
from cluster.exceptions import ConfigError, DataError, UserError
from trainers.evaluation import compare_statistics
from trainers.evaluation.comparison import Compared, Comparison, CostDifference, Difference, Disagreement, listed
from trainers.evaluation.metrics import Measured, measure, specs_for
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.slices import slice_values
from trainers.evaluation.statistic import Sums, Whole
from trainers.evaluation.statistics.checks import UnpairedRows
from trainers.report import SHARES

HEADLINES = ("accuracy", "exact_match", "loss")
MOST_DISAGREEMENTS = 20
_LATENCY_PREFIX = "latency_p"


@dataclasses.dataclass(frozen=True)
class Side:
    """A model to compare.

    Attributes:
        results: its evaluation, or one for each training of it (other seeds).
        where: what the user named, for each.
        seeds: of each training, where they are known.
    """

    name: str
    results: Sequence[EvaluationResult]
    where: Sequence[str] = ()
    seeds: Sequence[int] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The runs of a model over rows in one order, with their metrics.

    Attributes:
        runs: rows of each run.
        measured: metrics of each run, by name.
        costs: of each run, by name.
        slices: columns and expressions whose values are looked at one by one.
        seeds: of each training, where they are known.
        left_out: metrics that are not defined on these rows, with the reason.
    """

    name: str
    runs: list[Rows]
    measured: list[dict[str, Measured]]
    costs: list[Mapping[str, float]]
    slices: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, side: Side, indices: Sequence[np.ndarray], specs: Sequence[MetricSpec]) -> Scored:
        """The rows at `indices` of each run, measured."""
        runs = [
            Rows([_answered(result.predictions[at]) for at in chosen], result.labels)
            for result, chosen in zip(side.results, indices, strict=True)
        ]
        left_out: dict[str, str] = {}
        measured = [measure(rows, specs, left_out) for rows in runs]
        slices = tuple(dict.fromkeys(name for one in side.results for name in one.slices))
        return cls(side.name, runs, measured, [one.cost for one in side.results], slices, tuple(side.seeds), left_out)

    @property
    def names(self) -> list[str]:
        """Metrics that all runs have."""
        return [name for name in self.measured[0] if all(name in one for one in self.measured)]

    @property
    def n(self) -> int:
        """Rows of a run."""
        return len(self.runs[0])

    def take(self, indices: np.ndarray, metric: str) -> Scored:
        """Some of the rows, with one metric."""
        taken = [
            {metric: dataclasses.replace(one[metric], statistic=one[metric].statistic.take(indices))}
            for one in self.measured
        ]
        return Scored(self.name, [rows.take(indices) for rows in self.runs], taken, self.costs, self.slices, self.seeds)

    def value(self, metric: str) -> float:
        """Mean over the runs."""
        return float(np.mean([one[metric].value for one in self.measured]))

    def rows_of(self, column: str) -> dict[str, np.ndarray]:
        """Value of a column or expression -> indices of its rows.

        Raises:
            DataError: for a column that no row has.
        """
        found: dict[str, list[int]] = {}
        for index, value in enumerate(slice_values(column, self.runs[0].predictions)):
            found.setdefault(value, []).append(index)
        return {value: np.array(at, np.int64) for value, at in sorted(found.items())}


def _answered(prediction: Prediction) -> Prediction:
    """A row that failed with an error counts as answered wrongly: leaving it out would favour who fails on hard rows."""
    if prediction.error is not None and prediction.reference is not None and prediction.output is None:
        return dataclasses.replace(prediction, output="")
    return prediction


# -- which rows -----------------------------------------------------------------------------------


def align(sides: Sequence[Side], rows: str = "same") -> list[list[np.ndarray]]:
    """Indices into the predictions of each run of each side, so that equal places hold the same row.

    Args:
        rows: `same` refuses evaluations of different rows, `shared` takes those that all have, `unpaired` aligns only
            the runs of each side.

    Raises:
        UnpairedRows: for rows that cannot be paired, with counts.
    """
    if rows == "unpaired":
        return [_aligned(side.results, [side.name] * len(side.results), "same") for side in sides]
    results = [result for side in sides for result in side.results]
    names = [side.name for side in sides for _ in side.results]
    flat = iter(_aligned(results, names, rows))
    return [[next(flat) for _ in side.results] for side in sides]


def _aligned(results: Sequence[EvaluationResult], names: Sequence[str], rows: str) -> list[np.ndarray]:
    places = [_places(result) for result in results]
    shared = [key for key in places[0] if all(key in other for other in places[1:])]
    for other, name in zip(places[1:], names[1:], strict=True):
        if rows == "same" and (len(shared) != len(places[0]) or len(other) != len(places[0])):
            common = sum(key in other for key in places[0])
            raise UnpairedRows(
                f"{names[0]} was evaluated on {len(places[0]):,} rows and {name} on {len(other):,}, of which {common:,} are "
                "the same; evaluate them on the same --data, or add --rows shared (those that all have) or "
                "--rows unpaired (tests for different rows)"
            )
    if not shared:
        raise UnpairedRows(
            f"the evaluations of {listed(list(dict.fromkeys(names)))} have no row in common; evaluate them on the same "
            "--data, or add --rows unpaired"
        )
    indices = [np.array([place[key] for key in shared], np.int64) for place in places]
    _check_references(results, names, indices)
    return indices


def _places(result: EvaluationResult) -> dict[tuple[str, int], int]:
    """Each row's index by what it says; rows that say the same are told apart by their order."""
    seen: Counter[str] = Counter()
    places: dict[tuple[str, int], int] = {}
    for index, one in enumerate(result.predictions):
        key = one.key or one.place
        places[(key, seen[key])] = index
        seen[key] += 1
    return places


def _check_references(results: Sequence[EvaluationResult], names: Sequence[str], indices: Sequence[np.ndarray]) -> None:
    first = [results[0].predictions[at].reference for at in indices[0]]
    for result, name, chosen in zip(results[1:], names[1:], indices[1:], strict=True):
        for reference, at in zip(first, chosen, strict=True):
            found = result.predictions[at]
            if found.reference != reference:
                raise DataError(
                    f"{found.place}: {names[0]} was held against the reference {reference!r} and {name} against "
                    f"{found.reference!r}; evaluate both on the same --data"
                )


# -- pairs ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Two models side by side: the second is held against the first."""

    first: Scored
    second: Scored
    paired: bool
    config: CompareConfig

    @property
    def n(self) -> int:
        """Rows compared; of the smaller one where they are not paired."""
        return min(self.first.n, self.second.n)

    @cached_property
    def names(self) -> list[str]:
        """Metrics that both have."""
        return [name for name in self.first.names if name in self.second.names]

    def known(self, metric: str) -> str:
        """The metric's name.

        Raises:
            ConfigError: if it is not measured on both, with the nearest that is.
        """
        return known_metric(metric, self.names)

    def difference(self, metric: str, *, confidence: float | None = None, margin: float | None = None) -> Difference:
        """All about the difference in one metric but the correction over others."""
        confidence = confidence or self.config.confidence
        margin = self.config.margins.get(metric) if margin is None else margin
        measured = self.first.measured[0][metric]
        blank = Difference(
            metric,
            self.first.name,
            self.second.name,
            _number(self.first.value(metric)),
            _number(self.second.value(metric)),
            self.n,
            measured.higher_is_better,
            is_share(measured),
            confidence=confidence,
            margin=margin,
            runs=(len(self.first.runs), len(self.second.runs)),
        )
        if blank.difference is None:
            return dataclasses.replace(blank, note="the metric is not defined on these rows")
        statistics = [[one[metric].statistic for one in side.measured] for side in (self.first, self.second)]
        try:
            found = compare_statistics.between(statistics[0], statistics[1], blank, self._found_on, self.config)
        except UserError as error:  # too few rows, or a metric that most samples of them do not define
            return dataclasses.replace(blank, note=str(error))
        return found

    def slices(
        self, metric: str, min_rows: int, columns: Sequence[str] = (), **settings: float | None
    ) -> list[Difference]:
        """The difference in every slice of so many rows, before correction.

        Args:
            columns: columns or expressions. Default: those that were evaluated.

        Raises:
            DataError: for a column that no row has.
        """
        found = []
        for column in columns or dict.fromkeys((*self.first.slices, *self.second.slices)):
            others = self.second.rows_of(column)
            for value, at in self.first.rows_of(column).items():
                other = at if self.paired else others.get(value, np.zeros(0, np.int64))
                if min(len(at), len(other)) >= min_rows:
                    part = Pair(self.first.take(at, metric), self.second.take(other, metric), self.paired, self.config)
                    found.append(dataclasses.replace(part.difference(metric, **settings), column=column, value=value))
        return found

    def costs(self) -> list[CostDifference]:
        """What both cost."""
        names = [name for name in self.first.costs[0] if all(name in one for one in self._all_costs)]
        return [self.cost(name) for name in names]

    def cost(self, name: str, confidence: float | None = None) -> CostDifference:
        """One cost of both, by the mean over runs.

        Raises:
            ConfigError: for one that was not measured on both.
        """
        if not all(name in one for one in self._all_costs):
            known = [known for known in self.first.costs[0] if all(known in one for one in self._all_costs)]
            raise ConfigError(unknown(name, known, "cost"))
        values = [float(np.mean([one[name] for one in side.costs])) for side in (self.first, self.second)]
        found = CostDifference(name, self.first.name, self.second.name, values[0], values[1])
        latencies = [latency_statistic(side.runs[0], name) for side in (self.first, self.second)]
        if latencies[0] is None or latencies[1] is None or max(found_runs(self)) > 1:
            return found
        sure = confidence or self.config.confidence
        low, high = compare_statistics.log_ratio_interval(latencies[0], latencies[1], self.paired, self.config, sure)
        return dataclasses.replace(found, interval=(low, high))

    @property
    def _found_on(self) -> compare_statistics.FoundOn:
        seeds = self.first.seeds
        return compare_statistics.FoundOn(self.paired, bool(seeds) and seeds == self.second.seeds)

    @property
    def _all_costs(self) -> Iterator[Mapping[str, float]]:
        yield from self.first.costs
        yield from self.second.costs

    def disagreements(self) -> tuple[list[Disagreement], dict[str, int]]:
        """Rows answered differently by the first run of each, gains and losses in turn, and how often both are right."""
        rows = list(zip(self.first.runs[0].predictions, self.second.runs[0].predictions, strict=True))
        rights = [(_is_right(one), _is_right(other)) for one, other in rows]
        counts = Counter(right for right in rights if None not in right)
        agreement = {
            "both right": counts[(True, True)],
            "only the first": counts[(True, False)],
            "only the second": counts[(False, True)],
            "both wrong": counts[(False, False)],
        }
        kinds = [(False, True), (True, False), (False, False), (None, None)]
        found = [
            [
                Disagreement(
                    self.first.name,
                    self.second.name,
                    one.place,
                    one.prompt,
                    one.reference,
                    one.output,
                    other.output,
                    *right,
                )
                for (one, other), right in zip(rows, rights, strict=True)
                if right == kind and one.output != other.output
            ][:MOST_DISAGREEMENTS]
            for kind in kinds
        ]
        turns = [one for turn in range(MOST_DISAGREEMENTS) for kind in found for one in kind[turn : turn + 1]]
        return turns[:MOST_DISAGREEMENTS], agreement if counts else {}


def found_runs(pair: Pair) -> tuple[int, int]:
    """Runs of the first and the second."""
    return len(pair.first.runs), len(pair.second.runs)


def latency_statistic(rows: Rows, name: str) -> Whole | None:
    """A percentile of the rows' latencies (`latency_p95_s`), where every row was timed."""
    if not name.startswith(_LATENCY_PREFIX) or any(one.latency_s is None for one in rows.predictions):
        return None
    share = float(name.removeprefix(_LATENCY_PREFIX).removesuffix("_s"))
    seconds = np.array([one.latency_s for one in rows.predictions], np.float64)
    return Whole(len(seconds), lambda drawn: float(np.percentile(seconds[drawn], share)))


def known_metric(metric: str, names: Sequence[str]) -> str:
    """The name, if it is among those measured.

    Raises:
        ConfigError: with the nearest that is.
    """
    if metric not in names:
        raise ConfigError(unknown(metric, names, "metric"))
    return metric


def unknown(name: str, known: Sequence[str], what: str) -> str:
    """What to say of a name that was not measured."""
    guess = nearest(name, known)
    hint = f"did you mean {guess!r}?" if guess else f"known are {listed(list(known))}" if known else "there is none"
    return f"found {name!r}, which is no {what} of these evaluations; {hint}"


def headline_of(names: Sequence[str]) -> str:
    """The metric that says it all.

    Raises:
        DataError: if there is none at all.
    """
    if not names:
        raise DataError("the evaluations have no metric in common; evaluate them with the same evaluate.metrics")
    return next((name for name in HEADLINES if name in names), names[0])


def is_share(measured: Measured) -> bool:
    """Whether a metric lies between 0 and 1, so that differences are told in points."""
    statistic = measured.statistic
    return measured.name.startswith(SHARES) or (isinstance(statistic, Sums) and statistic.is_binary)


def _is_right(prediction: Prediction) -> bool | None:
    if prediction.reference is None or prediction.output is None:
        return None
    return prediction.output.strip() == prediction.reference.strip()


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


# -- the whole comparison -------------------------------------------------------------------------


def compare(sides: Sequence[Side], config: CompareConfig | None = None, specs: Sequence[MetricSpec] = ()) -> Comparison:
    """Compare models, the first with each other one, or each with each one before it (`config.against`).

    Args:
        specs: metrics beside those that every evaluation of this kind of model has.

    Raises:
        ConfigError: for fewer than two models, or models of different kinds.
        UnpairedRows: for evaluations of different rows.
    """
    config = config or CompareConfig()
    scored = score(sides, config, specs)
    pairs = [Pair(first, second, config.rows != "unpaired", config) for first, second in _pairs(scored, config.against)]
    left_out = _left_out(scored)
    names = [name for name in pairs[0].names if all(name in pair.names for pair in pairs)]
    headline = headline_of(names)
    for name in config.margins:
        known_metric(name, names)
    found = [pair.difference(name) for name in names for pair in pairs]
    slices = [one for pair in pairs for one in pair.slices(headline, config.min_slice_rows)]
    shown = [(pair, *pair.disagreements()) for pair in pairs] if config.rows != "unpaired" else []
    return Comparison(
        kind=sides[0].results[0].kind,
        n=min(one.n for one in scored),
        paired=config.rows != "unpaired",
        confidence=config.confidence,
        correction=config.correction,
        headline=headline,
        models=[_compared(side) for side in sides],
        differences=corrected(found, config.correction, 1 - config.confidence),
        slices=corrected(slices, config.correction, 1 - config.confidence),
        costs=[cost for pair in pairs for cost in pair.costs()],
        disagreements=[row for _, rows, _ in shown for row in rows],
        agreement={f"{pair.second.name} against {pair.first.name}": counts for pair, _, counts in shown if counts},
        left_out=left_out,
        notes=_notes(sides, scored),
    )


def score(sides: Sequence[Side], config: CompareConfig, specs: Sequence[MetricSpec] = ()) -> list[Scored]:
    """The models over the rows that are compared, measured anew from their predictions.

    Raises:
        ConfigError, UnpairedRows: as `compare`.
    """
    if len(sides) < 2:
        raise ConfigError(f"found {len(sides)} model to compare; expected at least two")
    kinds = {result.kind: side.name for side in sides for result in side.results}
    if len(kinds) > 1:
        said = ", ".join(f"{name} is a {kind}" for kind, name in kinds.items())
        raise ConfigError(f"found models of different kinds ({said}); compare models of one kind")
    for side in sides:
        if not all(result.predictions for result in side.results):
            raise DataError(f"{side.name}: its evaluation holds no rows; evaluate it on --data with rows")
    return aligned(sides, config, specs_for(next(iter(kinds)), specs))


def _check_runs(sides: Sequence[Side]) -> None:
    runs = {side.name: len(side.results) for side in sides}
    if min(runs.values()) == 1 < max(runs.values()):
        said = ", ".join(f"{name} for {number}" for name, number in runs.items())
        raise ConfigError(
            f"found models that stand for different numbers of trainings ({said}); expected one each, or several each, since "
            "one training does not tell how much its seed matters"
        )


def aligned(sides: Sequence[Side], config: CompareConfig, specs: Sequence[MetricSpec]) -> list[Scored]:
    """The models over the rows that are compared, with exactly these metrics.

    Raises:
        ConfigError: for one training against several.
        UnpairedRows: for evaluations of different rows.
    """
    _check_runs(sides)
    chosen = align(sides, config.rows)
    return [Scored.of(side, indices, specs) for side, indices in zip(sides, chosen, strict=True)]


def _pairs(scored: Sequence[Scored], against: str) -> list[tuple[Scored, Scored]]:
    if against == "first":
        return [(scored[0], other) for other in scored[1:]]
    return [(scored[first], scored[second]) for second in range(len(scored)) for first in range(second)]


def corrected(differences: Sequence[Difference], correction: str, alpha: float) -> list[Difference]:
    """The differences with p-values corrected over all of them, and their verdicts."""
    from trainers.evaluation.statistics import correction as corrections

    tested = [one.p_value for one in differences if one.p_value is not None]
    methods = {"holm": corrections.holm, "benjamini_hochberg": corrections.benjamini_hochberg}
    adjusted = iter(methods[correction](tested) if correction in methods and tested else tested)
    return [one.judged(None if one.p_value is None else float(next(adjusted)), alpha) for one in differences]


def _left_out(scored: Sequence[Scored]) -> dict[str, str]:
    names = dict.fromkeys(name for side in scored for name in (*side.names, *side.left_out))
    missing = {name: [side for side in scored if name not in side.names] for name in names}
    return {
        name: next((side.left_out[name] for side in sides if name in side.left_out), "not measured")
        + f" ({listed([side.name for side in sides])})"
        for name, sides in missing.items()
        if sides
    }


def _compared(side: Side) -> Compared:
    predictions = [one for result in side.results for one in result.predictions]
    return Compared(
        side.name,
        list(side.where),
        [result.n for result in side.results],
        sum(one.error is not None and one.output is None for one in predictions),
        [result.fingerprint for result in side.results],
    )


def _notes(sides: Sequence[Side], scored: Sequence[Scored]) -> list[str]:
    notes = []
    for side, rows in zip(sides, scored, strict=True):
        given = max(result.n for result in side.results)
        if rows.n < given:
            notes.append(f"{side.name}: {given - rows.n:,} of {given:,} rows are not compared, since others lack them")
        unanswered = _compared(side).unanswered
        if unanswered:
            notes.append(f"{side.name}: {unanswered:,} rows have no answer because of an error, and count as wrong")
    seen: dict[Any, str] = {}
    for side in sides:
        for result in side.results:
            other = seen.setdefault(result.fingerprint or id(result), side.name)
            if other != side.name:
                notes.append(f"{other} and {side.name} are the same evaluation: they cannot differ")
    return notes
