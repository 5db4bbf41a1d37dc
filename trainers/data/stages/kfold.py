"""One fold of the training rows is moved to where it is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.split import KFoldStage
from cluster.exceptions import DataError
from trainers.data.content import content_hashes, draws
from trainers.data.record import Record
from trainers.data.stages.split import seconds_of
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, hash_values, value_of
from trainers.data.units import deal, fill_in_order, units_of

LATER = "later"


class KFold(TwoPassStage[KFoldStage]):
    """Deals rows out by hashes of what they say. Holds 32 bytes a row, and about 60 more while it decides."""

    def lacks(self, record: Record) -> str | None:
        column = self.config.column or self.config.time
        if column is None:
            return None
        value = value_of(record, column)
        if value is None:
            return f"no column {column}"
        if self.config.time is not None and seconds_of(value) is None:
            return f"{column} is {str(value)[:60]!r}, neither a number nor an ISO date"
        return None

    def look(self, records: list[Record]) -> Facts:
        config = self.config
        facts = {"content": content_hashes(records), "label": hash_values(records, "label")}
        if config.column is not None:
            facts["group"] = hash_values(records, config.column)
        if config.time is not None:
            facts["time"] = np.array([seconds_of(value_of(record, config.time)) for record in records], np.float64)
        return facts

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        """Which fold is moved does not count in what is drawn, so that the runs of all folds deal alike."""
        config = self.config
        if config.time is not None:
            return self._by_time(facts)
        drawn = draws(facts["content"], self.context.seed)
        units = units_of(facts["content"], drawn, facts.get("group"), facts["label"])
        self._check(len(units.rows), config.folds)
        mine = deal(units, config.folds)[units.of_row] == config.fold
        return {"split": np.where(mine, config.into, "train").tolist()}

    def _by_time(self, facts: Facts) -> Mapping[str, Any]:
        """Of equal rows the latest decides, so that nothing from after the stretch is learnt from."""
        config = self.config
        units = units_of(facts["content"], -facts["time"], None, None)
        self._check(len(units.rows), config.folds + 1)
        from_end = fill_in_order(units.draw, units.rows, [1 / (config.folds + 1)] * config.folds)[units.of_row]
        stretch = config.folds - from_end
        split = np.where(stretch <= config.fold, "train", np.where(stretch == config.fold + 1, config.into, LATER))
        for wanted in ("train", config.into):
            if not (split == wanted).any():
                raise DataError(
                    f"the stage kfold leaves no row for {wanted} in fold {config.fold}: too many rows are of one {config.time}; "
                    "give fewer folds"
                )
        return {"split": split.tolist()}

    def _check(self, found: int, wanted: int) -> None:
        if found < wanted:
            raise DataError(
                f"the stage kfold finds {found} sets of rows that stay together, expected at least {wanted} for "
                f"folds={self.config.folds}; give more rows or fewer folds"
            )

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if decision["split"] == LATER:
            record.reject("is later than the fold")
        else:
            record.split = decision["split"]
        return [record]
