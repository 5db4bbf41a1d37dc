"""As many training rows of every class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.split import BalanceStage
from trainers.data.content import content_hashes, draws
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, hash_values, value_of
from trainers.data.units import number_of, ranks_within


class Balance(TwoPassStage[BalanceStage]):
    """Counts the rows of each class and draws among them. Holds 24 bytes a row, and about 50 more while it decides."""

    def lacks(self, record: Record) -> str | None:
        column = self.config.column
        return f"no column {column}" if value_of(record, column) is None else None

    def look(self, records: list[Record]) -> Facts:
        return {"content": content_hashes(records), "class": hash_values(records, self.config.column)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        group = number_of(facts["class"])
        sizes = np.bincount(group)
        ranks = ranks_within(group, draws(facts["content"], self.context.seed, self.context.number))
        return {"times": times(ranks, sizes[group], self._target(sizes), self.config)}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if not decision["times"]:
            value = str(value_of(record, self.config.column))
            record.reject(f"more rows of its class than wanted ({self.config.column} {value})")
        return [record, *(record.derive() for _ in range(decision["times"] - 1))]

    def _target(self, sizes: np.ndarray) -> int:
        target = self.config.target
        if isinstance(target, int):
            return target
        return int(np.quantile(sizes, {"min": 0.0, "median": 0.5, "max": 1.0}[target]))


def times(ranks: np.ndarray, sizes: np.ndarray, target: int, config: BalanceStage) -> np.ndarray:
    """How often each row shall be there, from its drawn place in its class and the size of that."""
    wanted = np.full(len(ranks), target)
    wanted = np.where((sizes < target) & (config.smaller == "keep"), sizes, wanted)
    wanted = np.where((sizes > target) & (config.larger == "keep"), sizes, wanted)
    often = wanted // sizes + (ranks < wanted % sizes)
    return np.minimum(often, 1 + config.max_copies)
