"""The results of a model card: figures for the Hub's front matter, and the section that people read.

The section stands between two comments that name the rows, so that a later evaluation of the same rows takes its place and
one of other rows stands beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult

from trainers.tables_md import markdown_table, shown

if TYPE_CHECKING:
    from trainers.evaluation.result import EvaluationResult

HUB_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "exact_match": "exact_match",
    "perplexity": "perplexity",
    "bleu": "bleu",
    "chrf": "chrf",
    "rouge1": "rouge",
    "rougeL": "rouge",
    "mcc": "matthews_correlation",
    "roc_auc": "roc_auc",
}
"""Our metrics -> the Hub's types, where they differ or are known there; others keep their name."""
COUNTS = ("cut_rows", "failed_rows")
MOST_SLICES = 12
WORST_CLASSES = 8
FEW_ROWS = 100
WEAK_SLICE_ROWS = 20
_BLOCK = "<!-- mobula:results {} -->\n{}\n<!-- /mobula:results -->"
_ANY_BLOCK = re.compile(r"<!-- mobula:results (?P<rows>\S+) -->\n.*?\n<!-- /mobula:results -->", re.DOTALL)


def eval_results(result: EvaluationResult, task: str) -> list[EvalResult]:
    """The figures as the Hub's model index holds them, each with its interval and the number of rows."""
    found = []
    for name, value in result.metrics.items():
        if name in COUNTS or not math.isfinite(value):
            continue
        low, high = result.intervals.get(name, (None, None))
        args: dict[str, Any] = {"rows": result.n}
        if low is not None and high is not None:
            args["confidence_interval"] = [round(low, 6), round(high, 6)]
        found.append(
            EvalResult(
                task_type=task,
                dataset_type="private",
                dataset_name=data_name(result),
                metric_type=HUB_NAMES.get(name, name),
                metric_name=name,
                metric_value=round(float(value), 6),
                metric_args=args,
                dataset_revision=rows_name(result),
            )
        )
    return found


def data_name(result: EvaluationResult) -> str:
    """The rows as a card names them: file names without their folders, which mean nothing elsewhere."""
    names = dict.fromkeys(PurePosixPath(name.partition("?")[0]).name or name for name in result.data)
    return ", ".join(names) or "test rows of the run"


def results_block(result: EvaluationResult, confidence: float) -> str:
    """The section about one evaluation, between its comments."""
    parts = [
        f"### {data_name(result)}",
        _told(result, confidence),
        _metrics(result, confidence),
        *_slices(result),
        _classes(result),
        _sentences(result),
        _looks(result),
    ]
    return _BLOCK.format(rows_name(result), "\n\n".join(part for part in parts if part))


def rows_name(result: EvaluationResult) -> str:
    """What tells these rows from others in the comments."""
    return result.data_fingerprint or re.sub(r"\W+", "-", data_name(result))


def with_block(card: str, block: str, heading: str) -> str:
    """The text of a card with a block: in place of the one of the same rows, else after the last one, else under a heading
    of its own at the end."""
    found = _ANY_BLOCK.match(block)
    assert found is not None, "a block stands between its comments"
    known = list(_ANY_BLOCK.finditer(card))
    same = next((one for one in known if one["rows"] == found["rows"]), None)
    if same is not None:
        return card[: same.start()] + block + card[same.end() :]
    if known:
        return f"{card[: known[-1].end()]}\n\n{block}{card[known[-1].end() :]}"
    return f"{card.rstrip()}\n\n{heading}\n\n{block}\n"


def limits_seen(result: EvaluationResult) -> list[str]:
    """What the figures themselves say against relying on them, in sentences."""
    name = result.headline
    found = []
    if result.n < FEW_ROWS:
        found.append(f"It was scored on {result.n} rows only; the intervals say how little that is.")
    if name in result.metrics and name in result.baseline and not _is_above(result, name):
        found.append(
            f"Its {name} is not shown to be better than always giving the most common answer ({_value(result.baseline[name])})."
        )
    for column, value, scores in _weak_slices(result, name):
        found.append(
            f"It is weaker where {column} is {value}: {name} {_value(scores[name])} on {int(scores['n'])} rows, against "
            f"{_value(result.metrics[name])} on all."
        )
    for count, words in (
        ("cut_rows", "were longer than the model takes and were cut"),
        ("failed_rows", "got no answer"),
    ):
        if result.metrics.get(count):
            found.append(f"{int(result.metrics[count])} of {result.n} rows {words}.")
    return found


