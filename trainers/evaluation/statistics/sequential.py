"""Looking as often as one likes: intervals that hold at all times at once, for traffic that is judged while it flows.

An ordinary 95 % interval looked at after every request misses the truth sooner or later, nearly for sure. A *confidence
sequence* misses it at any time with a chance of 5 % in all, so that one may stop when it says enough.

- `ShareSequence`, for outcomes 0 or 1: mixture of likelihood ratios (Robbins 1970), exact.
- `BoundedSequence`, for values between known bounds: hedged bets against each mean (Waudby-Smith and Ramdas 2024, "Estimating
  means of bounded random variables by betting", theorem 3, with a mixture of constant bets), exact.
- `MeanSequence`, for values without bounds, such as latencies: Gaussian mixture with the variance found so far
  (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence
  sequences", theorem 2.2); holds for many rows.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistics.intervals import Interval, known_level

Values = Sequence[float] | np.ndarray
LARGEST_BET = 0.75
"""Share of the money that is risked at most on one value."""
NUM_BETS = 9
"""Sizes of bets; the smallest suits some hundred thousand values."""


class ConfidenceSequence(ABC):
    """An interval of the mean of a stream, valid however often it is looked at.

    Attributes:
        n: values seen.
    """

    method = ""

    def __init__(self, confidence: float = 0.95) -> None:
        known_level(confidence)
        self.confidence = confidence
        self.n = 0

    def update(self, values: Values) -> Interval:
        """Take in further values, in the order in which they came.

        Raises:
            DataError: for values that are no numbers, or outside of the bounds.
        """
        given = np.asarray(values, np.float64).reshape(-1)
        if not np.isfinite(given).all():
            raise DataError("found a value that is no number in a stream; expected finite numbers: leave failures out")
        self._take_in(given)
        self.n += len(given)
        return self.interval

    @property
    def interval(self) -> Interval:
        """Where the mean lies, with this confidence at all times together."""
        low, high = self._bounds()
        return Interval(low, high, self.confidence, self.method)

    @abstractmethod
    def _take_in(self, values: np.ndarray) -> None: ...

    @abstractmethod
    def _bounds(self) -> tuple[float, float]: ...


class ShareSequence(ConfidenceSequence):
    """For a share, such as of answers that users liked."""

    method = "beta-binomial mixture"

    def __init__(self, confidence: float = 0.95) -> None:
        super().__init__(confidence)
        self.hits = 0

    def _take_in(self, values: np.ndarray) -> None:
        if not np.isin(values, (0.0, 1.0)).all():
            raise DataError("found a value other than 0 and 1 in a stream of shares; use a BoundedSequence")
        self.hits += int(values.sum())

    def _bounds(self) -> tuple[float, float]:
        from scipy.optimize import brentq

        if not self.n:
            return 0.0, 1.0
        found, enough = self.hits / self.n, -math.log(1 - self.confidence)

        def short(share: float) -> float:
            return float(share_evidence(self.hits, self.n, share)) - enough

        tiny = 1e-12
        low = 0.0 if self.hits == 0 or short(tiny) < 0 else brentq(short, tiny, min(found, 1 - tiny))
        high = 1.0 if self.hits == self.n or short(1 - tiny) < 0 else brentq(short, max(found, tiny), 1 - tiny)
        return float(low), float(high)


def share_evidence(hits: float | np.ndarray, n: float | np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Log of the mixture's likelihood, under Jeffreys' prior, over that of one share: above -log(level) at any time with
    at most the chance `level`, if that share is the true one."""
    from scipy.special import betaln, xlog1py, xlogy

    hits, misses = np.asarray(hits), np.asarray(n) - hits
    mixed = betaln(hits + 0.5, misses + 0.5) - betaln(0.5, 0.5)
    return mixed - xlogy(hits, share) - xlog1py(misses, -np.asarray(share))


