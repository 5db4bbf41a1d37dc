"""What was found of a model's confidence, as a part of a page: plots and tables that need nothing from outside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.report import EVAL_COLOUR, TEXT_COLOUR, TRAIN_COLOUR, bars, dress, figure, plot, table

Values = Mapping[str, Any]
NAMES = {"as_it_is": "as it is", "calibrated": "calibrated"}
FIGURES = {
    "ece": "calibration error (ECE)",
    "ece_equal_mass": "the same, bins of equal mass",
    "worst_bin": "worst bin",
    "brier": "Brier score",
    "nll": "loss in nats",
}
_SHARES = ("ece", "ece_equal_mass", "worst_bin")


def render(sections: Values) -> str:
    """The sections `calibration`, `selective`, `conformal` and `ood` as HTML; nothing where there are none."""
    parts = [
        _calibration(sections.get("calibration")),
        _selective(sections.get("selective")),
        _conformal(sections.get("conformal")),
        _strange(sections.get("ood")),
    ]
    return "".join(parts)


# -- calibration ----------------------------------------------------------------------------------


def _calibration(found: Values | None) -> str:
    if not found:
        return ""
    states = {words: found[key] for key, words in NAMES.items() if key in found}
    said = [str(found["words"]), *([f"Not calibrated: {found['refused']}."] if found["refused"] else [])]
    if found["left_out"]:
        said.append(f"{found['left_out']} rows were left out, as the calibrator was fitted on them.")
    drawn = [
        reliability("how often it is right", {words: state["bins"] for words, state in states.items()}),
        reliability(
            "the same, bins of equal mass", {words: state["bins_equal_mass"] for words, state in states.items()}
        ),
    ]
    return "".join(
        [
            *(f"<p>{html.escape(one)}</p>" for one in said),
            _plots(drawn),
            _figures(states),
            _calibrator(found["calibrator"]),
            _classes(states),
        ]
    )


def reliability(title: str, states: Mapping[str, Sequence[Values]]) -> str:
    """How often a model is right, with intervals, over how sure it is; on the dashed line the two are the same."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=TEXT_COLOUR, linewidth=1, linestyle="--")
        for (words, bins), colour in zip(states.items(), (TRAIN_COLOUR, EVAL_COLOUR), strict=False):
            for one in bins:
                axes.plot([one["confidence"]] * 2, one["interval"], color=colour, linewidth=1, alpha=0.6)
            points = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
            axes.plot(*points, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=words)
        dress(axes, title)
        axes.set_xlabel("confidence", color=TEXT_COLOUR)
        axes.set_ylabel("share right", color=TEXT_COLOUR)
        axes.legend(frameon=False, labelcolor=TEXT_COLOUR)

    return figure(title, draw)


def _figures(states: Mapping[str, Values]) -> str:
    rows = [
        [words, *(_with_interval(name, state["figures"].get(name)) for state in states.values())]
        for name, words in FIGURES.items()
    ]
    chance = [f"{state['if_calibrated']['mean']:.1%}" for state in states.values()]
    rows.insert(1, ["calibration error that chance alone shows", *chance])
    rows.append(["mean confidence", *(f"{state['mean_confidence']:.1%}" for state in states.values())])
    return table(["", *states], rows)


def _with_interval(name: str, found: Values | None) -> str:
    if not found:
        return "-"
    value, low, high = (
        f"{found[end]:.1%}" if name in _SHARES else f"{found[end]:.4g}" for end in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})"


def _calibrator(found: Values | None) -> str:
    if not found:
        return ""
    where = ", ".join(found["fitted_on"]["sources"])
    losses = sorted(found["cross_validated_nll"].items(), key=lambda entry: entry[1])
    tried = table(["calibrator", "loss on rows left out"], [[kind, f"{loss:.4f}"] for kind, loss in losses])
    said = f"{found['kind']}, fitted on {found['n']:,} rows{f' of {where}' if where else ''}"
    return f"<h3>Calibrator: {html.escape(said)}</h3>{tried}"


def _classes(states: Mapping[str, Values]) -> str:
    last = list(states.values())[-1]
    if "worst_classes" not in last:
        return ""
    rows = [[one["label"], f"{one['ece']:.2%}", f"{one['too_sure']:+.2%}"] for one in last["worst_classes"]]
    listed = table(["class", "calibration error", "expected more often than it is there"], rows)
    return _details(f"Classes furthest off (mean over classes {last['classwise_ece']:.2%})", listed)


# -- answering where it is sure, sets of labels, strange rows -------------------------------------


def _selective(found: Values | None) -> str:
    if not found:
        return ""
    curve = [(float(coverage), float(risk)) for coverage, risk in found["curve"]]
    at_coverage = table(
        ["share answered", "rows", "accuracy", "interval", "confidence at least"],
        [
            [
                f"{one['coverage']:.0%}",
                f"{one['n']:,}",
                f"{one['accuracy']:.1%}",
                " to ".join(f"{end:.1%}" for end in one["interval"]),
                f"{one['threshold']:.3f}",
            ]
            for one in found["at_coverage"]
        ],
    )
    reached = "".join(
        f"<p>{one['accuracy']:.0%} right is reached on {one['coverage']:.0%} of these rows, with confidence at least "
        f"{one['threshold']:.3f}.</p>"
        for one in found["at_accuracy"]
    )
    areas = [[one["confidence"], f"{one['aurc']:.4f}"] for one in found["sources"]]
    return (
        "<h3>Answering only where it is sure</h3>"
        + _plots([plot("share wrong, the surest rows first", {"": curve}, across="share answered", from_zero=True)])
        + at_coverage
        + reached
        + _details(
            "Which measure of confidence orders rows best (area under the curve)", table(["measure", "area"], areas)
        )
    )


def _conformal(found: Values | None) -> str:
    if not found:
        return ""
    low, high = found["interval"]
    said = (
        f"Sets of labels ({html.escape(found['kind'])}) that hold the right one in at least {found['promised']:.0%} of rows: here in "
        f"{found['coverage']:.1%} ({low:.1%} to {high:.1%}). They hold {found['mean_size']:.2f} labels on average; "
        f"{found['single']:.0%} hold just one."
    )
    sizes = sorted(((int(size), count) for size, count in found["sizes"].items()))
    drawn = bars("labels in the set", {str(size): count for size, count in sizes})
    rows = [[one["label"], one["n"], f"{one['coverage']:.0%}"] for one in found["classes"][:20]]
    missed = _details(
        "Classes that sets miss most: the promise is for all rows together", table(["class", "rows", "held"], rows)
    )
    return f"<h3>Sets of labels</h3><p>{said}</p>{_plots([drawn])}{missed}"


def _strange(found: Values | None) -> str:
    if not found:
        return ""
    rows = [
        [name.replace("_", " "), f"{one['auroc']:.3f}", " to ".join(f"{end:.3f}" for end in one["interval"]), f"{one['false_alarms']:.1%}"]
        for name, one in found["scores"].items()
    ]  # fmt: skip
    said = f"{found['rows']:,} of these rows beside {found['rows_from_elsewhere']:,} from elsewhere."
    head = ["score", "AUROC", "interval", "false alarms where 95 % are caught"]
    return f"<h3>Strange rows</h3><p>{said}</p>{table(head, rows)}"


def _plots(drawn: Sequence[str]) -> str:
    return f'<div class="plots">{"".join(drawn)}</div>'


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{body}</details>"
