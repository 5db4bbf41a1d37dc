"""The report of a study as one HTML page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from cluster.progress import duration
from trainers.report import bars, cards, document, format_value, section, table
from tuning.report.facts import TrialFacts
from tuning.report.history import ENERGY, NO_ENERGY, SETTLED
from tuning.report.plots import (
    budget_plot,
    curves_plot,
    front_plot,
    grouped_bars,
    history_plot,
    parallel_coordinates,
    slice_plots,
    sweep_plots,
)
from tuning.report.regression import Fit
from tuning.report.sensitivity import NEAR
from tuning.report.understand import Sensitivity, Understanding

SHOWN = 15
"""Rows of a table before the rest is folded away."""
BUDGETS = {"tokens": "useful tokens", "train_s": "training time, s", "memory_gib": "memory, GiB", ENERGY: "energy, J"}


def render(found: Understanding) -> str:
    """The page as HTML."""
    study = found.study
    parts = [
        _cards(found),
        section("What to try next", _advice(found)),
        section("How sure the winner is", _winner(found)),
        section("History", _plots([history_plot(study), curves_plot(study)])),
        section("Trials", _trials(found)),
        section("Settings together", parallel_coordinates(study)),
        section("Settings one by one", _plots(slice_plots(study))),
        section("Which settings matter", _importance(found)),
        section("Regression of the score on the settings", _regression(found)),
        section("Sensitivity", _sensitivity(found)),
        section("Around the best trial", _around(found)),
        section("Several objectives", _objectives(found)),
        section("Budget", _budgets(found)),
        section("Failed trials", _failures(found)),
    ]
    return document(html.escape(study.name), "Mobula study", _subtitle(found), parts)


def _subtitle(found: Understanding) -> str:
    study = found.study
    way = "most" if study.objective.maximises else "least"
    stopped = sum(trial.outcome.stopped for trial in study.trials)
    told = f"{len(study.trials)} trials, {stopped} stopped early, {len(study.failed)} failed; the {way} {study.objective.name} wins"
    return html.escape(told)


def _plots(pictures: Iterable[str]) -> str:
    kept = [picture for picture in pictures if picture]
    return f'<div class="plots">{"".join(kept)}</div>' if kept else ""


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _cards(found: Understanding) -> str:
    study = found.study
    name, best = study.objective.name, study.best
    shown = [(f"best {name}", _score(name, best.value(name)), best.name)]
    tested = {key: value for key, value in study.published.get("metrics", {}).items() if key.startswith("test_")}
    for key in ("test_accuracy", "test_exact_match", "test_loss"):
        if key in tested:
            shown.append((key.replace("_", " "), _score(key, tested[key]), "test rows, scored once, with the winner"))
            break
    seconds = sum(one.train_s for one in found.costs if math.isfinite(one.train_s))
    shown.append(("training time", duration(seconds) if seconds else "-", "all trials together"))
    tokens = sum(one.tokens for one in found.costs if math.isfinite(one.tokens))
    shown.append(("useful tokens", f"{tokens:,.0f}" if tokens else "-", "all trials together"))
    if study.published.get("version"):
        shown.append(("version", str(study.published["version"]), "in the registry"))
    return cards([card for card in shown if card[1] != "-"])


def _score(name: str, value: float) -> str:
    return format_value(name.removeprefix("eval_").removeprefix("test_"), value)


def _advice(found: Understanding) -> str:
    rows = [[one.kind, one.sentence] for one in found.advice]
    left = [_paragraph(f"No {what}: {reason}.") for what, reason in found.missing.items() if what != "lead"]
    return (table(["what", "why and how"], rows) if rows else "") + "".join(left)


def _winner(found: Understanding) -> str:
    study = found.study
    best = study.best
    rows = [
        [key, json.dumps(value) if not isinstance(value, str) else value] for key, value in best.outcome.values.items()
    ]
    lead = found.lead.sentence if found.lead else found.missing.get("lead", "")
    parts = [
        _paragraph(lead),
        _paragraph(
            f"Its score is the best of {len(study.scored)} on the same validation rows, so a little of it is luck; rows that "
            "nothing was chosen on (data.test) say how much."
        ),
        table(["setting", "value of the winner"], rows),
    ]
    if found.chances:
        parts.append(_plots([bars("chance to be the best on other validation rows", found.chances, sideways=True)]))
    return "".join(parts)


# -- trials ---------------------------------------------------------------------------------------


def _trials(found: Understanding) -> str:
    study = found.study
    by_name = {one.name: one for one in found.costs}
    figures = (
        "quality",
        "loss",
        "steps_to_converge",
        "s_to_converge",
        "s_to_target",
        "tokens",
        "train_s",
        "memory_gib",
        ENERGY,
    )
    known = [name for name in figures if any(math.isfinite(getattr(one, name)) for one in found.costs)]
    header = ["trial", *(_short(key) for key in study.space), *(name.replace("_", " ") for name in known), "state"]

    def row(trial: TrialFacts) -> list[Any]:
        costs = by_name[trial.name]
        values = [_value(trial.outcome.values.get(key)) for key in study.space]
        return [trial.name, *values, *(_number(getattr(costs, name)) for name in known), _state(trial)]

    rows = [row(trial) for trial in study.ranked]
    more = rows[SHOWN:]
    notes = (
        f"Converged: {SETTLED:.0%} of the way from the first score to the best. Target: as good as half of all trials ever "
        "were; times follow from the share of steps."
    )
    energy = "" if ENERGY in known else _paragraph(NO_ENERGY)
    folded = f"<details><summary>{len(more)} more</summary>{table(header, more)}</details>" if more else ""
    return _paragraph(notes) + table(header, rows[:SHOWN]) + folded + energy


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _value(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "never" if math.isinf(value) else f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"


def _state(trial: TrialFacts) -> str:
    return "failed" if trial.outcome.error else "stopped" if trial.outcome.stopped else "finished"


def _failures(found: Understanding) -> str:
    rows = [
        [trial.name, *(_value(trial.outcome.values.get(key)) for key in found.study.space), trial.outcome.error]
        for trial in found.study.failed
    ]
    return table(["trial", *map(_short, found.study.space), "reason"], rows[:SHOWN]) if rows else ""


# -- settings -------------------------------------------------------------------------------------


def _importance(found: Understanding) -> str:
    if not found.importances or found.surrogate is None:
        return ""
    names = [one.setting for one in found.importances]
    measures = {
        name: [getattr(one, name) for one in found.importances] for name in ("fanova", "permutation", "shapley")
    }
    rows = [
        [one.setting, *(f"{share:.1%}" for share in (one.fanova, one.permutation, one.shapley, one.mean))]
        for one in found.importances
    ]
    return (
        _paragraph(
            "Shares of the variance of the score. fANOVA counts what a setting explains alone; permutation what is lost when "
            f"its values are shuffled; Shapley divides interactions fairly. {found.surrogate.trust}"
        )
        + _plots([grouped_bars("importance", names, measures)])
        + table(["setting", "fANOVA", "permutation", "Shapley", "mean"], rows)
    )


def _regression(found: Understanding) -> str:
    if not found.regressions:
        return ""
    best = found.regressions[0]
    rows = [
        [term.name, f"{term.effect:+.4g}", f"{term.low:+.4g} to {term.high:+.4g}", f"{term.p_value:.2g}"]
        for term in best.terms
    ]
    models = [
        [fit.form, fit.n, f"{fit.r2:.1%}", f"{fit.adjusted_r2:.1%}", f"{fit.aicc:.1f}"] for fit in found.regressions
    ]
    header = ["term", "effect over the whole range", "95 % interval", "p (Holm)"]
    folded = rows[SHOWN:]
    return (
        _paragraph(
            "Least squares with robust errors; an effect is the change of the score from one end of a range to the other, all "
            "else in the middle. Terms with x are interactions. The model with the least AICc comes first."
        )
        + table(header, rows[:SHOWN])
        + (f"<details><summary>{len(folded)} more</summary>{table(header, folded)}</details>" if folded else "")
        + _paragraph(_optimum(best))
        + table(["model", "trials", "R²", "adjusted R²", "AICc"], models)
        + _left_out(found)
    )


def _optimum(fit: Fit) -> str:
    where = ", ".join(f"{key} = {_value(value)}" for key, value in fit.optimum.items())
    return f"It is best at {where}: {fit.predicted:.4g} ({fit.low:.4g} to {fit.high:.4g})."


def _left_out(found: Understanding) -> str:
    parts = []
    if found.sample.left_out:
        parts.append(f"{found.sample.left_out} trials that were stopped early are left out here.")
    if found.sample.fenced:
        parts.append(f"{found.sample.fenced} trials far worse than all others count as bad, not as far as they are.")
    return _paragraph(" ".join(parts)) if parts else ""


def _sensitivity(found: Understanding) -> str:
    if found.surrogate is None or found.whole is None or found.near_best is None:
        return ""
    near = f"within {NEAR:.0%} of each range around the best trial (choices free)"
    return (
        _paragraph(
            "On the model of the study. Sobol indices are shares of the variance: first order alone, total with all "
            f"interactions. {found.surrogate.trust}"
        )
        + _plots(
            [
                _sobol(found, found.whole, "over the whole space"),
                _sobol(found, found.near_best, "around the best trial"),
            ]
        )
        + "<h3>Elementary effects (Morris)</h3>"
        + table(["setting", "over the whole space", "", near, ""], _effects(found, found.whole, found.near_best))
        + _interactions(found, found.whole)
    )


def _sobol(found: Understanding, one: Sensitivity, where: str) -> str:
    shares = {"total": one.indices.total.tolist(), "first order": one.indices.first.tolist()}
    errors = {"total": one.indices.total_error.tolist(), "first order": one.indices.first_error.tolist()}
    return grouped_bars(f"Sobol indices {where}", found.sample.keys, shares, errors)


def _effects(found: Understanding, whole: Sensitivity, near: Sensitivity) -> Sequence[Sequence[str]]:
    order = sorted(range(len(found.sample.keys)), key=lambda at: -whole.effects.strength[at])
    return [
        [
            found.sample.keys[at],
            *(
                text
                for one in (whole, near)
                for text in (
                    f"{one.effects.strength[at]:.3g}",
                    f"mean {one.effects.mean[at]:+.3g}, spread {one.effects.spread[at]:.3g}",
                )
            ),
        ]
        for at in order
    ]


def _interactions(found: Understanding, one: Sensitivity) -> str:
    keys, pairs = found.sample.keys, one.indices.pairs
    rows = [
        (float(pairs[first, second]), f"{keys[first]} x {keys[second]}")
        for first in range(len(keys))
        for second in range(first + 1, len(keys))
        if math.isfinite(pairs[first, second]) and pairs[first, second] > 0.01
    ]
    listed = [[name, f"{share:.1%}"] for share, name in sorted(rows, reverse=True)[:SHOWN]]
    return "<h3>Interactions</h3>" + table(["settings", "share of variance"], listed) if listed else ""


def _around(found: Understanding) -> str:
    if not found.sweeps:
        return ""
    metric = found.study.objective.name
    rows = [
        [
            f"{one.reach:.0%}",
            f"{one.loss:.4g}",
            ", ".join(f"{key} = {_value(value)}" for key, value in _place(found, one.place)),
        ]
        for one in found.worst
    ]
    slopes = [
        [one.setting, "-" if math.isnan(one.slope) else f"{one.slope:+.3g}", f"{one.loss:.3g}"]
        for one in sorted(found.sweeps, key=lambda one: -one.loss)
    ]
    return (
        _plots(sweep_plots(found.sweeps, found.sample.settings, metric))
        + table(["setting", f"slope of {metric} there, for a whole range", "worst against best on its sweep"], slopes)
        + "<h3>Worst case</h3>"
        + table(["settings off by up to", f"{metric} lost at worst", "where"], rows)
    )


def _place(found: Understanding, place: Any) -> Iterable[tuple[str, Any]]:
    return found.sample.settings.values(place).items()


# -- costs and several objectives -----------------------------------------------------------------


def _objectives(found: Understanding) -> str:
    if found.front is None:
        return ""
    study, front = found.study, found.front
    names = [one.name for one in study.objectives]
    rows = [
        [trial.name, *(_number(trial.value(name)) for name in names), "knee" if trial.name == front.knee else ""]
        for trial in study.ranked
        if trial.name in front.names
    ]
    told = f"{len(rows)} of {len(study.scored)} trials are beaten by no other in all of {', '.join(names)}."
    knee = (
        f" At the knee, {front.knee}, any further gain in one costs most in another."
        if front.knee
        else " There is no knee: no trial is better than what lies between the extremes."
    )
    return (
        _paragraph(told + knee)
        + _plots([front_plot(study, front.names, front.knee)])
        + table(["trial", *names, ""], rows)
    )


def _budgets(found: Understanding) -> str:
    pictures = _plots([budget_plot(found.study, name, label) for name, label in BUDGETS.items()])
    rows = [[BUDGETS.get(name, name), f"{value:+.2f}"] for name, value in found.budgets.items()]
    if not pictures and not rows:
        return ""
    told = "Spearman's rank correlation between what a trial cost and how good it is: near 0, more budget did not help."
    return pictures + (_paragraph(told) + table(["cost", "correlation with quality"], rows) if rows else "")
