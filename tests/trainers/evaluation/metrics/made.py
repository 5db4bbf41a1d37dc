"""Rows made by chance, and what is claimed of every metric that resamples."""

import numpy as np
import pytest

from cluster.config import MetricSpec
from trainers.evaluation.metrics import measure
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

WORDS = ["the", "a", "cat", "dog", "sat", "sits", "on", "mat", "it", "ran", "fast,", "never", "slow.", "again"]


def rows(*pairs: tuple[str | None, str | None], labels: tuple[str, ...] = ()) -> Rows:
    return Rows([Prediction(f"rows:{at}", want, got) for at, (want, got) in enumerate(pairs)], labels)


def values(given: Rows, name: str, **args) -> dict[str, float]:
    return {shown: one.value for shown, one in measure(given, [MetricSpec(name=name, args=args)]).items()}


def value(given: Rows, name: str, **args) -> float:
    (found,) = values(given, name, **args).values()
    return found


def reason(given: Rows, name: str, **args) -> str:
    left_out: dict[str, str] = {}
    assert not measure(given, [MetricSpec(name=name, args=args)], left_out)
    return left_out[name]


def sentence(rng: np.random.Generator, longest: int = 12) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(0, longest)))


def labelled(rng: np.random.Generator, n: int, classes: int) -> Rows:
    """Rows of a classifier that is right about half the time."""
    labels = tuple(f"label {at}" for at in range(classes))
    want = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), want] += 1.0
    return Rows(
        [
            Prediction(f"rows:{at}", labels[true], labels[int(line.argmax())], logits=line.tolist())
            for at, (true, line) in enumerate(zip(want, logits, strict=True))
        ],
        labels,
    )


def resamples_as_recomputed(given: Rows, name: str, seed: int, **args) -> None:
    """What a metric's statistic gives over rows drawn again is what the metric gives over those rows."""
    drawn = np.random.default_rng(seed).integers(0, len(given), len(given))
    again = values(given.take(drawn), name, **args)
    for shown, one in measure(given, [MetricSpec(name=name, args=args)]).items():
        assert one.statistic.take(drawn).value == pytest.approx(again.get(shown, np.nan), nan_ok=True), shown
