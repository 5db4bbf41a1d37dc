"""Rows are drawn with replacement, as bagging does (Breiman 1996)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.select import BootstrapStage
from trainers.data.content import content_hashes, draws
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage


class Bootstrap(TwoPassStage[BootstrapStage]):
    """How often each row is drawn; rows are put in order by what they say, so theirs in the files does not matter.

    Holds 16 bytes a row, and about 40 more while it decides.
    """

    def look(self, records: list[Record]) -> Facts:
        return {"content": content_hashes(records)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        order = np.argsort(draws(facts["content"], self.context.seed, self.context.number), kind="stable")
        rng = np.random.default_rng([self.context.seed, self.config.sample])
        drawn = max(1, round(self.config.share * spool.rows))
        times = np.empty(spool.rows, np.int64)
        times[order] = np.bincount(rng.integers(spool.rows, size=drawn), minlength=spool.rows)
        return {"times": times}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if not decision["times"]:
            record.reject("not drawn")
        return [record, *(record.derive() for _ in range(decision["times"] - 1))]
