"""No row that is measured on may have been learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.split import LeakCheckStage
from cluster.exceptions import DataError
from trainers.data.content import content_hashes
from trainers.data.minhash import Pairs, similar_pairs
from trainers.data.record import Record
from trainers.data.stages.exact_duplicates import NOTHING
from trainers.data.stages.near_duplicates import signed_facts
from trainers.data.stages.two_pass import SPLITS, Facts, Spool, TwoPassStage, split_codes

TRAIN = SPLITS.index("train")
PAIRS_SHOWN = 3
CHARACTERS_SHOWN = 80


class LeakCheck(TwoPassStage[LeakCheckStage]):
    """Compares training rows with those that are measured on.

    Holds 146 bytes a row (with `signature: 128`), twice that while signatures are put in order, and 24 for every pair.
    """

    def look(self, records: list[Record]) -> Facts:
        config = self.config
        facts = signed_facts(records, config, self.context.seed)
        return facts | {"content": content_hashes(records, config.ignore, config.roles), "split": split_codes(records)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        pairs = find_leaks(facts, self.config.threshold)
        if len(pairs[0]) and self.config.action == "fail":
            raise DataError(self._message(pairs, facts, spool))
        row, other = (pairs[0], pairs[1]) if self.config.action == "reject_train" else (pairs[1], pairs[0])
        closest = np.argsort(pairs[2], kind="stable")  # the last written is the closest
        of = np.full(spool.rows, NOTHING)
        of[row[closest]] = other[closest]
        similar = np.zeros(spool.rows, np.float32)
        similar[row[closest]] = pairs[2][closest]
        places = spool.places(np.unique(of[of != NOTHING]))
        splits = [SPLITS[facts["split"][number]] if number != NOTHING else None for number in of]
        return {"place": [places.get(number) for number in of.tolist()], "split": splits, "similarity": similar}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if decision["place"] is None:
            return [record]
        if self.config.action == "note":
            record.notes["leak"] = decision["place"]
        else:
            near = f"{decision['place']}, similarity {decision['similarity']:.2f}"
            record.reject(f"a {decision['split']} row repeats it ({near})")
        return [record]

    def _message(self, pairs: Pairs, facts: Facts, spool: Spool) -> str:
        train, held, similar = pairs
        leaked = np.unique(held)
        counts = [
            f"{(facts['split'][leaked] == code).sum()} of {(facts['split'] == code).sum()} {split} rows"
            for code, split in enumerate(SPLITS)
            if (facts["split"][leaked] == code).any()
        ]
        shown = np.argsort(-similar, kind="stable")[:PAIRS_SHOWN]
        records = spool.records([*train[shown].tolist(), *held[shown].tolist()])
        told = "; ".join(
            f"{_show(records[held[pair]])} and {_show(records[train[pair]])}, similarity {similar[pair]:.2f}"
            for pair in shown.tolist()
        )
        return (
            f"{' and '.join(counts)} repeat training rows ({len(np.unique(train))} of them) with a similarity of at least "
            f"{self.config.threshold:g}. The closest: {told}. Put near_duplicates before leak_check, or set its action to "
            "reject_train"
        )


def _show(record: Record) -> str:
    text = " ".join(record.text().split())
    return f"{record.place} {text if len(text) <= CHARACTERS_SHOWN else text[:CHARACTERS_SHOWN] + '...'!r}"


def find_leaks(facts: Facts, threshold: float) -> Pairs:
    """Pairs of training rows and rows measured on that repeat each other: exact ones, and near ones below a threshold of 1."""
    train, held = _equal_pairs(facts["content"], facts["split"] == TRAIN)
    exact = train, held, np.ones(len(train), np.float32)
    if threshold >= 1:
        return exact
    order = np.argsort(facts["split"], kind="stable")  # rows measured on come first, so others are compared with them
    is_train, some = facts["split"][order] == TRAIN, facts["some"][order]

    def compare(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        return is_train[later] & ~is_train[earlier] & some[later] & some[earlier]

    later, earlier, estimates = similar_pairs(facts.pop("signature")[order], threshold, compare)
    size = len(order)
    near = ~np.isin(order[later] * size + order[earlier], train * size + held)
    columns = zip(exact, (order[later][near], order[earlier][near], estimates[near]), strict=True)
    train, held, similar = (np.concatenate(pair) for pair in columns)
    return train, held, similar


def _equal_pairs(content: np.ndarray, is_train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every training row with the first row measured on that it is equal to, and every row measured on with the first
    training row."""
    number = np.unique(content, axis=0, return_inverse=True)[1].reshape(-1)
    first = {}
    for side in (True, False):
        of_number = np.full(len(content), NOTHING)
        rows = np.flatnonzero(is_train == side)[::-1]
        of_number[number[rows]] = rows  # written last, so the first counts
        first[side] = of_number[number]
    train = np.flatnonzero(is_train & (first[False] != NOTHING))
    held = np.flatnonzero(~is_train & (first[True] != NOTHING))
    size = max(len(content), 1)
    pairs = np.concatenate([train * size + first[False][train], first[True][held] * size + held])
    return np.divmod(np.unique(pairs), size)