class BoundedSequence(ConfidenceSequence):
    """For values between two bounds, whatever their distribution.

    For each candidate mean, money is bet that values come out higher, and other money that they come out lower; if the
    candidate is right neither grows much, and one that makes either grow by 2 / (1 - confidence) is left out. The money is
    split evenly over bets of several sizes, each half as large as the one before: large ones tell after few values, small
    ones after many.

    Attributes:
        low, high: the bounds.
    """

    method = "betting"

    def __init__(self, low: float = 0.0, high: float = 1.0, confidence: float = 0.95, points: int = 1001) -> None:
        """
        Args:
            points: candidates for the mean, evenly spaced; the interval is rounded outwards to them.

        Raises:
            ConfigError: for bounds without room between them.
        """
        super().__init__(confidence)
        if not low < high:
            raise ConfigError(f"found bounds {low} and {high}; expected the first to be below the second")
        self.low, self.high = low, high
        self.candidates = np.linspace(0.0, 1.0, points)
        sizes = LARGEST_BET * 0.5 ** np.arange(NUM_BETS)[:, None]
        # No bet may lose everything: on values above m at most 1 / m can be bet, below at most 1 / (1 - m)
        self._bets = np.stack([sizes / np.maximum(one, 1e-9) for one in (self.candidates, 1 - self.candidates)])
        self._bets[1] *= -1
        self._capital = np.zeros(self._bets.shape)

    def _take_in(self, values: np.ndarray) -> None:
        scaled = (values - self.low) / (self.high - self.low)
        if ((scaled < 0) | (scaled > 1)).any():
            raise DataError(f"found a value outside of {self.low} to {self.high}; expected none: give the true bounds")
        for value in scaled:
            self._capital += np.log1p(self._bets * (value - self.candidates))

    def excluded(self) -> np.ndarray:
        """Which of the candidates are left out, shape (points,)."""
        return self._evidence() >= math.log(2 / (1 - self.confidence))

    def _evidence(self) -> np.ndarray:
        """Log of what the money of the better side has become, shape (points,)."""
        return np.logaddexp.reduce(self._capital, axis=1).max(0) - math.log(NUM_BETS)

    def _bounds(self) -> tuple[float, float]:
        left = np.flatnonzero(~self.excluded())
        # Bets against a mean next to the truth lose: something is always left, unless the stream has changed
        if not len(left):
            left = np.array([np.argmin(self._evidence())])
        first, last = max(left[0] - 1, 0), min(left[-1] + 1, len(self.candidates) - 1)
        width = self.high - self.low
        return float(self.low + width * self.candidates[first]), float(self.low + width * self.candidates[last])


class MeanSequence(ConfidenceSequence):
    """For values without bounds; says nothing before `least` values, since it leans on the central limit theorem."""

    method = "gaussian mixture"

    def __init__(self, confidence: float = 0.95, narrowest_at: int = 1000, least: int = 50) -> None:
        """
        Args:
            narrowest_at: number of values for which the sequence is made as narrow as it can be.
        """
        super().__init__(confidence)
        self.narrowest_at, self.least = narrowest_at, least
        self.mean, self._squares = 0.0, 0.0

    def _take_in(self, values: np.ndarray) -> None:
        if not len(values):
            return
        both = self.n + len(values)
        apart = float(values.mean()) - self.mean
        self._squares += float(((values - values.mean()) ** 2).sum()) + apart**2 * self.n * len(values) / both
        self.mean += apart * len(values) / both

    def _bounds(self) -> tuple[float, float]:
        if self.n < max(self.least, 2):
            return -math.inf, math.inf
        half = math.sqrt(self._squares / self.n) * float(mixture_radius(self.n, self.confidence, self.narrowest_at))
        return self.mean - half, self.mean + half


def mixture_radius(n: int | np.ndarray, confidence: float, narrowest_at: int) -> np.ndarray:
    """Half the width of a `MeanSequence` after n values, in standard deviations."""
    level = 1 - confidence
    scale = (-2 * math.log(level) + math.log(1 - 2 * math.log(level))) / narrowest_at
    spread = np.asarray(n) * scale + 1
    return np.sqrt(2 * spread / (np.asarray(n, np.float64) ** 2 * scale) * np.log(np.sqrt(spread) / level))


