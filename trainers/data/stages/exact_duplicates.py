"""Rows that say the same as another are left out, but for the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.select import ExactDuplicatesStage
from trainers.data.content import content_hashes
from trainers.data.record import Record
from trainers.data.stages.two_pass import SPLITS, Facts, Spool, TwoPassStage, hash_values, split_codes

NOTHING = -1


class ExactDuplicates(TwoPassStage[ExactDuplicatesStage]):
    """Sorts the hashes of all rows. Holds 25 bytes a row, and about 60 more while it decides."""

    def look(self, records: list[Record]) -> Facts:
        config = self.config
        return {
            "content": content_hashes(records, config.ignore, config.roles, config.with_label),
            "split": split_codes(records),
            "label": hash_values(records, "label"),
        }

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        first = first_equal(facts["content"], facts["split"])
        may_go = np.isin(facts["split"], [SPLITS.index(split) for split in self.config.reject_from])
        goes = (first != NOTHING) & may_go
        return describe_repeats(np.where(goes, first, NOTHING), facts, spool)

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if decision["conflict"]:
            record.notes["conflict"] = decision["conflict"]
        if decision["place"] is not None:
            record.reject(f"repeats a {decision['split']} row ({decision['place']})")
        return [record]


def first_equal(hashes: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """For each row the number of the row that it repeats: the first of its kind, by split and then by order."""
    order = np.lexsort((splits, hashes[:, 1], hashes[:, 0]))  # stable, so rows of a split keep their order
    ordered = hashes[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    leaders = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    first = np.full(len(order), NOTHING, np.int64)
    first[order[~begins]] = leaders[~begins]
    return first


def describe_repeats(repeated: np.ndarray, facts: Facts, spool: Spool) -> dict[str, Any]:
    """Place and split of the row that each row repeats, and the place of a row that says the same under another label.

    Places are held of rows that are repeated or in conflict, and of no others.
    """
    goes = np.flatnonzero(repeated != NOTHING)
    stays = repeated[goes]
    disagree = facts["label"][goes] != facts["label"][stays]
    conflict = dict(zip(stays[disagree][::-1].tolist(), goes[disagree][::-1].tolist(), strict=True))  # the first counts
    conflict |= dict(zip(goes[disagree].tolist(), stays[disagree].tolist(), strict=True))
    places = spool.places([*stays.tolist(), *conflict.values()])
    columns: dict[str, list[str | None]] = {name: [None] * len(repeated) for name in ("place", "split", "conflict")}
    for gone, kept in zip(goes.tolist(), stays.tolist(), strict=True):
        columns["place"][gone] = places[kept]
        columns["split"][gone] = SPLITS[facts["split"][kept]]
    for number, other in conflict.items():
        columns["conflict"][number] = places[other]
    return columns
