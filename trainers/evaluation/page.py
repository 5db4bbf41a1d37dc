"""An evaluation as one HTML page: it opens offline, in any browser, by day and by night."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.progress import duration
from trainers.evaluation.compare import headline_of
from trainers.evaluation.confidence import page as confidence_page
from trainers.evaluation.errors import page as errors_page
from trainers.evaluation.page_plots import forest, heat_table, shortened
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.report import cards, document, flatten, format_value, section, table

MOST_CLASSES_IN_HEAT = 20
MOST_CONFUSIONS = 25
MOST_EXAMPLES = 30
MOST_SLICES_IN_PLOT = 40
LONGEST_TEXT = 400
LEAST_LISTED, MOST_LISTED = 1, 200
BYTES = ("kB", "MB", "GB", "TB")
SHOWN_APART = ("looks", "cached", "left_out", "calibration", "selective", "conformal", "ood", "errors")

Values = Mapping[str, Any]


def render(result: EvaluationResult) -> str:
    """The page as HTML."""
    sections = result.sections
    parts = [
        _top(result),
        section("Metrics", _metrics(result)),
        section("Slices", _slices(result)),
        section("Classes", _classes(result)),
        section("Confusions", _confusions(result.predictions)),
        section("Confidence", confidence_page.render(sections)),
        section("Where it fails", errors_page.render(sections.get("errors") or {})),
        *(section(name.replace("_", " ").capitalize(), tree(found)) for name, found in _others(sections)),
        section("Cost", _cost(result.cost)),
        section("Rows it got wrong", _examples(result.predictions)),
        section("Looks at these rows", _looks(sections.get("looks"))),
        section("Where it comes from", _origin(result)),
    ]
    subtitle = f"{result.n:,} rows · {', '.join(_file(name) for name in result.data) or result.kind}"
    return document(html.escape(result.subject or "Evaluation"), "Mobula evaluation", html.escape(subtitle), parts)


def _others(sections: Values) -> list[tuple[str, Any]]:
    return [(name, found) for name, found in sections.items() if name not in SHOWN_APART and found]


def _file(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


# -- figures --------------------------------------------------------------------------------------


def _top(result: EvaluationResult) -> str:
    headline = headline_of(list(result.metrics))
    shown = [(_spaced(headline), format_value(headline, result.metrics[headline]), _beside(result, headline))]
    for name in ("macro_f1", "loss", "perplexity", "field_accuracy"):
        if name in result.metrics and name != headline:
            shown.append((_spaced(name), format_value(name, result.metrics[name]), _beside(result, name)))
    calibration = result.sections.get("calibration")
    if calibration:
        error = calibration["as_it_is"]["figures"].get("ece", {}).get("value")
        shown.append(("calibration error", format_value("accuracy", error), "how far confidence is off"))
    for name in ("rows_per_s", "output_tokens_per_s"):
        if name in result.cost:
            shown.append((_spaced(name), f"{result.cost[name]:,.0f}", ""))
    return cards(shown)


def _beside(result: EvaluationResult, name: str) -> str:
    return " to ".join(format_value(name, float(bound)) for bound in result.intervals.get(name, ()))


def _metrics(result: EvaluationResult) -> str:
    rows = []
    for name, value in result.metrics.items():
        low, high = result.intervals.get(name, (None, None))
        shown = [format_value(name, one) for one in (value, low, high, result.baseline.get(name))]
        rows.append([name, *shown])
    spans = {
        name: (low, result.metrics[name], high)
        for name, (low, high) in result.intervals.items()
        if name in result.metrics and 0 <= result.metrics[name] <= 1
    }
    left_out = result.sections.get("left_out") or {}
    parts = [
        table(["metric", "value", "from", "to", "always the most common"], rows),
        _plots(forest("metrics between 0 and 1, with their intervals", spans, zero=False)),
        _details("Left out", table(["metric", "why"], list(left_out.items()))) if left_out else "",
    ]
    return "".join(parts)


def _slices(result: EvaluationResult) -> str:
    return "".join(_slice(result, column, values) for column, values in result.slices.items())


def _slice(result: EvaluationResult, column: str, values: Mapping[str, Values]) -> str:
    name, intervals = headline_of(list(result.metrics)), result.slice_intervals.get(column, {})
    names = list(dict.fromkeys(metric for scores in values.values() for metric in scores if metric != "n"))
    rows = [
        [value, format_value("n", int(scores["n"])), *(format_value(metric, scores.get(metric)) for metric in names)]
        for value, scores in values.items()
    ]
    spans = {
        f"{value} ({int(scores['n']):,})": (*_ends(intervals.get(value, {}).get(name), scores[name]),)
        for value, scores in list(values.items())[:MOST_SLICES_IN_PLOT]
        if scores.get(name) is not None
    }
    drawn = forest(f"{_spaced(name)} by {column} (rows)", spans, zero=False)
    return f"<h3>By {html.escape(column)}</h3>{_plots(drawn)}{table([column, 'rows', *names], rows)}"


def _ends(interval: Sequence[float] | None, value: float) -> tuple[float, float, float]:
    low, high = interval if interval else (value, value)
    return float(low), float(value), float(high)


def _classes(result: EvaluationResult) -> str:
    if not result.classes:
        return ""
    columns = ("precision", "recall", "f1", "n")
    worst_first = sorted(result.classes.items(), key=lambda entry: entry[1]["f1"])
    rows = [[label, *(format_value(name, scores[name]) for name in columns)] for label, scores in worst_first]
    listed = table(["class", *columns], rows)
    if len(rows) <= MOST_CLASSES_IN_HEAT:
        return listed
    return f"<details><summary>{len(rows)} classes, the weakest first</summary>{listed}</details>"


def _confusions(predictions: Sequence[Prediction]) -> str:
    pairs = Counter((one.reference, one.output) for one in predictions if one.reference is not None and one.output)
    wrong = Counter({pair: count for pair, count in pairs.items() if pair[0] != pair[1]})
    names = Counter(str(name) for (want, got), count in wrong.items() for name in (want, got) for _ in range(count))
    every = {str(want) for want, _ in pairs}
    if not wrong or len(every) > max(len(predictions) / 2, MOST_CLASSES_IN_HEAT):  # answers are texts, not classes
        return ""
    shown = sorted(every | set(names)) if len(every) <= MOST_CLASSES_IN_HEAT else _most(names, MOST_CLASSES_IN_HEAT)
    counts = [[pairs[(want, got)] for got in shown] for want in shown]
    some = "" if len(every) <= MOST_CLASSES_IN_HEAT else f"<p>The {len(shown)} classes that are confused most.</p>"
    ranked = [[want, got, count] for (want, got), count in wrong.most_common(MOST_CONFUSIONS)]
    listed = table(["expected", "given", "rows"], ranked)
    return f"{some}{heat_table('expected, given', shown, counts)}<h3>Ranked</h3>{listed}"


def _most(names: Counter[str], most: int) -> list[str]:
    return sorted(name for name, _ in names.most_common(most))


# -- the rest -------------------------------------------------------------------------------------


def _cost(cost: Mapping[str, float]) -> str:
    return (
        table(["what", "value"], [[_spaced(name), cost_text(name, value)] for name, value in cost.items()])
        if cost
        else ""
    )


def cost_text(name: str, value: float) -> str:
    """A cost in a unit that people read."""
    if name.endswith("_bytes"):
        unit = "B"
        for larger in BYTES:
            if value < 1000:
                break
            value, unit = value / 1000, larger
        return f"{value:,.3g} {unit}"
    if name.endswith("_per_s"):
        return f"{value:,.4g}"
    if name.endswith("_s"):
        return duration(value) if value >= 60 else f"{value:.3g} s"
    return f"{value:,.4g}"


def _examples(predictions: Sequence[Prediction]) -> str:
    wrong = [
        one for one in predictions if one.reference is not None and (one.output or "").strip() != one.reference.strip()
    ]
    if not wrong:
        return ""
    surest = sorted(wrong, key=lambda one: -(one.probability or 0.0))[:MOST_EXAMPLES]
    rows = [
        [
            _file(one.place),
            shortened(one.prompt or "", LONGEST_TEXT),
            shortened(one.reference or "", LONGEST_TEXT),
            shortened(one.output if one.output is not None else f"(failed: {one.error})", LONGEST_TEXT),
            format_value("accuracy", one.probability),
        ]
        for one in surest
    ]
    listed = table(["row", "asked", "expected", "given", "sure"], rows)
    return f"<p>{len(wrong):,} rows, the surest first.</p><details><summary>{len(rows)} of them</summary>{listed}</details>"


def _looks(looks: Values | None) -> str:
    if not looks:
        return ""
    rows = [[one["when"], one["subject"], one["purpose"], one["who"]] for one in looks.get("looks", [])]
    listed = _details("The latest", table(["when", "model", "why", "who"], rows)) if rows else ""
    return f"<p>{html.escape(str(looks.get('sentence', '')))}</p>{listed}"


def _origin(result: EvaluationResult) -> str:
    rows = [
        ["model", result.subject],
        ["kind", result.kind],
        ["data", ", ".join(result.data)],
        ["scored at", result.scored_at],
        ["took", duration(result.duration_s)],
        ["fingerprint", result.fingerprint],
    ]
    return table(["what", "value"], [[name, value] for name, value in rows if value])


def tree(found: Any) -> str:
    """Any plain value as tables: what is nested far becomes dotted names."""
    if isinstance(found, Mapping):
        inner = {name: one for name, one in found.items() if _is_list_of_sections(one)}
        flat = [[name, _text(one)] for name, one in flatten({k: v for k, v in found.items() if k not in inner})]
        parts = [table(["what", "value"], flat)] if flat else []
        parts += [_details(_spaced(str(name)), tree(one)) for name, one in inner.items()]
        return "".join(parts)
    if _is_list_of_sections(found):
        names = list(dict.fromkeys(name for one in found for name in one))
        rows = [[_text(one.get(name)) for name in names] for one in found[:MOST_LISTED]]
        return table([_spaced(str(name)) for name in names], rows)
    return f"<p>{html.escape(_text(found))}</p>"


def _is_list_of_sections(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) >= LEAST_LISTED
        and all(isinstance(one, Mapping) for one in value)
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        return shortened(json.dumps(value, ensure_ascii=False, default=str), LONGEST_TEXT)
    return shortened(format_value("", value), LONGEST_TEXT)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _plots(*drawn: str) -> str:
    shown = "".join(drawn)
    return f'<div class="plots">{shown}</div>' if shown else ""


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{body}</details>"
