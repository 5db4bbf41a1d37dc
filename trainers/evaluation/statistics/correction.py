"""Many tests at once: p-values adjusted so that all of them together keep their level; through statsmodels."""

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
    return _adjusted(p_values, "holm")


def benjamini_hochberg(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjusted so that the expected share of false ones among those found stays below the level (Benjamini and
    Hochberg 1995); for looking through many slices, where a few false ones do little harm.

    Raises:
        DataError: for what is no p-value.
    """
    return _adjusted(p_values, "fdr_bh")


def _adjusted(p_values: Sequence[float] | np.ndarray, method: str) -> np.ndarray:
    from statsmodels.stats.multitest import multipletests

    given = np.asarray(p_values, np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise DataError(f"found p-values {given.tolist()}; expected a list of numbers between 0 and 1")
    return np.asarray(multipletests(given, method=method)[1], np.float64) if len(given) else given