Decision = Literal["better", "not worse", "worse", "undecided"]


@dataclasses.dataclass(frozen=True)
class SequentialResult:
    """Where a comparison stands.

    Attributes:
        decision: about the second against the first. Once it is other than `undecided` it stays, but for `not worse`,
            which may become `better`.
        interval: of second minus first, valid at all times together.
        n_first, n_second: values compared.
        n_decided: values of both when the decision fell; None before.
    """

    decision: Decision
    interval: Interval
    n_first: int
    n_second: int
    n_decided: int | None = None


class SequentialTest:
    """Two models under traffic, compared while it flows; look after every request if you like.

    Values go into blocks with at least one of each model; the difference of the block's two means is one value of a
    confidence sequence. Which values share a block depends on when they came and never on what they are, so any share of
    traffic may go to the second. Outcomes of a shadow deployment, where both answer the same request, come in pairs.
    """

    def __init__(
        self,
        *,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        margin: float = 0.0,
        higher_is_better: bool = True,
        confidence: float = 0.95,
    ) -> None:
        """
        Args:
            bounds: of single values; None where there are none (latency).
            margin: how much lower (or higher, where lower is better) the second may be and still be `not worse`.

        Raises:
            ConfigError: for a negative margin or bounds without room between them.
        """
        if margin < 0:
            raise ConfigError(f"found a margin of {margin}; expected 0 or more, in the units of the values")
        self.margin, self.higher_is_better = margin, higher_is_better
        self.bounds = bounds
        if bounds is None:
            self.sequence: ConfidenceSequence = MeanSequence(confidence)
        else:
            width = bounds[1] - bounds[0]
            self.sequence = BoundedSequence(-width, width, confidence)
        self._waiting: tuple[list[float], list[float]] = ([], [])
        self._counts = [0, 0]
        self._decision: Decision = "undecided"
        self._n_decided: int | None = None

    def update(self, first: Values = (), second: Values = ()) -> SequentialResult:
        """Take in what came since the last look, of either model, in the order in which it came.

        Raises:
            DataError: for values that are no numbers, or outside of the bounds.
        """
        for waiting, values in zip(self._waiting, (first, second), strict=True):
            waiting.extend(self._checked(values))
        blocks = min(len(waiting) for waiting in self._waiting)
        if blocks:
            one, other = ([part.mean() for part in np.array_split(waiting, blocks)] for waiting in self._waiting)
            for side, waiting in enumerate(self._waiting):
                self._counts[side] += len(waiting)
                waiting.clear()
            self.sequence.update(np.subtract(other, one))
            self._decide()
        return self.result

    @property
    def result(self) -> SequentialResult:
        """Where it stands."""
        one, other = self._counts
        return SequentialResult(self._decision, self.sequence.interval, one, other, self._n_decided)

    def _checked(self, values: Values) -> list[float]:
        given = np.asarray(values, np.float64).reshape(-1)
        if not np.isfinite(given).all():
            raise DataError("found a value that is no number in a stream; expected finite numbers: leave failures out")
        if self.bounds is not None and ((given < self.bounds[0]) | (given > self.bounds[1])).any():
            raise DataError(f"found a value outside of {self.bounds}; expected none: give the true bounds")
        return [float(value) for value in given]

    def _decide(self) -> None:
        interval = self.sequence.interval
        low, high = interval.low, interval.high
        if not self.higher_is_better:
            low, high = -high, -low
        if self._decision == "undecided":
            if low > 0:
                self._decision = "better"
            elif high < -self.margin:
                self._decision = "worse"
            elif low > -self.margin:
                self._decision = "not worse"
            self._n_decided = sum(self._counts) if self._decision != "undecided" else None
        elif self._decision == "not worse" and low > 0:
            self._decision = "better"
