"""One HTML page about a run: it opens offline, in any browser, by day and by night.

Everything on it is read from the run directory, so it can be written again at any time.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.progress import duration
from cluster.runs import Record, RunDirectory
from trainers.report_style import STYLE

REPORT, EVALUATION = "report.html", "evaluation.json"
SAMPLES = 12
TRAIN_COLOUR, EVAL_COLOUR, TEXT_COLOUR = "#4c8dff", "#e8833a", "#8a8f98"
SHARES = ("accuracy", "exact_match", "json_valid", "macro_f1", "field.", "precision", "recall", "f1")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Exchange:
    """A question put to the served model, and what it answered."""

    question: str
    answer: str
    expected: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Page:
    """What the page tells; values as the run directory holds them."""

    run: RunDirectory
    record: Record | None
    rows: Sequence[Row]
    evaluation: Mapping[str, Any] | None = None
    samples: Sequence[Row] = ()
    exchanges: Sequence[Exchange] = field(default_factory=tuple)


def write_report(run: RunDirectory, exchanges: Sequence[Exchange] = ()) -> str:
    """Write `report.html` of a run and return where it lies."""
    evaluation = run.storage.read_json(EVALUATION) if run.storage.exists(EVALUATION) else None
    samples = evaluation.pop("wrong_predictions", []) if evaluation else []
    page = Page(run, run.record(), run.metrics(), evaluation, samples, exchanges)
    run.storage.write_text(REPORT, render(page))
    return run.storage.place(REPORT)


def render(page: Page) -> str:
    """The page as HTML."""
    name = html.escape(page.run.config.name)
    sections = [
        _cards(page),
        section("Learning", _plots(page.rows)),
        section("Evaluation", _evaluation(page.evaluation, page.samples)),
        section("The served model answers", _exchanges(page.exchanges)),
        section("Data", _data(page.record)),
        section("Settings", _settings(page.run.config.model_dump(mode="json"))),
        section("Where everything lies", _places(page)),
    ]
    return document(name, "Mobula run", _subtitle(page), sections)


def document(name: str, kind: str, subtitle: str, sections: Sequence[str]) -> str:
    """A whole HTML page; its parts are HTML already."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name} · {kind}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><header><h1>{name}</h1><p>{subtitle}</p></header><main>{''.join(sections)}</main></body></html>\n"
    )


def _subtitle(page: Page) -> str:
    record, config = page.record, page.run.config
    workers = config.cluster.num_workers
    what = (
        f"{config.train.objective.kind}, {config.train.adaptation.kind}, {workers} worker{'s' if workers > 1 else ''}"
    )
    state = f"{record.state}, {record.finished_at or record.started_at}" if record else "not started"
    return html.escape(f"{what} · {state}")


def section(title: str, body: str) -> str:
    """A part of the page under a heading; nothing where there is nothing to say."""
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


# -- the figures on top ---------------------------------------------------------------------------


def _cards(page: Page) -> str:
    metrics = page.record.metrics if page.record else {}
    found = [
        *_score_cards(page.evaluation),
        ("eval loss", format_value("loss", metrics.get("eval_loss")), "best step" if "best_step" in metrics else ""),
        ("training time", duration(metrics["train_s"]) if "train_s" in metrics else "-", ""),
        ("throughput", _tokens_per_s(metrics), "useful tokens a second"),
        ("version", str(page.record.version) if page.record and page.record.version else "-", "in the registry"),
    ]
    return cards([card for card in found if card[1] != "-"])


def cards(shown: Iterable[tuple[str, str, str]]) -> str:
    """Name, value and note of the figures that matter most."""
    parts = [
        f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(name)}</span><i>{html.escape(note)}</i></div>'
        for name, value, note in shown
    ]
    return f'<section class="cards">{"".join(parts)}</section>'


