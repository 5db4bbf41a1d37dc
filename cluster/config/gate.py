"""`gate:` when a new version may take the place of the one before."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cluster.config.base import Config

_DEFAULT_MIN_SLICE_ROWS = 50


class ClauseBase(Config):
    """One condition. It passes, fails, or is inconclusive where the rows cannot tell."""

    confidence: float | None = Field(default=None, gt=0.5, lt=1.0)
    """How sure the bound is that decides. Default: `gate.confidence`."""


class NotWorse(ClauseBase):
    """Not worse than the reference by more than a margin (non-inferiority): passes if the interval excludes a larger loss,
    fails if it lies beyond the margin."""

    kind: Literal["not_worse"] = "not_worse"
    metric: str
    """Name of a metric, as `mobula evaluate` shows it."""
    margin: float = Field(gt=0.0)
    """How much worse is tolerated, in the metric's own unit: 0.005 is half a point of accuracy."""
    worse: Literal["lower", "higher"] | None = None
    """Which direction is the worse one. Default: what the metric says of itself."""


class Better(ClauseBase):
    """Better than the reference: passes if the interval of the difference lies beyond `by`, fails if it lies short of it."""

    kind: Literal["better"] = "better"
    metric: str
    """Name of a metric, as `mobula evaluate` shows it."""
    by: float = Field(default=0.0, ge=0.0)
    """Least gain, in the metric's own unit."""


class Slices(ClauseBase):
    """No slice of the rows is worse than under the reference by a margin or more. Fails if such a loss is shown, tests over
    slices corrected by Holm."""

    kind: Literal["slices"] = "slices"
    metric: str | None = None
    """Name of a metric. Default: accuracy, exact match, or loss where nothing can be compared."""
    margin: float = Field(gt=0.0)
    """Loss that no slice may have, in the metric's own unit."""
    min_rows: int = Field(default=_DEFAULT_MIN_SLICE_ROWS, ge=2)
    """Smaller slices do not count."""
    columns: list[str] = Field(default_factory=list)
    """Columns whose values are the slices. Default: all that were evaluated."""
    evidence: Literal["observed", "shown", "excluded"] = "observed"
    """What keeps it from passing. `observed`: a slice that came out worse by the margin, be it by chance (inconclusive).
    `shown`: only a loss that is shown. `excluded`: any slice whose interval does not exclude such a loss."""


class AtMostRatio(ClauseBase):
    """At most so many times the reference's: for latency, memory, size and other costs."""

    kind: Literal["at_most_ratio"] = "at_most_ratio"
    metric: str
    """Name of a cost (`latency_p95_s`, `model_bytes`, ...) or of a metric."""
    ratio: float = Field(gt=0.0)
    """Largest value, as a multiple of the reference's."""


class AtLeastRatio(ClauseBase):
    """At least so many times the reference's: for throughput."""

    kind: Literal["at_least_ratio"] = "at_least_ratio"
    metric: str
    """Name of a cost (`output_tokens_per_s`, `rows_per_s`, ...) or of a metric."""
    ratio: float = Field(gt=0.0)
    """Smallest value, as a multiple of the reference's."""


class AtLeast(ClauseBase):
    """At least a fixed value; needs no reference."""

    kind: Literal["at_least"] = "at_least"
    metric: str
    """Name of a metric or a cost."""
    value: float
    """Smallest value, in its own unit."""


class AtMost(ClauseBase):
    """At most a fixed value; needs no reference."""

    kind: Literal["at_most"] = "at_most"
    metric: str
    """Name of a metric or a cost."""
    value: float
    """Largest value, in its own unit."""


class Judge(ClauseBase):
    """A judge model prefers the candidate's answers: its win rate is above a share."""

    kind: Literal["judge"] = "judge"
    metric: str = "judge_win_rate"
    """Metric that holds the win rate."""
    win_rate: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share that the win rate must exceed."""
    min_agreement: float | None = Field(default=None, gt=-1.0, le=1.0)
    """Least agreement of the judge with people's labels; a judge that agrees less, or was never compared, decides nothing."""


# -- clauses as a line of text --------------------------------------------------------------------

_NUMBER = r"(\d+(?:\.\d+)?(?:e-?\d+)?)"
_POINTS = r"(?: (?:percentage )?(points?))?"
_THAN = r"(?: than (?:the )?(?:champion|reference))?"
_CONFIDENCE = re.compile(r",? +(\d+(?:\.\d+)?) ?%$")