# -- parts ----------------------------------------------------------------------------------------


def _told(result: EvaluationResult, confidence: float) -> str:
    when = f", on {result.scored_at[:10]}" if result.scored_at else ""
    return (
        f"{shown(result.n)} rows{when}. Intervals hold the value with {confidence:.0%} confidence, for rows like these."
    )


def _metrics(result: EvaluationResult, confidence: float) -> str:
    header = ["metric", "value", f"{confidence:.0%} interval", "most common answer"]
    rows = [
        [f"`{name}`", _value(value), _interval(result.intervals.get(name)), _value(result.baseline.get(name))]
        for name, value in result.metrics.items()
        if name not in COUNTS
    ]
    return markdown_table(header, rows)


def _slices(result: EvaluationResult) -> list[str]:
    """A table for each column, the weakest values first."""
    name, parts = result.headline, []
    for column, values in result.slices.items():
        known = [(value, scores) for value, scores in values.items() if name in scores]
        known.sort(key=lambda one: one[1][name] * (-1.0 if name == "loss" else 1.0))
        intervals = result.slice_intervals.get(column, {})
        rows = [
            [value, shown(int(scores["n"])), _value(scores[name]), _interval(intervals.get(value, {}).get(name))]
            for value, scores in known[:MOST_SLICES]
        ]
        left = f"\n\nand {len(known) - MOST_SLICES} more values." if len(known) > MOST_SLICES else ""
        parts.append(
            f"By {column}:\n\n{markdown_table([column, 'rows', f'`{name}`', 'interval'], rows)}{left}" if rows else ""
        )
    return parts


def _classes(result: EvaluationResult) -> str:
    worst = sorted(result.classes.items(), key=lambda entry: entry[1]["f1"])[:WORST_CLASSES]
    columns = ("precision", "recall", "f1")
    rows = [[label, *(_value(scores[name]) for name in columns), shown(int(scores["n"]))] for label, scores in worst]
    return f"Weakest classes:\n\n{markdown_table(['class', *columns, 'rows'], rows)}" if rows else ""


def _sentences(result: EvaluationResult) -> str:
    """What else was found, where it is said in a sentence: calibration, judges, seen rows."""
    told = [
        sentence
        for name, section in result.sections.items()
        if name not in ("looks", "errors")
        for sentence in sentences_in(section)
    ]
    return "\n".join(f"- {sentence}" for sentence in dict.fromkeys(told))


def sentences_in(section: Any) -> list[str]:
    """Every `sentence` of a section, wherever it lies."""
    if isinstance(section, Mapping):
        found = [section["sentence"]] if isinstance(section.get("sentence"), str) else []
        return found + [one for key, inner in section.items() if key != "sentence" for one in sentences_in(inner)]
    if isinstance(section, Sequence) and not isinstance(section, str):
        return [one for inner in section for one in sentences_in(inner)]
    return []


def _looks(result: EvaluationResult) -> str:
    looks = result.sections.get("looks", {})
    said = looks.get("sentence", "")
    return f"{said[:1].upper()}{said[1:].rstrip('.')}." if said else ""


def _weak_slices(result: EvaluationResult, name: str) -> list[tuple[str, str, dict[str, float]]]:
    """Slices whose interval lies wholly on the wrong side of the value of all rows."""
    if name not in result.metrics:
        return []
    whole, is_loss = result.metrics[name], name == "loss"
    found = []
    for column, values in result.slices.items():
        for value, scores in values.items():
            low, high = result.slice_intervals.get(column, {}).get(value, {}).get(name, (math.nan, math.nan))
            if scores.get("n", 0) >= WEAK_SLICE_ROWS and (low > whole if is_loss else high < whole):
                found.append((column, value, scores))
    return found


def _is_above(result: EvaluationResult, name: str) -> bool:
    low, high = result.intervals.get(name, (result.metrics[name],) * 2)
    return high < result.baseline[name] if name == "loss" else low > result.baseline[name]


def _value(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else shown(float(value))


def _interval(interval: Sequence[float] | None) -> str:
    return f"{_value(interval[0])} to {_value(interval[1])}" if interval is not None else "-"
