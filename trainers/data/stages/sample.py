"""Some rows stay, the others are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.select import FirstRows, SampleStage, StratifiedSample
from trainers.data.content import content_hashes, draws
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, hash_values, split_codes, value_of
from trainers.data.units import apportion, number_of, ranks_within


class Sample(TwoPassStage[SampleStage]):
    """Draws by hashes of what rows say. Holds 25 bytes a row, and about 50 more while it decides."""

    def lacks(self, record: Record) -> str | None:
        by = self.config.by
        if isinstance(by, StratifiedSample) and value_of(record, by.column) is None:
            return f"no column {by.column}"
        return None

    def look(self, records: list[Record]) -> Facts:
        by = self.config.by
        facts = {"content": content_hashes(records), "split": split_codes(records)}
        if isinstance(by, StratifiedSample):
            facts["class"] = hash_values(records, by.column)
        return facts

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        key = draws(facts["content"], self.context.seed, self.context.number)
        if isinstance(self.config.by, FirstRows):
            key = np.zeros(spool.rows)
        stays = np.zeros(spool.rows, bool)
        for split in np.unique(facts["split"]):
            rows = np.flatnonzero(facts["split"] == split)
            group = number_of(facts["class"][rows]) if "class" in facts else np.zeros(len(rows), np.int64)
            wanted = apportion(self._share(len(rows)) * np.bincount(group))
            stays[rows] = ranks_within(group, key[rows]) < wanted[group]
        return {"stays": stays}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if not decision["stays"]:
            record.reject("not in the sample")
        return [record]

    def _share(self, rows: int) -> float:
        return self.config.share or min(1.0, (self.config.count or 0) / rows)
