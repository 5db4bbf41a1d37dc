"""Drawing from distributions that can only be evaluated: importance weights, rejection, and a Markov chain.

For looking where it matters: a metric over the answers that are relevant, estimated from answers drawn otherwise; or draws
from a density known up to a factor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from cluster.exceptions import ConfigError, DataError

LogDensity = Callable[[np.ndarray], np.ndarray]
"""Points of shape (n, d) to log densities of shape (n,), up to one constant."""
AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean from weighted draws.

    Attributes:
        error: its standard error.
        effective_n: as many draws from the target itself would tell as much (Kish 1965).
    """

    value: float
    error: float
    effective_n: float


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """Draws of a Markov chain.

    Attributes:
        draws: shape (n, d).
        acceptance: share of the proposals that were taken.
    """

    draws: np.ndarray
    acceptance: float

    def effective_n(self) -> float:
        """Independent draws worth as much, of the worst coordinate (initial positive sequence; Geyer 1992)."""
        return min(_effective_n(column) for column in self.draws.T)


def importance_estimate(values: np.ndarray, log_weights: np.ndarray) -> Estimate:
    """Mean under a target of values drawn from a proposal; weights are normalised by their sum.

    Args:
        values: shape (n,).
        log_weights: log of target over proposal density at each draw, up to one constant, shape (n,).

    Raises:
        DataError: for different lengths, fewer than two draws, or no weight at all.
    """
    given, logs = np.asarray(values, np.float64), np.asarray(log_weights, np.float64)
    if given.shape != logs.shape or given.ndim != 1 or len(given) < 2:
        raise DataError(f"found {given.shape} values and {logs.shape} weights; expected as many of both, two at least")
    if not np.isfinite(logs.max()):
        raise DataError("every draw has weight 0 under the target; expected draws that reach where the target is")
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    value = float(weights @ given)
    error = float(np.sqrt(weights**2 @ (given - value) ** 2))
    return Estimate(value, error, float(1 / (weights**2).sum()))


def rejection_sample(
    target: LogDensity,
    propose: Callable[[np.random.Generator, int], np.ndarray],
    proposal: LogDensity,
    log_bound: float,
    num: int,
    *,
    most_proposals: int = 10_000_000,
    seed: int = 0,
) -> np.ndarray:
    """Draws from the target exactly, shape (num, d).

    Args:
        propose: generator and number to draws of the proposal, shape (n, d).
        log_bound: at least the log of target over proposal density anywhere.

    Raises:
        ConfigError: if a draw shows that the bound does not hold.
        DataError: if so few are accepted that `most_proposals` give too few.
    """
    generator = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    accepted = 0
    for _ in range(0, most_proposals, AT_ONCE):
        drawn = propose(generator, AT_ONCE)
        above = target(drawn) - proposal(drawn) - log_bound
        if (above > 1e-9).any():
            raise ConfigError(
                f"the target exceeds the proposal by a log factor of {float(above.max() + log_bound):.4g}, and log_bound is "
                f"{log_bound:.4g}; expected a bound that holds everywhere"
            )
        kept = drawn[np.log1p(-generator.random(AT_ONCE)) <= above]
        found.append(kept)
        accepted += len(kept)
        if accepted >= num:
            return np.concatenate(found)[:num]
    raise DataError(
        f"{accepted} of {most_proposals:,} proposals were accepted; expected {num}: choose a closer proposal"
    )


def metropolis(
    target: Callable[[np.ndarray], float],
    start: np.ndarray,
    num: int,
    *,
    step: float | np.ndarray = 1.0,
    warm_up: int = 1000,
    seed: int = 0,
) -> Chain:
    """Random-walk Metropolis (1953) with normal steps; the step length adapts during warm-up and is fixed afterwards, so
    that the draws kept have the target as their distribution.

    Args:
        target: one point of shape (d,) to its log density, up to a constant.
        step: standard deviation of a step, one for all coordinates or one each.

    Raises:
        DataError: if the target is 0 where the chain starts.
    """
    generator = np.random.default_rng(seed)
    point = np.atleast_1d(np.asarray(start, np.float64))
    height = target(point)
    if not np.isfinite(height):
        raise DataError(f"the target has log density {height} at the start; expected a point where it is above 0")
    draws, taken, scale = np.empty((num, len(point))), 0, 1.0
    for index in range(-warm_up, num):
        proposed = point + scale * step * generator.standard_normal(len(point))
        there = target(proposed)
        chance = float(np.exp(min(there - height, 0.0)))
        if generator.random() < chance:
            point, height = proposed, there
            taken += index >= 0
        if index < 0:  # Robbins and Monro: towards an acceptance of 0.35
            scale *= float(np.exp((chance - 0.35) / np.sqrt(index + warm_up + 1)))
        else:
            draws[index] = point
    return Chain(draws, taken / max(num, 1))


def _effective_n(column: np.ndarray) -> float:
    n = len(column)
    apart = column - column.mean()
    padded = np.fft.rfft(apart, 2 * n)
    covariance = np.fft.irfft(padded * padded.conj())[:n] / n
    if covariance[0] <= 0:
        return 1.0
    pairs = (covariance / covariance[0])[: n // 2 * 2].reshape(-1, 2).sum(1)
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    return float(n / max(2 * kept.sum() - 1, 1 / n))
