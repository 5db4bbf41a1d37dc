"""What was found of a model's errors, as a part of a page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.report import table

Values = Mapping[str, Any]


def render(section: Values) -> str:
    """The section `errors` as HTML; nothing where there is none."""
    if not section:
        return ""
    is_share = section["measure"] == "share wrong"
    parts = [
        _slices(section, is_share),
        _confusions(section["confusions"]),
        _neighbours(section["neighbours"]),
        _conflicts(section["conflicts"], section["own_conflicts"]),
        _doubtful(section["doubtful_labels"]),
    ]
    return "".join(parts)


def _slices(section: Values, is_share: bool) -> str:
    low, high = (_score(end, is_share) for end in section["interval"])
    overall = f"{section['measure']} {_score(section['score'], is_share)} ({low} to {high}) of {section['n']:,} rows"
    looked_at = f" beside {section['train']['looked_at']:,} training rows" if section["train"] else ""
    if not section["slices"]:
        return (
            f"<p>{overall}. Of {section['tried']} groups of rows tried{looked_at} none is shown to go wrong more often than "
            "the rest.</p>"
        )
    rows = [
        [
            one["name"],
            f"{one['n']:,}",
            _score(one["score"], is_share),
            " to ".join(_score(end, is_share) for end in one["interval"]),
            _score(one["rest"], is_share),
            f"{one['adjusted_p_value']:.1e}",
            one["helps"],
        ]
        for one in section["slices"]
    ]
    head = ["rows where", "rows", section["measure"], "interval", "elsewhere", "p, corrected", "what would help"]
    return (
        f"<p>{overall}. {section['tried']} groups of rows were tried{looked_at}; these go wrong more often than the rest, "
        f"corrected for so many tries.</p>{table(head, rows)}{''.join(map(_examples, section['slices']))}"
    )


def _score(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:.3g}"


def _examples(one: Values) -> str:
    if not one["examples"]:
        return ""
    return _details(f"Wrong rows where {one['name']}", _listed(one["examples"]))


def _listed(rows: Sequence[Values]) -> str:
    return table(
        ["row", "text", "expected", "given"],
        [[_place(row), row["text"], row["reference"], row["output"]] for row in rows],
    )


def _place(row: Values) -> str:
    return str(row["place"]).rpartition("/")[2]


def _confusions(found: Sequence[Values]) -> str:
    if not found:
        return ""
    rows = [
        [
            one["reference"],
            one["output"],
            one["n"],
            f"{one['rate']:.1%}",
            " to ".join(f"{end:.1%}" for end in one["interval"]),
            one["reverse"],
        ]
        for one in found
    ]
    head = ["expected", "given", "rows", "of those expected", "interval", "the other way round"]
    return f"<h3>Taken for one another</h3>{table(head, rows)}"


def _neighbours(found: Values | None) -> str:
    if not found:
        return ""
    said = [f"Of {found['wrong_rows']:,} wrong rows the training row most like them"]
    if found["nearest_label"]:
        number = found["nearest_label"]
        said = [
            f"{said[0]} has the expected label {number['expected']:,} times, the label that was given {number['given']:,} times, and "
            f"another one {number['other']:,} times."
        ]
    else:
        said = [f"{said[0]} is alike by {found['similarity_of_wrong']:.2f}."]
    rows = [
        [_place(row), row["text"], row["reference"], row["output"], near["text"], near["label"] or "-", f"{near['similarity']:.2f}"]
        for row in found["rows"]
        for near in row["nearest"]
    ]  # fmt: skip
    head = ["row", "text", "expected", "given", "training row", "its label", "alike"]
    return f"<h3>Nearest training rows</h3><p>{html.escape(said[0])}</p>{_details('The surest mistakes', table(head, rows))}"


def _conflicts(training: Values | None, own: Values) -> str:
    parts = []
    if training and training["n"]:
        rows = [
            [_place(row), row["text"], row["reference"], row["nearest"][0]["text"], row["nearest"][0]["label"]]
            for row in training["rows"]
        ]
        listed = table(["row", "text", "its label", "training row", "its label"], rows)
        parts.append(_details(f"{training['n']} rows say nearly what a training row says under another label", listed))
    if own["n"]:
        rows = [[row["text"], " / ".join(row["labels"]), len(row["places"])] for row in own["rows"]]
        parts.append(_details(f"{own['n']} rows contradict one another", table(["text", "labels", "rows"], rows)))
    return f"<h3>Contradictions</h3>{''.join(parts)}" if parts else ""


def _doubtful(found: Values | None) -> str:
    if not found or not found["n"]:
        return ""
    rows = [[_place(row), row["text"], row["label"], row["suggested"], f"{row['margin']:.2f}"] for row in found["rows"]]
    listed = table(["row", "text", "label", "rather", "by so much surer"], rows)
    said = f"{found['n']} labels ({found['share']:.1%}) may be wrong themselves: read them before blaming the model"
    return f"<h3>Doubtful labels</h3>{_details(said, listed)}"


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{body}</details>"
