"""The pictures of a study's report: SVG that needs nothing from outside and reads by day and by night."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster.config.tune import Choice
from trainers.report import EVAL_COLOUR, TEXT_COLOUR, TRAIN_COLOUR, dress, figure
from tuning.report.facts import StudyFacts, TrialFacts
from tuning.report.history import best_so_far
from tuning.report.sensitivity import Sweep
from tuning.report.settings import Settings

MOST_LINES = 300
"""More trials than this make a picture of lines too large to open."""
WIDTH, HEIGHT, MARGIN = 960, 300, 60


def history_plot(study: StudyFacts) -> str:
    """Score of each trial in the order in which they ended, and the best so far."""
    scores = study.scores()

    def draw(axes: Any) -> None:
        number = np.arange(1, len(scores) + 1)
        stopped = np.array([trial.outcome.stopped for trial in study.scored], bool)
        axes.scatter(number[~stopped], scores[~stopped], s=14, color=TRAIN_COLOUR, alpha=0.7, label="trial")
        if stopped.any():
            axes.scatter(number[stopped], scores[stopped], s=14, marker="x", color=TEXT_COLOUR, label="stopped early")
        best = best_so_far(scores, study.objective.maximises)
        axes.step(number, best, where="post", color=EVAL_COLOUR, linewidth=1.6, label="best so far")
        dress(axes, f"{study.objective.name} by trial")
        axes.legend(frameon=False, labelcolor=TEXT_COLOUR)

    return figure("history", draw)


def curves_plot(study: StudyFacts) -> str:
    """The score of every trial at each of its evaluations, the best trial in front; empty where no rows are kept."""
    name = study.objective.name
    curves = [(trial, trial.evaluations(name)) for trial in study.ranked[:MOST_LINES]]
    curves = [(trial, curve) for trial, curve in curves if len(curve) > 1]
    if not curves:
        return ""

    def draw(axes: Any) -> None:
        for trial, curve in reversed(curves):
            is_best = trial.name == study.best.name
            axes.plot(
                [step for step, _ in curve],
                [score for _, score in curve],
                color=EVAL_COLOUR if is_best else TRAIN_COLOUR,
                alpha=1.0 if is_best else 0.35,
                linewidth=2.0 if is_best else 0.9,
                marker="x" if trial.outcome.stopped else "",
                markevery=[len(curve) - 1],
                markersize=4,
            )
        dress(axes, f"{name} of every trial; the best in front, x: stopped early")
        axes.set_xlabel("step", color=TEXT_COLOUR)

    return figure("learning curves", draw)


def slice_plots(study: StudyFacts) -> list[str]:
    """For each setting: score against its value, over all other settings."""
    return [_slice(study, key) for key in study.space]


def _slice(study: StudyFacts, key: str) -> str:
    domain, scores = study.space[key], study.scores()
    values = [trial.outcome.values.get(key) for trial in study.scored]
    best = study.best.name

    def draw(axes: Any) -> None:
        if isinstance(domain, Choice):
            known = study.settings.choices[key]
            at = np.array([known.index(value) if value in known else -1 for value in values], float)
            at += np.random.default_rng(0).uniform(-0.15, 0.15, len(at))  # so that equal scores do not hide each other
            axes.set_xticks(range(len(known)), [str(value)[:18] for value in known])
        else:
            at = np.array([math.nan if value is None else float(value) for value in values])
            if domain.log:
                axes.set_xscale("log")
        colours = [EVAL_COLOUR if trial.name == best else TRAIN_COLOUR for trial in study.scored]
        axes.scatter(at, scores, s=16, c=colours, alpha=0.75)
        dress(axes, key)

    return figure(f"slice {key}", draw, height=2.2)


def budget_plot(study: StudyFacts, name: str, label: str) -> str:
    """Score against what trials cost; empty where that is not known or the same for all."""
    budgets, scores = study.scores(metric=name), study.scores()
    known = np.isfinite(budgets)
    if known.sum() < 2 or np.ptp(budgets[known]) == 0:
        return ""

    def draw(axes: Any) -> None:
        axes.scatter(budgets[known], scores[known], s=16, color=TRAIN_COLOUR, alpha=0.75)
        order = np.argsort(budgets[known], kind="stable")
        best = best_so_far(scores[known][order], study.objective.maximises)
        axes.step(budgets[known][order], best, where="post", color=EVAL_COLOUR, linewidth=1.4, label="best for so much")
        dress(axes, f"{study.objective.name} against {label}")
        axes.set_xlabel(label, color=TEXT_COLOUR)
        axes.legend(frameon=False, labelcolor=TEXT_COLOUR)

    return figure(f"budget {name}", draw)


def grouped_bars(
    title: str,
    names: Sequence[str],
    heights: Mapping[str, Sequence[float]],
    errors: Mapping[str, Sequence[float]] | None = None,
) -> str:
    """A few bars for each name, sideways, with a legend."""
    colours = (TRAIN_COLOUR, EVAL_COLOUR, TEXT_COLOUR)

    def draw(axes: Any) -> None:
        thick = 0.8 / len(heights)
        for number, (label, values) in enumerate(heights.items()):
            at = np.arange(len(names)) + (number - (len(heights) - 1) / 2) * thick
            spread = (errors or {}).get(label)
            axes.barh(at, values, thick * 0.92, color=colours[number % 3], label=label, xerr=spread, ecolor=TEXT_COLOUR)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        dress(axes, title)
        axes.legend(frameon=False, labelcolor=TEXT_COLOUR)

    return figure(title, draw, height=1.2 + 0.42 * len(names))


def sweep_plots(sweeps: Sequence[Sweep], settings: Settings, metric: str) -> list[str]:
    """Predicted score along each setting, all others at the best trial's values."""
    return [_sweep(one, settings, metric) for one in sweeps]


