"""One fold of the training rows is moved to where it is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.split import KFoldStage
from cluster.exceptions import DataError
from trainers.data.content import content_hashes, draws
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, hash_values, value_of
from trainers.data.units import deal, units_of


class KFold(TwoPassStage[KFoldStage]):
    """Deals rows out by hashes of what they say. Holds 32 bytes a row, and about 60 more while it decides."""

    def lacks(self, record: Record) -> str | None:
        column = self.config.column
        return f"no column {column}" if column is not None and value_of(record, column) is None else None

    def look(self, records: list[Record]) -> Facts:
        facts = {"content": content_hashes(records), "label": hash_values(records, "label")}
        if self.config.column is not None:
            facts["group"] = hash_values(records, self.config.column)
        return facts

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        """Which fold is moved does not count in what is drawn, so that the runs of all folds deal alike."""
        drawn = draws(facts["content"], self.context.seed)
        units = units_of(facts["content"], drawn, facts.get("group"), facts["label"])
        if len(units.rows) < self.config.folds:
            raise DataError(
                f"the stage kfold finds {len(units.rows)} sets of rows that stay together, expected at least "
                f"folds={self.config.folds}; give more rows or fewer folds"
            )
        mine = deal(units, self.config.folds)[units.of_row] == self.config.fold
        return {"split": np.where(mine, self.config.into, "train").tolist()}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        record.split = decision["split"]
        return [record]
