"""A comparison of models as one HTML page: differences with intervals, slices, rows they disagree on, the gate."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from trainers.evaluation.comparison import Comparison, CostDifference, Difference, change, p_text
from trainers.evaluation.gate import Decision
from trainers.evaluation.page import LONGEST_TEXT, cost_text
from trainers.evaluation.page_plots import Span, forest, shortened
from trainers.report import cards, document, format_value, section, table

MOST_IN_PLOT = 40


def render_comparison(comparison: Comparison, decision: Decision | None = None) -> str:
    """The page as HTML.

    Args:
        decision: of a gate, where one was asked.
    """
    names = [model.name for model in comparison.models]
    parts = [
        _top(comparison, decision),
        section("Gate", _gate(decision)),
        section("What was found", _found(comparison)),
        section("Differences", _differences(comparison)),
        section("Slices", _slices(comparison)),
        section("Cost", _costs(comparison.costs)),
        section("Rows answered differently", _disagreements(comparison)),
        section("What was compared", _models(comparison)),
        section("How", _how(comparison)),
    ]
    rows = "the same rows" if comparison.paired else "different rows"
    subtitle = f"{comparison.n:,} rows · {rows} · {comparison.headline} first"
    return document(html.escape(" · ".join(names)), "Mobula comparison", html.escape(subtitle), parts)


def render_decision(decision: Decision) -> str:
    """The page of a gate on a first version, which has nothing to be compared with."""
    parts = [cards([("gate", decision.verdict, decision.candidate)]), section("Gate", _gate(decision))]
    return document(html.escape(decision.candidate), "Mobula gate", html.escape(decision.verdict), parts)


def _top(comparison: Comparison, decision: Decision | None) -> str:
    shown = [
        (f"{one.second} against {one.first}", one.verdict, f"{one.metric} {_change(one)}")
        for one in comparison.differences
        if one.metric == comparison.headline
    ]
    return cards([("gate", decision.verdict, decision.candidate), *shown] if decision else shown)


def _gate(decision: Decision | None) -> str:
    if decision is None:
        return ""
    rows = [[one.kind, one.verdict, one.reason] for one in decision.rulings]
    return f"<p>{html.escape(decision.sentence)}</p>{table(['clause', 'verdict', 'reason'], rows)}"


def _found(comparison: Comparison) -> str:
    told = [one for one in comparison.differences if one.metric == comparison.headline]
    lines = [one.sentence for one in told]
    lines += [f"{one.second} against {one.first}: {one.power_sentence}." for one in told if one.power_sentence]
    lines += comparison.notes
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _differences(comparison: Comparison) -> str:
    return "".join(_pair(comparison, first, second) for first, second in comparison.pairs) + _left_out(comparison)


def _pair(comparison: Comparison, first: str, second: str) -> str:
    found = [one for one in comparison.differences if (one.first, one.second) == (first, second)]
    shares, others = [one for one in found if one.is_share], [one for one in found if not one.is_share]
    drawn = _forest("difference of shares, in points", {one.metric: one for one in shares}, 100.0)
    drawn += _forest("difference over the first's value, in percent", {one.metric: one for one in others}, None)
    title = f"<h3>{html.escape(second)} against {html.escape(first)}</h3>"
    return f'{title}<div class="plots">{drawn}</div>{_table(found, first, second)}'


def _forest(title: str, found: Mapping[str, Difference], scale: float | None) -> str:
    spans: dict[str, Span] = {}
    for name, one in list(found.items())[:MOST_IN_PLOT]:
        unit = scale or (100.0 / abs(one.first_value) if one.first_value else 0.0)
        if one.interval is not None and one.difference is not None and unit:
            low, high = one.interval
            spans[name] = (unit * low, unit * one.difference, unit * high)
    return forest(title, spans, strong=[name for name, one in found.items() if one.is_shown])


def _table(found: Sequence[Difference], first: str, second: str) -> str:
    rows = [
        [
            one.metric,
            _value(one, one.first_value),
            _value(one, one.second_value),
            _change(one),
            _interval(one),
            f"{one.n:,}",
            one.test or "-",
            p_text(one.p_adjusted),
            _effect(one),
            "-" if one.probability_better is None else f"{one.probability_better:.1%}",
            one.verdict,
            one.power_sentence or one.note or "",
        ]
        for one in found
    ]
    header = ["metric", first, second, "difference", "interval", "rows", "test", "p, corrected", "effect"]
    return table([*header, "probably better", "verdict", "what these rows can show"], rows)


def _effect(one: Difference) -> str:
    if one.effect_size is None:
        return "-"
    return f"{one.effect} {one.effect_size:.2g}" + (f" ({one.effect_words})" if one.effect_words else "")


def _left_out(comparison: Comparison) -> str:
    if not comparison.left_out:
        return ""
    listed = table(["metric", "why"], list(comparison.left_out.items()))
    return f"<details><summary>Not compared</summary>{listed}</details>"


def _value(one: Difference, value: float | None) -> str:
    return format_value("accuracy" if one.is_share else "", value)


def _change(one: Difference) -> str:
    return "-" if one.difference is None else change(one.difference, one.is_share)


def _interval(one: Difference) -> str:
    return "-" if one.interval is None else " to ".join(change(bound, one.is_share) for bound in one.interval)


def _slices(comparison: Comparison) -> str:
    parts = []
    for first, second in comparison.pairs:
        found = [one for one in comparison.slices if (one.first, one.second) == (first, second)]
        if not found:
            continue
        named = {f"{one.column}={one.value} ({one.n:,})": one for one in found}
        worst_first = sorted(found, key=_gain)
        rows = [
            [
                f"{one.column}={one.value}",
                f"{one.n:,}",
                _value(one, one.first_value),
                _value(one, one.second_value),
                _change(one),
                _interval(one),
                p_text(one.p_adjusted),
                one.verdict,
            ]
            for one in worst_first
        ]
        drawn = _forest(
            f"difference in {comparison.headline} by slice (rows)", named, 100.0 if found[0].is_share else 1.0
        )
        header = ["slice", "rows", first, second, "difference", "interval", "p, corrected", "verdict"]
        title = f"<h3>{html.escape(second)} against {html.escape(first)}, {html.escape(comparison.headline)}</h3>"
        parts.append(f'{title}<div class="plots">{drawn}</div>{table(header, rows)}')
    return "".join(parts)


def _gain(one: Difference) -> float:
    gain = one.difference or 0.0
    return -gain if one.higher_is_better is False else gain


def _costs(costs: Sequence[CostDifference]) -> str:
    if not costs:
        return ""
    rows = [
        [
            one.name.replace("_", " "),
            f"{one.second} against {one.first}",
            cost_text(one.name, one.first_value),
            cost_text(one.name, one.second_value),
            "-" if one.ratio is None else f"{one.ratio:.3g} times",
            "measured once" if one.interval is None else f"{one.interval[0]:.3g} to {one.interval[1]:.3g} times",
        ]
        for one in costs
    ]
    return table(["what", "models", "first", "second", "ratio", "interval"], rows)


def _disagreements(comparison: Comparison) -> str:
    parts = []
    if comparison.agreement:
        names = list(next(iter(comparison.agreement.values())))
        rows = [[pair, *(f"{counts[name]:,}" for name in names)] for pair, counts in comparison.agreement.items()]
        parts.append(table(["rows", *names], rows))
    rows = [
        [
            one.place.rpartition("/")[2],
            shortened(one.prompt or "", LONGEST_TEXT),
            shortened(one.reference or "", LONGEST_TEXT),
            f"{one.first}: {shortened(one.first_output or '', LONGEST_TEXT)}",
            f"{one.second}: {shortened(one.second_output or '', LONGEST_TEXT)}",
            {(False, True): "gained", (True, False): "lost"}.get((one.first_right, one.second_right), "other"),  # type: ignore[arg-type]
        ]
        for one in comparison.disagreements
    ]
    if rows:
        listed = table(["row", "asked", "expected", "first", "second", ""], rows)
        parts.append(f"<details><summary>{len(rows)} of them</summary>{listed}</details>")
    return "".join(parts)


def _models(comparison: Comparison) -> str:
    rows = [
        [
            model.name,
            ", ".join(model.where),
            model.runs,
            ", ".join(f"{n:,}" for n in dict.fromkeys(model.n)),
            model.unanswered,
        ]
        for model in comparison.models
    ]
    return table(["model", "where", "trainings", "rows", "failed rows"], rows)


def _how(comparison: Comparison) -> str:
    corrections = {
        "holm": "corrected by Holm, so that the chance of any false finding among them stays below the level",
        "benjamini_hochberg": "corrected by Benjamini and Hochberg, so that few of the findings are false",
        "none": "not corrected",
    }
    sure = f"{100 * comparison.confidence:g} %"
    text = (
        f"Intervals hold with {sure} each. P-values are {corrections[comparison.correction]}: over all metrics and pairs "
        f"together, and again over all slices. A difference is called shown where its corrected p-value is below "
        f"{1 - comparison.confidence:.2g}; no difference shown does not mean that there is none."
    )
    return f"<p>{html.escape(text)}</p>"
