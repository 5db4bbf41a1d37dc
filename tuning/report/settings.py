"""Settings as numbers in 0..1: by ratio where the space is searched by ratio, choices by their place in the list."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from cluster.config.tune import Choice, Domain, IntRange
from tuning.space import Values, distributions


@dataclasses.dataclass(frozen=True)
class Settings:
    """The keys of a space and their ranges.

    A value of a range lies at its share of the way from `low` to `high`; choice number i of k at (i + 1/2) / k, so that
    any number in 0..1 stands for some value.
    """

    space: Mapping[str, Domain]

    @property
    def keys(self) -> list[str]:
        return list(self.space)

    def __len__(self) -> int:
        return len(self.space)

    def only(self, keys: Sequence[str]) -> Settings:
        """The same over some of the keys."""
        return Settings({key: self.space[key] for key in keys})

    @cached_property
    def choices(self) -> dict[str, list[Any]]:
        """The values of each choice."""
        found = distributions(self.space)
        return {key: list(found[key].choices) for key in self.keys if isinstance(self.space[key], Choice)}  # type: ignore[attr-defined]

    def unit(self, key: str, value: Any) -> float:
        """Where a value lies in its range; nan for none, or a choice that is not offered."""
        domain = self.space[key]
        if key in self.choices:
            known = self.choices[key]
            return (known.index(value) + 0.5) / len(known) if value in known else math.nan
        if value is None:
            return math.nan
        low, high, at = (float(one) for one in (domain.low, domain.high, value))  # type: ignore[union-attr]
        if domain.log:  # type: ignore[union-attr]
            low, high, at = math.log(low), math.log(high), math.log(max(at, 1e-300))
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def value(self, key: str, unit: float) -> Any:
        """The value that lies there."""
        domain = self.space[key]
        if key in self.choices:
            known = self.choices[key]
            return known[min(int(unit * len(known)), len(known) - 1)]
        low, high = float(domain.low), float(domain.high)  # type: ignore[union-attr]
        at = low * (high / low) ** unit if domain.log else low + unit * (high - low)  # type: ignore[union-attr]
        if domain.step is not None and not domain.log:  # type: ignore[union-attr]
            at = low + round((at - low) / domain.step) * domain.step  # type: ignore[union-attr]
        return round(at) if isinstance(domain, IntRange) else at

    def units(self, values: Sequence[Values]) -> np.ndarray:
        """Places of some trials, shape (n, d). A setting that a trial does not have counts as the middle of its range."""
        found = np.array([[self.unit(key, one.get(key)) for key in self.keys] for one in values], float)
        return np.where(np.isnan(found), 0.5, found).reshape(len(values), len(self))

    def values(self, units: np.ndarray) -> Values:
        """The values at one place, shape (d,)."""
        return {key: self.value(key, float(unit)) for key, unit in zip(self.keys, units, strict=True)}

    def features(self, units: np.ndarray) -> np.ndarray:
        """Columns for a regression, shape (n, p): a range is one column, a choice one for each value."""
        columns: list[np.ndarray] = []
        for key, column in zip(self.keys, np.asarray(units, float).T, strict=True):
            if key in self.choices:
                size = len(self.choices[key])
                columns.extend(
                    (np.minimum((column * size).astype(int), size - 1) == at).astype(float) for at in range(size)
                )
            else:
                columns.append(column)
        return np.stack(columns, axis=1) if columns else np.zeros((len(units), 0))

    def shown(self, key: str, value: Any) -> str:
        """A value as text."""
        if isinstance(value, float):
            return f"{value:.3g}"
        return str(value)