def _sweep(sweep: Sweep, settings: Settings, metric: str) -> str:
    domain = settings.space[sweep.setting]
    values = [settings.value(sweep.setting, float(unit)) for unit in sweep.units]

    def draw(axes: Any) -> None:
        if isinstance(domain, Choice):
            axes.bar([str(value)[:18] for value in values], sweep.scores, color=TRAIN_COLOUR, width=0.6)
            low, high = float(sweep.scores.min()), float(sweep.scores.max())
            axes.set_ylim(low - 0.3 * (high - low + 1e-9), high + 0.1 * (high - low + 1e-9))
        else:
            axes.plot([float(value) for value in values], sweep.scores, color=TRAIN_COLOUR, linewidth=1.6)
            if domain.log:
                axes.set_xscale("log")
        dress(axes, f"predicted {metric} along {sweep.setting}")

    return figure(f"sweep {sweep.setting}", draw, height=2.2)


def front_plot(study: StudyFacts, names: Sequence[str], knee: str | None) -> str:
    """The first two objectives of every trial; those that nothing beats, and the knee."""
    first, second = study.objectives[:2]
    trials = study.ranked
    across, up = study.scores(trials, second.name), study.scores(trials, first.name)
    on_it = np.array([trial.name in names for trial in trials], bool)
    at = next((number for number, trial in enumerate(trials) if trial.name == knee), None)

    def draw(axes: Any) -> None:
        axes.scatter(across[~on_it], up[~on_it], s=14, color=TRAIN_COLOUR, alpha=0.5, label="trial")
        axes.scatter(across[on_it], up[on_it], s=22, color=EVAL_COLOUR, label="nothing beats it")
        if at is not None:
            axes.scatter(
                across[at], up[at], s=90, facecolors="none", edgecolors=EVAL_COLOUR, linewidths=1.6, label="knee"
            )
        dress(axes, f"{first.name} against {second.name}")
        axes.set_xlabel(second.name, color=TEXT_COLOUR)
        axes.legend(frameon=False, labelcolor=TEXT_COLOUR)

    return figure("pareto", draw)


# -- parallel coordinates -------------------------------------------------------------------------


def parallel_coordinates(study: StudyFacts) -> str:
    """One line for each trial across an axis for each setting and one for the score; a line says its trial when pointed at.

    Better trials are drawn in front and stronger, the best in its own colour.
    """
    settings, trials = study.settings, study.ranked[:MOST_LINES]
    if len(settings) < 2 or len(trials) < 2:
        return ""
    units = settings.units([trial.outcome.values for trial in trials])
    scores = study.scores(trials)
    width = float(np.ptp(scores)) or 1.0
    heights = np.column_stack([units, (scores - scores.min()) / width])
    spots = np.linspace(MARGIN, WIDTH - MARGIN, heights.shape[1])
    lines = [
        _line(trial, place, spots, rank / max(len(trials) - 1, 1), study)
        for rank, (trial, place) in enumerate(zip(trials, heights, strict=True))
    ]
    axes = [_axis(settings, key, spot) for key, spot in zip(settings.keys, spots, strict=False)]
    ends = f"{scores.max():.4g}", f"{scores.min():.4g}"
    axes.append(_drawn_axis(study.objective.name, spots[-1], *ends))
    return (
        f'<figure role="img" aria-label="parallel coordinates"><svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'xmlns="http://www.w3.org/2000/svg" font-size="11" font-family="sans-serif">{"".join(reversed(lines))}'
        f"{''.join(axes)}</svg></figure>"
    )


def _line(trial: TrialFacts, place: np.ndarray, spots: np.ndarray, rank: float, study: StudyFacts) -> str:
    points = " ".join(f"{x:.1f},{_down(y):.1f}" for x, y in zip(spots, place, strict=True))
    is_best = trial.name == study.best.name
    colour, opacity = (EVAL_COLOUR, 1.0) if is_best else (TRAIN_COLOUR, 0.12 + 0.6 * (1.0 - rank) ** 2)
    told = f"{trial.name}: {study.objective.name} {trial.value(study.objective.name):.4g}"
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{2.2 if is_best else 1.3}" '
        f'stroke-opacity="{opacity:.2f}"><title>{html.escape(told)}</title></polyline>'
    )


def _axis(settings: Settings, key: str, spot: float) -> str:
    domain = settings.space[key]
    if isinstance(domain, Choice):
        values = settings.choices[key]
        ticks = "".join(
            _text(spot + 4, _down((at + 0.5) / len(values)) + 4, str(value)[:14], "start")
            for at, value in enumerate(values)
        )
        return _drawn_axis(key, spot, "", "") + ticks
    return _drawn_axis(key, spot, f"{domain.high:.3g}", f"{domain.low:.3g}")


def _drawn_axis(name: str, spot: float, top: str, bottom: str) -> str:
    short = name.rpartition(".")[2]
    return (
        f'<line x1="{spot:.1f}" x2="{spot:.1f}" y1="{_down(1):.1f}" y2="{_down(0):.1f}" stroke="{TEXT_COLOUR}"/>'
        + _text(spot, HEIGHT - 8, short, "middle", title=name)
        + _text(spot, _down(1) - 6, top, "middle")
        + _text(spot, _down(0) + 14, bottom, "middle")
    )


def _text(x: float, y: float, text: str, anchor: str, title: str = "") -> str:
    told = f"<title>{html.escape(title)}</title>" if title else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{TEXT_COLOUR}">{told}{html.escape(text)}</text>'
        if text
        else ""
    )


def _down(unit: float) -> float:
    """SVG counts from the top."""
    return 30 + (1.0 - unit) * (HEIGHT - 80)
