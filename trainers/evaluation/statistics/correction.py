"""Many tests at once: p-values adjusted so that all of them together keep their level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.exceptions import DataError


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjusted so that the chance of any false positive among all stays below the level (Holm 1979).

    Returns:
        Shape (tests,), in the order given; compare with the level as single p-values.

    Raises:
        DataError: for what is no p-value.
    """
    given = _checked(p_values)
    # statsmodels has it too, but collects garbage at each call, which takes a third of a second beside a model
    order = np.argsort(given)
    stepped = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjusted so that the expected share of false ones among those found stays below the level (Benjamini and
    Hochberg 1995); for looking through many slices, where a few false ones do little harm.

    Raises:
        DataError: for what is no p-value.
    """
    from scipy.stats import false_discovery_control

    given = _checked(p_values)
    return np.asarray(false_discovery_control(given), np.float64) if len(given) else given


def _checked(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    given = np.asarray(p_values, np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise DataError(f"found p-values {given.tolist()}; expected a list of numbers between 0 and 1")
    return given
