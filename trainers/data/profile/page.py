"""The profile of a data set as one HTML page that opens offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.report import bars, cards, document, plot, section, table

MOST_BARS = 20
LONGEST_TEXT = 400

Profile = Mapping[str, Any]


def render(profile: Profile) -> str:
    """The page as HTML."""
    subtitle = html.escape(f"{profile['rows_read']:,} rows read · fingerprint {profile['fingerprint']}")
    sections = [
        _top(profile),
        section("What to look at", _findings(profile["findings"])),
        section("Quality by dimension", _scores(profile["scores"])),
        section("Sizes", _sizes(profile)),
        section("Repetitions", _repetitions(profile)),
        section("Stages", _stages(profile["stages"])),
        section("Labels", _labels(profile)),
        section("Contents", _contents(profile)),
        section("What more rows would bring", _curve(profile["learning_curve"])),
        section("Labels that look wrong", _doubtful(profile["doubtful"])),
        section("Rows to read", _rows(profile)),
        section("Inputs", _inputs(profile["inputs"])),
    ]
    return document(html.escape(profile["name"]), "Mobula data", subtitle, sections)


def _top(profile: Profile) -> str:
    train = profile["splits"]["train"]
    problems = sum(one["level"] == "problem" for one in profile["findings"])
    left_out = sum(stage["rejected"] for stage in profile["stages"])
    return cards(
        [
            ("training rows", f"{train['rows']:,}", f"of {profile['rows_read']:,} rows read"),
            ("left out", f"{left_out:,}", "each with its reason"),
            *([("tokens", f"{train['tokens']:,}", "in training rows")] if train["tokens"] else []),
            ("problems", str(problems), f"and {len(profile['findings']) - problems} warnings"),
        ]
    )


def _findings(findings: Sequence[Profile]) -> str:
    if not findings:
        return "<p>Nothing stands out.</p>"
    return table(["level", "what"], [[one["level"], one["text"]] for one in findings])


def _scores(scores: Mapping[str, float]) -> str:
    return table(["dimension", "score"], [[name, f"{value:.1%}"] for name, value in scores.items()])


def _sizes(profile: Profile) -> str:
    names = ("rows", "characters", "words", "distinct_words", "tokens", "empty", "augmented")
    rows = [
        [split, *("-" if one[name] is None else f"{one[name]:,}" for name in names)]
        for split, one in profile["splits"].items()
    ]
    drawn = [
        bars(f"{split}: rows by length in tokens", _thinned(one["lengths"]))
        for split, one in profile["splits"].items()
        if one["lengths"]
    ]
    return (
        table(["split", *(name.replace("_", " ") for name in names)], rows)
        + f'<div class="plots">{"".join(drawn)}</div>'
    )


def _repetitions(profile: Profile) -> str:
    found = profile["overlap"]
    rows = [
        [split, f"{share:.1%}", profile["near_duplicates"][split], found["leaked"].get(split, "-")]
        for split, share in found["repeated"].items()
    ]
    return table(["split", "repeat another exactly", "rows near another", "rows also in train"], rows)


def _thinned(lengths: Mapping[str, int]) -> dict[str, float]:
    """Lengths as a histogram of at most `MOST_BARS` equal steps."""
    found = {int(length): rows for length, rows in lengths.items()}
    step = max(-(-(max(found) + 1) // MOST_BARS), 1)
    heights = {str(start): 0.0 for start in range(0, max(found) + 1, step)}
    for length, rows in found.items():
        heights[str(length // step * step)] += rows
    return heights


def _stages(stages: Sequence[Profile]) -> str:
    rows = [[one["stage"], f"{one['rejected']:,}", f"{one['changed']:,}", f"{one['added']:,}"] for one in stages]
    reasons = [[one["stage"], why, f"{count:,}"] for one in stages for why, count in one["reasons"].items()]
    listed = f"<h3>Why rows were left out</h3>{table(['stage', 'reason', 'rows'], reasons)}" if reasons else ""
    return table(["stage", "left out", "changed", "added"], rows) + listed


def _labels(profile: Profile) -> str:
    splits = {split: one["labels"] for split, one in profile["splits"].items() if one["labels"]}
    if not splits:
        return ""
    train = splits.get("train", {})
    drawn = bars("training rows by label (largest)", dict(list(train.items())[:MOST_BARS]), sideways=True)
    rows = [[label, *(f"{one.get(label, 0):,}" for one in splits.values())] for label in train]
    return f"{drawn}<details><summary>{len(train)} labels</summary>{table(['label', *splits], rows)}</details>"


def _contents(profile: Profile) -> str:
    train = profile["splits"]["train"]
    parts = [
        _counted("language", train["languages"]),
        _counted("personal data", train["pii"]),
        _counted("listed term", train["terms"]),
        _counted("quality rule failed", train["failed_rules"]),
        *(_counted(name, values) for name, values in train["slices"].items()),
    ]
    if profile["topics"]:
        rows = [[f"{topic['share']:.1%}", ", ".join(topic["terms"])] for topic in profile["topics"]]
        parts.append(f"<h3>Topics of a sample</h3>{table(['share', 'words'], rows)}")
    words = ", ".join(f"{word} ({count:,})" for word, count in train["frequent_words"])
    return "".join(parts) + f"<details><summary>Most frequent words</summary><p>{html.escape(words)}</p></details>"


def _counted(name: str, counted: Mapping[str, int]) -> str:
    if not counted:
        return ""
    rows = [[value, f"{count:,}"] for value, count in list(counted.items())[:MOST_BARS]]
    return f"<h3>By {html.escape(name)}</h3>{table([name, 'rows'], rows)}"


def _curve(curve: Profile | None) -> str:
    if curve is None:
        return ""
    points = list(zip(curve["rows"], curve["scores"], strict=True))
    told = (
        f"With twice the rows a power law through these points gives {curve['at_double']:.1%} instead of {points[-1][1]:.1%}."
        if curve["at_double"] is not None
        else "No power law fits these points."
    )
    drawn = plot(curve["measure"], {"": points}, across="training rows of the sample")
    return f"<p>{told} The measure is a stand-in that costs seconds, not the model to be trained.</p>{drawn}"


def _doubtful(rows: Sequence[Profile]) -> str:
    if not rows:
        return ""
    return table(
        ["row", "text", "label", "suggested", "margin"],
        [
            [
                _short_place(one["place"]),
                _shortened(one["text"]),
                one["label"],
                one["suggested"],
                f"{one['margin']:.2f}",
            ]
            for one in rows
        ],
    )


def _rows(profile: Profile) -> str:
    sample = [[_short_place(one["place"]), _shortened(_json(one["row"]))] for one in profile["sample"]]
    changed = [
        [
            _short_place(one["place"]),
            ", ".join(one["stages"]),
            _shortened(one["before"] or ""),
            _shortened(_json(one["row"])),
        ]
        for one in profile["changed"]
    ]
    rejected = [
        [_short_place(one["place"]), one["reason"], _shortened(_json(one["row"]))] for one in profile["rejected"]
    ]
    parts = [
        f"<details open><summary>Training rows</summary>{table(['row', 'as it is learnt from'], sample)}</details>"
    ]
    if changed:
        listed = table(["row", "stages", "before", "after"], changed)
        parts.append(f"<details><summary>Rows that stages changed</summary>{listed}</details>")
    if rejected:
        listed = table(["row", "reason", "row as it was"], rejected)
        parts.append(f"<details><summary>Rows that were left out</summary>{listed}</details>")
    return "".join(parts)


def _json(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False)


def _short_place(place: str) -> str:
    return place.rpartition("/")[2]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."


def _inputs(inputs: Mapping[str, Sequence[Profile]]) -> str:
    rows = [[split, one["name"], f"{one['bytes']:,}", one["hash"]] for split, files in inputs.items() for one in files]
    return table(["split", "file", "bytes", "content hash"], rows)
