"""Rows like a few examples stay."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.select import RelevanceStage
from trainers.data.features import points, term_counts, tfidf
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, split_codes
from trainers.data.units import ranks_within


class Relevance(TwoPassStage[RelevanceStage]):
    """Compares every row with the examples.

    Holds 5 bytes a row with a model; without one up to 1.3 kB for its terms (0.2 kB for a row of 15 words), three times
    that while it decides.
    """

    def look(self, records: list[Record]) -> Facts:
        config = self.config
        texts = [record.text(config.roles) for record in records]
        facts = {"split": split_codes(records)}
        if config.model is None:
            return facts | term_counts(texts)
        examples = _example_points(config.model, tuple(config.examples))
        return facts | {"similarity": (points(config.model, texts).astype(np.float32) @ examples.T).max(axis=1)}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        if "similarity" in facts:
            similarity = facts["similarity"]
        else:
            features, weigh = tfidf(facts)
            similarity = (features @ weigh(self.config.examples).T).max(axis=1).toarray().ravel()
        if self.config.share is None:
            return {"similarity": similarity, "stays": similarity >= self.config.min_similarity}
        rows_of_split = np.bincount(facts["split"])[facts["split"]]
        stays = ranks_within(facts["split"], -similarity) < np.maximum(np.round(self.config.share * rows_of_split), 1)
        return {"similarity": similarity, "stays": stays}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        record.notes["relevance"] = round(float(decision["similarity"]), 4)
        if not decision["stays"]:
            record.reject(f"unlike the examples (similarity {decision['similarity']:.2f})")
        return [record]


@functools.lru_cache(maxsize=4)
def _example_points(model: str, examples: tuple[str, ...]) -> np.ndarray:
    """Places of the examples, found once in each process."""
    return points(model, examples).astype(np.float32)