def _amount(number: str, points: str | None) -> float:
    return float(number) / 100 if points else float(number)


def _name(words: str) -> str:
    """The name of a metric or cost, as people write it: `p95 latency` is `latency_p95_s`, `macro-F1` is `macro_f1`."""
    text = words.strip()
    latency = re.fullmatch(r"(?:latency p(\d+)|p(\d+) latency)", text, re.IGNORECASE)
    if latency:
        return f"latency_p{latency[1] or latency[2]}_s"
    if re.fullmatch(r"(?:model )?size", text, re.IGNORECASE):
        return "model_bytes"
    return text if re.search(r"[.@:_/]", text) else re.sub(r"[ -]+", "_", text).lower()


_Shape = tuple[str, Callable[[re.Match[str]], dict[str, Any]]]

_SHAPES: tuple[_Shape, ...] = (
    (
        rf"no slice (?:of (\d+) rows or more )?(?:is )?worse(?: in (.+?))?{_THAN} by {_NUMBER}{_POINTS}(?: or more)?",
        lambda found: {
            "kind": "slices",
            "min_rows": int(found[1] or _DEFAULT_MIN_SLICE_ROWS),
            "metric": _name(found[2]) if found[2] else None,
            "margin": _amount(found[3], found[4]),
        },
    ),
    (
        rf"(.+?) not (lower|higher|worse){_THAN} by (?:more than )?{_NUMBER}{_POINTS}",
        lambda found: {
            "kind": "not_worse",
            "metric": _name(found[1]),
            "margin": _amount(found[3], found[4]),
            "worse": None if found[2] == "worse" else found[2],
        },
    ),
    (
        rf"(.+?) better{_THAN}(?: by (?:at least )?{_NUMBER}{_POINTS})?",
        lambda found: {
            "kind": "better",
            "metric": _name(found[1]),
            "by": _amount(found[2], found[3]) if found[2] else 0.0,
        },
    ),
    (
        rf"(.+?) at (most|least) {_NUMBER} times(?: that of)?(?: (?:the )?(?:champion|reference)(?:'s)?)?",
        lambda found: {"kind": f"at_{found[2]}_ratio", "metric": _name(found[1]), "ratio": float(found[3])},
    ),
    (
        rf"(.+?) at (most|least) {_NUMBER}( ?%)?",
        lambda found: {
            "kind": f"at_{found[2]}",
            "metric": _name(found[1]),
            "value": _amount(found[3], found[4]),
        },
    ),
)


def parse_clause(value: Any) -> Any:
    """A clause written as one line, as the section it stands for; anything else as it is.

    Raises:
        ValueError: for a line of no known form.
    """
    if not isinstance(value, str):
        return value
    text = " ".join(value.split())
    sure = _CONFIDENCE.search(text)
    for line, confidence in ((text, None), (text[: sure.start()] if sure else text, sure)):
        for shape, section in _SHAPES:
            found = re.fullmatch(shape, line, re.IGNORECASE)
            if found:
                return section(found) | ({"confidence": float(confidence[1]) / 100} if confidence else {})
    raise ValueError(
        f"found the clause {value!r}; expected a form such as 'accuracy not lower than champion by more than 0.5 points', "
        "'macro_f1 better', 'no slice of 50 rows or more worse by 3 points', 'p95 latency at most 1.2 times' or "
        "'accuracy at least 0.9', each with ', 95 %' behind it if need be; or write a section with `kind:`"
    )


Clause = NotWorse | Better | Slices | AtMostRatio | AtLeastRatio | AtLeast | AtMost | Judge
"""The kinds of clauses."""


class GateConfig(Config):
    """Conditions under which a candidate may replace the reference."""

    clauses: list[Annotated[Annotated[Clause, Field(discriminator="kind")], BeforeValidator(parse_clause)]] = Field(
        min_length=1
    )
    """What must hold. Each is a section, or a line such as `accuracy not lower than champion by more than 0.5 points, 95 %`."""
    reference: str | None = None
    """What the candidate is held against: anything that `mobula compare` takes. Default: the registry's champion of the run's name."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    """How sure a bound must be to decide. Every clause must pass, so no clause needs correcting for the others."""
    min_rows: int = Field(default=30, ge=2)
    """With fewer rows no clause about a metric is decided."""
