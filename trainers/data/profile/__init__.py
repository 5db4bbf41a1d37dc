"""A profile of the rows of a run: sizes, lengths, labels, repetitions, contents, and what to look at."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cluster.config import RunConfig
from cluster.storage import Storage
from trainers.data.profile.collect import collect, near_duplicates
from trainers.data.profile.counts import SplitCounts
from trainers.data.profile.estimates import classifier_curve, coverage_curve, doubtful_labels, topics
from trainers.data.profile.findings import findings, overlap, scores
from trainers.data.staging import StagedRows, stage_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Profile = dict[str, Any]
SHOWN_ROWS = 20
SHOWN_DOUBTFUL = 15
FREQUENT_WORDS = 25


def profile_rows(
    config: RunConfig, storage: Storage, tokenizer: PreTrainedTokenizerBase | None = None, slices: Sequence[str] = ()
) -> Profile:
    """Profile the rows of a run as its stages leave them; rows that cannot be used are counted, not refused.

    Args:
        storage: folder of all prepared data. Ray must be initialised.
        tokenizer: tells lengths in tokens.
        slices: columns whose values are counted.

    Returns:
        What `data-report.json` holds, all of it plain values.
    """
    tolerant = config.model_copy(update={"data": config.data.model_copy(update={"on_error": "reject"})})
    rows = stage_rows(tolerant, storage)
    counted = collect(rows, tolerant, tokenizer, slices)
    found: Profile = {
        "name": config.name,
        "fingerprint": rows.fingerprint,
        "rows_url": rows.url,
        "rows_read": rows.report["rows_read"],
        "unreadable": rows.report["stages"][0]["rejected"],
        "stages": rows.report["stages"],
        "inputs": rows.inputs,
        "splits": {split: _describe(counts, config.data.max_length) for split, counts in counted.items()},
        "overlap": dataclasses.asdict(overlap(counted)),
        "near_duplicates": near_duplicates(rows, Storage.open(rows.url).child(f"scratch-{uuid.uuid4().hex[:8]}")),
        **_estimates(counted["train"]),
        **_examples(rows, counted),
    }
    found["scores"] = scores(found)
    found["findings"] = [dataclasses.asdict(one) for one in findings(found)]
    return found


def _describe(counts: SplitCounts, max_length: int) -> Profile:
    longer = sum(rows for length, rows in counts.tokens.items() if length >= max_length)
    measured = sum(counts.tokens.values())
    return {
        **{name: getattr(counts, name) for name in ("rows", "characters", "words", "empty", "augmented")},
        "distinct_words": len(counts.vocabulary),
        "frequent_words": counts.vocabulary.most_common(FREQUENT_WORDS),
        "tokens": sum(length * rows for length, rows in counts.tokens.items()) if measured else None,
        "lengths": {str(length): counts.tokens[length] for length in sorted(counts.tokens)},
        "truncated_share": longer / measured if measured else None,
        **{name: _sorted(getattr(counts, name)) for name in ("labels", "languages", "pii", "terms", "failed_rules")},
        "columns": _sorted(counts.columns),
        "slices": {name: _sorted(values) for name, values in counts.slices.items()},
    }


def _sorted(counted: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counted.items(), key=lambda entry: (-entry[1], entry[0])))


def _estimates(train: SplitCounts) -> Profile:
    """Topics, learning curve and doubtful labels of the sampled training rows."""
    sample = train.sampled()
    texts = [_text_of(row["row"]) for row in sample]
    labels = [row["label"] for row in sample]
    classified = bool(labels) and all(label is not None for label in labels)
    curve = classifier_curve(texts, labels) if classified else coverage_curve(texts)
    doubtful = doubtful_labels(texts, labels) if classified else []
    return {
        "topics": [dataclasses.asdict(topic) for topic in topics(texts)],
        "learning_curve": dataclasses.asdict(curve) if curve else None,
        "doubtful_share": len(doubtful) / len(sample) if classified else None,
        "doubtful": [
            {
                **{key: one[key] for key in ("label", "suggested", "margin")},
                "text": texts[one["index"]],
                "place": sample[one["index"]]["place"],
            }
            for one in doubtful[:SHOWN_DOUBTFUL]
        ],
    }


def _text_of(row: dict[str, Any]) -> str:
    from trainers.data.record import Record

    return Record(row).text()


def _examples(rows: StagedRows, counted: dict[str, SplitCounts]) -> Profile:
    """Rows to read by hand: some as they are learnt from, some that were changed, some that were left out."""
    return {
        "sample": counted["train"].sampled()[:SHOWN_ROWS],
        "changed": [
            {"place": one.place, "stages": one.changes, "before": one.before, "row": one.row}
            for one, _ in zip(rows.changed(), range(SHOWN_ROWS), strict=False)
        ],
        "rejected": [
            {"place": one.place, "reason": one.rejected, "row": one.row}
            for one, _ in zip(rows.rejected(), range(SHOWN_ROWS), strict=False)
        ],
    }