def _score_cards(evaluation: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    if not evaluation:
        return []
    metrics, baseline = evaluation["metrics"], evaluation["baseline"]
    name = next((name for name in ("accuracy", "exact_match") if name in metrics), None)
    if name is None:
        return []
    note = f"always the most common: {format_value(name, baseline.get(name))}"
    return [(f"test {name.replace('_', ' ')}", format_value(name, metrics[name]), note)]


def _tokens_per_s(metrics: Row) -> str:
    return f"{metrics['tokens_per_s']:,.0f}" if "tokens_per_s" in metrics else "-"


def format_value(name: str, value: Any) -> str:
    """A metric as text: shares in percent, the rest with four digits."""
    if value is None:
        return "-"
    if isinstance(value, float) and name.startswith(SHARES):
        return f"{value:.1%}"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


# -- plots ----------------------------------------------------------------------------------------


def _plots(rows: Sequence[Row]) -> str:
    logged, evaluated = [row for row in rows if "loss" in row], [row for row in rows if "eval_loss" in row]
    if not logged:
        return ""
    plots = [
        plot("loss", {"training": _points(logged, "loss"), "validation": _points(evaluated, "eval_loss")}, log=True),
        plot("learning rate", {"": _points(logged, "learning_rate")}),
        plot("useful tokens per second", {"": _points(logged, "tokens_per_s")}, from_zero=True),
    ]
    if evaluated and "eval_accuracy" in evaluated[0]:
        plots.append(plot("validation accuracy", {"": _points(evaluated, "eval_accuracy")}))
    else:
        plots.append(plot("gradient norm", {"": _points(logged, "grad_norm")}, log=True))
    return f'<div class="plots">{"".join(plots)}</div>'


def _points(rows: Iterable[Row], name: str) -> list[tuple[float, float]]:
    return [(row["step"], row[name]) for row in rows if row.get(name) is not None]


def plot(
    title: str,
    lines: Mapping[str, list[tuple[float, float]]],
    *,
    across: str = "step",
    log: bool = False,
    from_zero: bool = False,
) -> str:
    """Lines over steps (or whatever `across` says) as an SVG element that needs nothing from outside."""

    def draw(axes: Any) -> None:
        for (label, points), colour in zip(lines.items(), (TRAIN_COLOUR, EVAL_COLOUR), strict=False):
            marker = "o" if colour == EVAL_COLOUR or len(points) < 20 else ""
            axes.plot(*_columns(points), label=label, color=colour, marker=marker, markersize=3.5, linewidth=1.6)
        dress(axes, title, log=log and all(value > 0 for points in lines.values() for _, value in points))
        axes.set_xlabel(across, color=TEXT_COLOUR)
        if from_zero:
            axes.set_ylim(bottom=0)
        if sum(map(bool, lines.values())) > 1:
            axes.legend(frameon=False, labelcolor=TEXT_COLOUR)

    return figure(title, draw)


def bars(title: str, heights: Mapping[str, float], *, sideways: bool = False) -> str:
    """A bar for each name as an SVG element that needs nothing from outside; `sideways` leaves room for long names."""

    def draw(axes: Any) -> None:
        names, values = list(heights), list(heights.values())
        if sideways:
            axes.barh(names[::-1], values[::-1], color=TRAIN_COLOUR)
        else:
            axes.bar(names, values, color=TRAIN_COLOUR, width=0.85)
            axes.set_xticks(range(0, len(names), max(len(names) // 8, 1)), names[:: max(len(names) // 8, 1)])
        dress(axes, title, log=False)

    return figure(title, draw)


def figure(title: str, draw: Callable[[Any], None], height: float = 2.6) -> str:
    """Whatever `draw` puts on matplotlib's axes, as an SVG element that needs nothing from outside.

    Args:
        height: in inches; the width is 5.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif", "font.size": 9}):
        canvas = Figure(figsize=(5.0, height), layout="constrained")
        draw(canvas.subplots())
        picture = io.StringIO()
        canvas.savefig(picture, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = picture.getvalue()
    return f'<figure role="img" aria-label="{html.escape(title)}">{text[text.index("<svg") :]}</figure>'


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def dress(axes: Any, title: str, log: bool = False) -> None:
    """Colours that read on light and on dark ground, a grid, no frame."""
    axes.set_title(title, loc="left", color=TEXT_COLOUR, fontsize=10)
    axes.tick_params(colors=TEXT_COLOUR, which="both")
    axes.grid(alpha=0.25, color=TEXT_COLOUR, linewidth=0.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(TEXT_COLOUR)
    if log:
        axes.set_yscale("log")


# -- tables ---------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """An HTML table; numbers keep their digits aligned."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    text = html.escape(str(value))
    is_number = text.replace(",", "").replace(".", "").replace("%", "").replace("-", "").replace("e", "").isdecimal()
    return f'<td class="number">{text}</td>' if is_number or text == "-" else f"<td>{text}</td>"


def _evaluation(evaluation: Mapping[str, Any] | None, samples: Sequence[Row]) -> str:
    if not evaluation:
        return ""
    metrics, baseline = evaluation["metrics"], evaluation["baseline"]
    rows = [
        [name, format_value(name, value), format_value(name, baseline.get(name))] for name, value in metrics.items()
    ]
    parts = [
        f"<p>{evaluation['n']:,} rows that training never saw. The right column always gives the most common answer.</p>",
        table(["metric", "model", "most common"], rows),
        *(_slices(column, values) for column, values in evaluation.get("slices", {}).items()),
        _classes(evaluation.get("classes", {})),
        _samples(samples),
    ]
    return "".join(parts)


def _slices(column: str, values: Mapping[str, Row]) -> str:
    names = list(dict.fromkeys(name for scores in values.values() for name in scores))
    rows = [[value, *(format_value(name, scores.get(name)) for name in names)] for value, scores in values.items()]
    return f"<h3>By {html.escape(column)}</h3>{table([column, *names], rows)}"


def _classes(classes: Mapping[str, Row]) -> str:
    if not classes:
        return ""
    columns = ("precision", "recall", "f1", "n")
    worst_first = sorted(classes.items(), key=lambda entry: entry[1]["f1"])
    rows = [[label, *(format_value(name, scores[name]) for name in columns)] for label, scores in worst_first]
    listed = table(["class", *columns], rows)
    return f"<details><summary>{len(classes)} classes, the weakest first</summary>{listed}</details>"


def _samples(samples: Sequence[Row]) -> str:
    if not samples:
        return ""
    rows = [[sample["place"].rpartition("/")[2], sample["reference"], sample["output"]] for sample in samples]
    return f"<details><summary>Some rows it got wrong</summary>{table(['row', 'expected', 'given'], rows)}</details>"


def _exchanges(exchanges: Sequence[Exchange]) -> str:
    if not exchanges:
        return ""
    rows = [
        [one.question, one.answer, one.expected or "-", f"{one.seconds:.2f}" if one.seconds is not None else "-"]
        for one in exchanges
    ]
    return table(["message", "answer", "expected", "seconds"], rows)


def _data(record: Record | None) -> str:
    report = record.details.get("data", {}) if record else {}
    if not report:
        return ""
    names = ["rows", "truncated_rows", "truncated_tokens", "dropped_rows", "sequences", "tokens", "loss_tokens"]
    rows = [[split, *(format_value(name, counts.get(name)) for name in names)] for split, counts in report.items()]
    sources = [
        [split, source, format_value("rows", number)]
        for split, counts in report.items()
        for source, number in counts.get("rows_of_source", {}).items()
    ]
    listed = table(["split", "source", "rows"], sources)
    return (
        table(["split", *(name.replace("_", " ") for name in names)], rows)
        + f"<details><summary>Sources</summary>{listed}</details>"
    )


def _settings(config: Mapping[str, Any]) -> str:
    parts = []
    for section, values in config.items():
        if isinstance(values, Mapping):
            rows = [[name, json.dumps(value)] for name, value in flatten(values) if value is not None]
            parts.append(f"<details><summary>{html.escape(section)}</summary>{table(['key', 'value'], rows)}</details>")
    return "".join(parts)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested settings as dotted keys."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _places(page: Page) -> str:
    record, storage = page.record, page.run.storage
    places = {
        "run": storage.place(""),
        "model": record.model_path if record else None,
        "settings": storage.place("run.yaml"),
        "metrics": storage.place("metrics.jsonl"),
        "evaluation": storage.place(EVALUATION) if page.evaluation else None,
        "error": record.error if record else None,
    }
    return table(["what", "where"], [[name, place] for name, place in places.items() if place])
