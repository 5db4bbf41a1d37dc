"""What a profile comes to: scores by dimension of quality, and sentences about what to look at."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from trainers.data.profile.counts import SplitCounts

FEWEST_ROWS = 500
FEWEST_OF_CLASS = 10
MOST_IMBALANCE = 10.0
MOST_DUPLICATES = 0.01
MOST_TRUNCATED = 0.05
MOST_DOUBTFUL = 0.05
UNDECIDED = "und"
"""Language of texts too short to tell (ISO 639-2)."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes:
        level: `problem` should be mended before training, `warning` should be known.
        text: what was found, and what to do.
    """

    level: str
    text: str


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Rows that say the same.

    Attributes:
        repeated: share of the rows of each split that repeat an earlier one of the split.
        conflicting: training rows whose text also occurs with another label.
        leaked: rows of each other split whose text occurs in the training rows.
    """

    repeated: dict[str, float]
    conflicting: int
    leaked: dict[str, int]


def overlap(splits: Mapping[str, SplitCounts]) -> Overlap:
    """Exact repetitions, told by the hashes of texts; letter case and white space do not matter."""
    train = splits["train"].texts
    labels_of: dict[int, set[int]] = collections.defaultdict(set)
    for text, labelled in train:
        labels_of[text].add(labelled)
    return Overlap(
        repeated={name: 1.0 - len({text for text, _ in one.texts}) / max(one.rows, 1) for name, one in splits.items()},
        conflicting=sum(len(labels_of[text]) > 1 for text, _ in train),
        leaked={
            name: sum(text in labels_of for text, _ in one.texts) for name, one in splits.items() if name != "train"
        },
    )


def scores(profile: Mapping[str, Any]) -> dict[str, float]:
    """Quality of the training rows by dimension, from 0 to 1 (the dimensions are those of ISO/IEC 25012)."""
    train, rows_read = profile["splits"]["train"], max(profile["rows_read"], 1)
    rows = max(train["rows"], 1)
    found = {
        "completeness": 1.0 - train["empty"] / rows,
        "validity": 1.0 - profile["unreadable"] / rows_read,
        "uniqueness": 1.0 - profile["overlap"]["repeated"]["train"],
        "consistency": 1.0 - profile["overlap"]["conflicting"] / rows,
        "independence": 1.0 - _worst_leak(profile),
    }
    if profile.get("doubtful_share") is not None:
        found["accuracy"] = 1.0 - profile["doubtful_share"]
    return found


def _worst_leak(profile: Mapping[str, Any]) -> float:
    leaked = profile["overlap"]["leaked"]
    return max((count / max(profile["splits"][name]["rows"], 1) for name, count in leaked.items()), default=0.0)


def findings(profile: Mapping[str, Any]) -> list[Finding]:
    """What to look at, problems first."""
    found = [*_sizes(profile), *_labels(profile), *_repetitions(profile), *_contents(profile)]
    return sorted(found, key=lambda one: one.level != "problem")


def _sizes(profile: Mapping[str, Any]) -> Iterator[Finding]:
    rows = profile["splits"]["train"]["rows"]
    if rows < FEWEST_ROWS:
        yield Finding(
            "warning",
            f"{rows} training rows: fewer than {FEWEST_ROWS} seldom carry a fine-tuning; look at the learning curve, add "
            "rows or augment, and repeat with several seeds",
        )
    if profile["unreadable"]:
        yield Finding("problem", f"{profile['unreadable']} rows cannot be used; see the rejected rows for the reasons")
    if "test" not in profile["splits"]:
        yield Finding(
            "warning", "no test rows: nothing will say how good the model is; name data.test or add a split stage"
        )
    cut = profile["splits"]["train"].get("truncated_share")
    if cut and cut > MOST_TRUNCATED:
        yield Finding(
            "warning", f"{cut:.1%} of the training rows are longer than data.max_length and will be cut; raise it"
        )


def _labels(profile: Mapping[str, Any]) -> Iterator[Finding]:
    labels = profile["splits"]["train"]["labels"]
    if labels:
        smallest, largest = min(labels.items(), key=_count), max(labels.items(), key=_count)
        if smallest[1] < FEWEST_OF_CLASS:
            yield Finding(
                "warning", f"the class {smallest[0]} has {smallest[1]} training rows; it will hardly be learnt"
            )
        if largest[1] / max(smallest[1], 1) > MOST_IMBALANCE:
            yield Finding(
                "warning",
                f"the class {largest[0]} has {largest[1] / smallest[1]:.0f} times the rows of {smallest[0]}; balance them or "
                "give weights, and look at macro-F1",
            )
    for split, one in profile["splits"].items():
        if unseen := sorted(set(one["labels"]) - set(labels)):
            yield Finding("problem", f"{split} has labels that no training row has: {', '.join(unseen[:5])}")
    doubtful = profile.get("doubtful_share")
    if doubtful and doubtful > MOST_DOUBTFUL:
        yield Finding("warning", f"{doubtful:.1%} of the sampled labels look wrong to a linear model; read those below")


def _count(entry: tuple[str, int]) -> int:
    return entry[1]


def _repetitions(profile: Mapping[str, Any]) -> Iterator[Finding]:
    repeated = profile["overlap"]
    for split, count in repeated["leaked"].items():
        if count:
            yield Finding(
                "problem",
                f"{count} rows of {split} occur in the training rows, so scores on it will be too good; add the stage leak_check",
            )
    if repeated["conflicting"]:
        yield Finding(
            "problem", f"{repeated['conflicting']} training rows have the text of another row with another label"
        )
    near = sum(profile["near_duplicates"].values()) / sum(one["rows"] for one in profile["splits"].values())
    if near > MOST_DUPLICATES:
        yield Finding("warning", f"{near:.1%} of all rows nearly repeat another; add the stage near_duplicates")
    elif repeated["repeated"]["train"] > MOST_DUPLICATES:
        share = repeated["repeated"]["train"]
        yield Finding("warning", f"{share:.1%} of the training rows repeat another; add the stage exact_duplicates")


def _contents(profile: Mapping[str, Any]) -> Iterator[Finding]:
    train = profile["splits"]["train"]
    if train["pii"]:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in train["pii"].items())
        yield Finding("warning", f"personal data in training rows ({kinds}); add the stage pii")
    if train["terms"]:
        yield Finding(
            "warning",
            f"{sum(train['terms'].values())} listed slurs or insults in training rows; add the stage blocklist",
        )
    languages = {name: count for name, count in train["languages"].items() if name != UNDECIDED}
    if len(languages) > 1 and sum(languages.values()) - max(languages.values()) > 0.02 * sum(languages.values()):
        shown = ", ".join(f"{name} {count}" for name, count in sorted(languages.items(), key=_count, reverse=True)[:5])
        yield Finding(
            "warning", f"several languages in training rows ({shown}); say which are meant with the stage language"
        )
