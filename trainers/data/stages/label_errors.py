"""Rows whose label is likely wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.stages.select import LabelErrorsStage
from cluster.exceptions import DataError
from trainers.data.content import content_hashes, draws
from trainers.data.features import points, term_counts, tfidf
from trainers.data.record import Record
from trainers.data.stages.two_pass import Facts, Spool, TwoPassStage, hash_values
from trainers.data.units import deal, units_of

NOTHING = -1
MOST_BYTES = 1 << 30
"""Of the probabilities of all rows and classes, which are held at once."""


class LabelErrors(TwoPassStage[LabelErrorsStage]):
    """Asks classifiers about rows that they have not seen.

    Holds 24 bytes a row and, at most, 1.3 kB for its terms (0.2 kB for a row of 15 words, three times that while
    classifiers are fitted), or 2 bytes for each dimension of the model; and 2 bytes for each class.
    """

    def lacks(self, record: Record) -> str | None:
        return "no label" if record.label is None else None

    def look(self, records: list[Record]) -> Facts:
        config = self.config
        texts = [record.text(config.roles) for record in records]
        features = term_counts(texts) if config.model is None else {"point": points(config.model, texts)}
        return features | {"content": content_hashes(records), "label": hash_values(records, "label")}

    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        found, first, label = np.unique(facts["label"], return_index=True, return_inverse=True)
        self._check(len(label), len(found))
        features = tfidf(facts)[0] if "terms" in facts else facts["point"].astype(np.float32)
        units = units_of(facts["content"], draws(facts["content"], self.context.seed), None, facts["label"])
        fold = deal(units, self.config.folds)[units.of_row]
        probable = out_of_fold(features, label, fold, self.context.seed)
        judged = np.bincount(label)[label] >= self.config.folds
        suggested, margin = confident(probable, label)
        wrong = judged & (suggested != NOTHING) & (suggested != label) & (margin >= self.config.min_margin)
        names = {number: record.label for number, record in spool.records(first.tolist()).items()}
        said = [names[first[one]] if bad else None for one, bad in zip(suggested, wrong, strict=True)]
        return {"suggested": said, "margin": margin}

    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        suggested = decision["suggested"]
        if suggested is None:
            return [record]
        record.notes |= {"suggested_label": suggested, "label_margin": round(decision["margin"], 3)}
        if self.config.action == "reject":
            record.reject(f"its label is likely wrong ({record.label}, rather {suggested})")
        elif self.config.action == "relabel":
            record.notes["label_before"], record.row["label"] = record.label, suggested
        return [record]

    def _check(self, rows: int, classes: int) -> None:
        if classes < 2:
            raise DataError(f"the stage label_errors finds {classes} class in {rows} rows, expected at least 2")
        if rows * classes * 2 > MOST_BYTES:
            raise DataError(
                f"the stage label_errors would hold the probabilities of {classes} classes for {rows} rows, which take "
                f"more than {MOST_BYTES >> 30} GB; look at fewer rows, with a sample stage before it"
            )


def out_of_fold(features: Any, label: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """How likely each class is for each row, by logistic regressions fitted on the other folds; in half precision."""
    from sklearn.linear_model import SGDClassifier

    probable = np.zeros((len(label), int(label.max()) + 1), np.float16)
    for number in np.unique(fold):
        seen, asked = fold != number, fold == number
        if len(np.unique(label[seen])) < 2:
            continue
        # One logistic regression for each class, by gradient descent: memory of one weight for each term and class.
        model = SGDClassifier(loss="log_loss", alpha=3e-5, max_iter=20, tol=None, random_state=seed)
        model.fit(features[seen], label[seen])
        found = model.predict_proba(features[asked])
        binary = model.classes_ if found.shape[1] == len(model.classes_) else model.classes_[-found.shape[1] :]
        probable[np.ix_(np.flatnonzero(asked), binary)] = found
    return probable


def confident(probable: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class that each row is confidently of, if any, and by how much it is more likely than the label.

    A class counts if it is at least as likely as it is on average for the rows that have it as their label.
    """
    rows = np.arange(len(label))
    given = probable[rows, label].astype(np.float32)
    usual = np.bincount(label, weights=given) / np.maximum(np.bincount(label), 1)
    suggested, margin = np.full(len(label), NOTHING), np.zeros(len(label), np.float32)
    for start in range(0, len(label), 4096):
        part = probable[start : start + 4096].astype(np.float32)
        counted = np.where((part >= usual) & (part > 0), part, -1.0)
        best = counted.argmax(axis=1)
        likely = counted[np.arange(len(part)), best]
        suggested[start : start + 4096] = np.where(likely > 0, best, NOTHING)
        margin[start : start + 4096] = likely - given[start : start + 4096]
    return suggested, margin
