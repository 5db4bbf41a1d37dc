"""Rows that say nearly the same as another are left out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.select import NearComparison, NearDuplicatesStage
from trainers.data.minhash import Pairs, shingles, signatures, similar_pairs, similarity
from trainers.data.record import Record
from trainers.data.stages.exact_duplicates import NOTHING, describe_repeats
from trainers.data.stages.two_pass import SPLITS, Facts, Spool, TwoPassStage, hash_values, split_codes


class NearDuplicates(TwoPassStage[NearDuplicatesStage]):
    """Goes through the pairs that share a band of their signatures.

    Holds 138 bytes a row (with `signature: 128`), twice that while signatures are put in order, and 24 for every pair.
    """

    def look(self, records: list[Record]) -> Facts:
        facts = signed_facts(records, self.config, self.context.seed)
        return facts | {"split": split_codes(records), "label": hash_values(records, "label")}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        order = np.argsort(facts["split"], kind="stable")  # whose word counts comes first
        signed, label, some = facts.pop("signature")[order], facts["label"][order], facts["some"][order]
        keep_labels = self.config.different_labels == "keep"

        def compare(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
            alike = some[later] & some[earlier]
            return alike & (label[later] == label[earlier]) if keep_labels else alike

        pairs = similar_pairs(signed, self.config.threshold, compare)
        may_go = np.isin(facts["split"][order], [SPLITS.index(split) for split in self.config.reject_from])
        kept, how_similar = choose(signed, pairs, may_go, self.config.threshold)
        repeated, similar = np.full(len(order), NOTHING), np.zeros(len(order), np.float32)
        repeated[order] = np.where(kept == NOTHING, NOTHING, order[kept])
        similar[order] = how_similar
        return describe_repeats(repeated, facts, spool) | {"similarity": similar}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        if decision["conflict"]:
            record.notes["conflict"] = decision["conflict"]
        if decision["place"] is not None:
            near = f"{decision['place']}, similarity {decision['similarity']:.2f}"
            record.reject(f"nearly repeats a {decision['split']} row ({near})")
        return [record]


def signed_facts(records: list[Record], config: NearComparison, seed: int) -> Facts:
    """Signature of each row, and whether it has any text."""
    sets = [
        shingles(record.text(config.roles), config.shingles, config.shingle_size, config.ignore) for record in records
    ]
    some = np.array([bool(one) for one in sets], bool)
    return {"signature": signatures(sets, config.signature, seed), "some": some}


def choose(signed: np.ndarray, pairs: Pairs, may_go: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """For each row the one that it is left out for, and how similar it is to that one.

    Rows are gone through in order. One that is near a row which stays goes; so does one near a row that went, if it is
    near enough to what that row went for. So no row goes for being a friend of a friend.
    """
    kept = np.full(len(signed), NOTHING, np.int64)
    similar = np.zeros(len(signed), np.float32)
    later, earlier, estimates = pairs
    order = np.lexsort((earlier, -estimates, later))
    order = order[may_go[later[order]]]
    bounds = np.append(np.flatnonzero(np.diff(later[order], prepend=-1)), len(order))
    for start, end in itertools.pairwise(bounds.tolist()):
        row, near = later[order[start]], earlier[order[start:end]]
        stays = np.flatnonzero(kept[near] == NOTHING)
        if stays.size:
            kept[row], similar[row] = near[stays[0]], estimates[order[start + stays[0]]]
            continue
        candidates = np.unique(kept[near])
        found = similarity(signed, np.full(len(candidates), row), candidates)
        if found.max() >= threshold:
            kept[row], similar[row] = candidates[found.argmax()], found.max()
    return kept, similar
