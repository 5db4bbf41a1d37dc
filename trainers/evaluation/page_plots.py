"""Plots of evaluations and comparisons that the run's report does not have: SVG and HTML that need nothing from outside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.report import EVAL_COLOUR, TEXT_COLOUR, TRAIN_COLOUR, dress, figure

Span = tuple[float, float, float]
"""Low end, value, high end."""
ROW_INCHES, EDGE_INCHES = 0.24, 0.8
LONGEST_NAME = 32
SHADED = 0.75
"""Strength of the darkest cell of a heat table: text on it stays readable by day and by night."""


def forest(title: str, spans: Mapping[str, Span], *, zero: bool = True, strong: Sequence[str] = ()) -> str:
    """A point with its interval for each name, the first one on top.

    Args:
        zero: draw a line at no difference.
        strong: names to show in the colour of what stands out.
    """

    from_below = list(spans.items())[::-1]

    def draw(axes: Any) -> None:
        for at, (name, (low, value, high)) in enumerate(from_below):
            colour = EVAL_COLOUR if name in strong else TRAIN_COLOUR
            axes.plot([low, high], [at, at], color=colour, linewidth=1.6)
            axes.plot([value], [at], color=colour, marker="o", markersize=4.5)
        axes.set_yticks(range(len(spans)), [shortened(name) for name, _ in from_below])
        dress(axes, "")
        axes.set_ylim(-0.6, len(spans) - 0.4)
        axes.figure.suptitle(
            title, x=0.01, ha="left", color=TEXT_COLOUR, fontsize=10
        )  # names may be longer than the plot
        if zero:
            axes.axvline(0, color=TEXT_COLOUR, linewidth=1, linestyle="--")

    return figure(title, draw, EDGE_INCHES + ROW_INCHES * len(spans)) if spans else ""


def heat_table(corner: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Counts as a table whose cells are the darker the more of their row they hold; the diagonal is what is right."""
    head = "".join(f"<th>{html.escape(shortened(name, 16))}</th>" for name in names)
    body = "".join(
        f"<tr><th>{html.escape(shortened(name, 24))}</th>{''.join(_heat_cells(line, at))}</tr>"
        for at, (name, line) in enumerate(zip(names, counts, strict=True))
    )
    top = f"<thead><tr><th>{html.escape(corner)}</th>{head}</tr></thead>"
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'


def _heat_cells(line: Sequence[int], diagonal: int) -> list[str]:
    total = max(sum(line), 1)
    colours = ["var(--accent)" if at == diagonal else EVAL_COLOUR for at in range(len(line))]
    return [
        f'<td class="number" style="background: color-mix(in srgb, {colour} {100 * SHADED * count / total:.0f}%, '
        f'transparent)">{count or ""}</td>'
        for count, colour in zip(line, colours, strict=True)
    ]


def shortened(text: str, most: int = LONGEST_NAME) -> str:
    """Text that fits beside a plot."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
