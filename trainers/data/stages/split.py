"""Some training rows become validation and test rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from cluster.config.stages.split import GroupedSides, RandomSides, SidesByTime, SplitStage, StratifiedSides
from cluster.exceptions import DataError
from trainers.data.content import content_hashes, draws
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, hash_values, value_of
from trainers.data.units import fill, fill_in_order, units_of

SIDES = ("test", "validation", "train")


class Split(TwoPassStage[SplitStage]):
    """Draws by hashes of what rows say. Holds 24 bytes a row, and about 60 more while it decides."""

    def lacks(self, record: Record) -> str | None:
        by = self.config.by
        if isinstance(by, RandomSides):
            return None
        value = value_of(record, by.column)
        if value is None:
            return f"no column {by.column}"
        if isinstance(by, SidesByTime) and seconds_of(value) is None:
            return f"{by.column} is {str(value)[:60]!r}, neither a number nor an ISO date"
        return None

    def look(self, records: list[Record]) -> Facts:
        by = self.config.by
        facts = {"content": content_hashes(records)}
        if isinstance(by, SidesByTime):
            facts["time"] = np.array([seconds_of(value_of(record, by.column)) for record in records], np.float64)
        elif not isinstance(by, RandomSides):
            facts["value"] = hash_values(records, by.column)
        return facts

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        """The stages before do not count in what is drawn: a stage that is put before the split leaves it as it was."""
        config, value = self.config, facts.get("value")
        grouped, stratified = isinstance(config.by, GroupedSides), isinstance(config.by, StratifiedSides)
        source = np.repeat(value[:, None], 2, axis=1) if grouped and value is not None else facts["content"]
        drawn = draws(source, self.context.seed)
        key = -facts["time"] if isinstance(config.by, SidesByTime) else drawn
        units = units_of(facts["content"], key, value if grouped else None, value if stratified else None)
        shares = (config.test, config.validation)
        if isinstance(config.by, SidesByTime):
            side = fill_in_order(units.draw, units.rows, shares)[units.of_row]
        else:
            side = fill(units, shares)[units.of_row]
        self._check(side, len(units.rows))
        return {"split": [SIDES[number] for number in side.tolist()]}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        record.split = decision["split"]
        return [record]

    def _check(self, side: np.ndarray, units: int) -> None:
        for number, share in enumerate((self.config.test, self.config.validation, 1.0)):
            if share and not (side == number).any():
                raise DataError(
                    f"the stage split leaves no row for {SIDES[number]} of {len(side)} rows in {units} sets that stay "
                    f"together (by {self.config.by.kind}); give more rows, or change its shares or what it splits by"
                )


def seconds_of(value: Any) -> float | None:
    """A number, or an ISO date as seconds since 1970 (of no zone: in UTC); None if it is neither."""
    if isinstance(value, datetime | date):
        value = value.isoformat()
    with suppress(TypeError, ValueError):  # no number: a date, or nothing of use
        number = float(value)
        return number if math.isfinite(number) else None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
