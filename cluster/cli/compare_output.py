"""How `mobula compare` prints what it found."""

from typing import TYPE_CHECKING

import click

from cluster.cli.output import print_table

if TYPE_CHECKING:
    from trainers.evaluation.comparison import Comparison, Difference
    from trainers.evaluation.gate import Decision

MOST_SLICES = 12


def show(comparison: "Comparison | None", decision: "Decision | None") -> None:
    """Tables and sentences on stdout, notes on stderr."""
    if comparison is not None:
        for first, second in comparison.pairs:
            _show_pair(comparison, first, second)
        for note in comparison.notes:
            click.echo(f"Note: {note}", err=True)
        for metric, reason in comparison.left_out.items():
            click.echo(f"{metric} is not compared: {reason}", err=True)
    if decision is not None:
        click.echo()
        print_table(["clause", "verdict", "reason"], [[one.kind, one.verdict, one.reason] for one in decision.rulings])
        click.echo(f"\n{decision.sentence}")


def _show_pair(comparison: "Comparison", first: str, second: str) -> None:
    click.echo(click.style(f"{second} against {first}, {comparison.n:,} rows", bold=True))
    found = [one for one in comparison.differences if (one.first, one.second) == (first, second)]
    print_table(["metric", first, second, *_HEADER], [_row(one.metric, one) for one in found])
    slices = [one for one in comparison.slices if (one.first, one.second) == (first, second)]
    if slices:
        worst = sorted(slices, key=_gain)[:MOST_SLICES]
        click.echo(f"\n{comparison.headline} by slice{', the worst first' if len(slices) > len(worst) else ''}")
        rows = [[f"{one.column}={one.value}", one.n, *_row("", one)[1:]] for one in worst]
        print_table(["slice", "rows", first, second, *_HEADER], rows)
    costs = [one for one in comparison.costs if (one.first, one.second) == (first, second)]
    if costs:
        click.echo()
        rows = [[one.name, one.first_value, one.second_value, _ratio(one.ratio)] for one in costs]
        print_table(["cost", first, second, "ratio"], rows)
    for one in found:
        if one.metric == comparison.headline:
            click.echo(f"\n{one.sentence}")
            told = one.power_sentence or one.note
            click.echo(f"{told}\n" if told else "")


_HEADER = ("difference", "interval", "p, corrected", "verdict")


def _row(name: str, one: "Difference") -> list[str | float | None]:
    from trainers.evaluation.comparison import change, p_text

    difference = None if one.difference is None else change(one.difference, one.is_share)
    interval = " to ".join(change(bound, one.is_share) for bound in one.interval) if one.interval else None
    return [name, one.first_value, one.second_value, difference, interval, p_text(one.p_adjusted), one.verdict]


def _gain(one: "Difference") -> float:
    gain = one.difference or 0.0
    return -gain if one.higher_is_better is False else gain


def _ratio(ratio: float | None) -> str | None:
    return None if ratio is None else f"{ratio:.3g} times"
