"""Ranked lists: how early and how completely the right things are among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster.exceptions import ConfigError
from trainers.evaluation.metrics.base import LeftOut
from trainers.evaluation.metrics.common import column, parse_json
from trainers.evaluation.rows import Rows

DEFAULT_K = (1, 5, 10)


def retrieval(
    rows: Rows, k: Sequence[int] | int = DEFAULT_K, ranked: str | None = None, relevant: str | None = None
) -> dict[str, np.ndarray] | LeftOut | None:
    """`mrr`, `map`, and for each k `ndcg@k`, `recall@k`, `precision@k` and `hit_rate@k`; torchmetrics gives the same.

    Rows for which nothing is relevant do not count. What is ranked twice counts where it stands first. nDCG takes gains as
    they are (not as powers of two).

    Args:
        k: how many of the first places are looked at.
        ranked: column of the ranked list, best first. Default: the answer, as a JSON list.
        relevant: column of what is relevant: one name, a list of names, or a mapping of names to gains. Default: the
            reference, as such JSON or as one name.
    """
    depths = [k] if isinstance(k, int) else list(k)
    if not depths or min(depths) < 1:
        raise ConfigError(f"metric retrieval: found k={k}; expected numbers of places, from 1")
    lists = [parse_json(one) for one in rows.outputs] if ranked is None else column(rows, ranked)
    wanted = [_parsed(one) for one in rows.references] if relevant is None else column(rows, relevant)
    gains = [_gains(one) for one in wanted]
    is_asked = [rows.outputs[at] is not None or ranked is not None for at in range(len(rows))]
    found = [
        _of_list(_names(order), gain, depths) if gain and asked else None
        for order, gain, asked in zip(lists, gains, is_asked, strict=True)
    ]
    known = next((one for one in found if one), None)
    if known is None:
        return LeftOut("no row has both a ranked list and something relevant")
    return {name: np.array([np.nan if one is None else one[name] for one in found]) for name in known}


def _parsed(text: str | None) -> Any:
    value = parse_json(text)
    return value if isinstance(value, list | dict) else text


def _gains(value: Any) -> dict[str, float]:
    """What is relevant, and how much."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(name): float(gain) for name, gain in value.items() if float(gain) > 0}
    return {name: 1.0 for name in _names(value if isinstance(value, list | tuple) else [value])}


def _names(value: Any) -> list[str]:
    """Each name once; an answer that is no list names nothing."""
    if not isinstance(value, list | tuple):
        return []
    return list(dict.fromkeys(one if isinstance(one, str) else json.dumps(one) for one in value))


def _of_list(order: Sequence[str], gains: Mapping[str, float], depths: Sequence[int]) -> dict[str, float]:
    gained = np.array([gains.get(name, 0.0) for name in order])
    hits = gained > 0
    places = np.flatnonzero(hits) + 1
    found = {
        "mrr": float(1 / places[0]) if len(places) else 0.0,
        "map": float((np.arange(1, len(places) + 1) / places).sum() / len(gains)),
    }
    best = np.array(sorted(gains.values(), reverse=True))
    for depth in depths:
        within = int(hits[:depth].sum())
        found |= {
            f"ndcg@{depth}": _discounted(gained[:depth]) / _discounted(best[:depth]),
            f"recall@{depth}": within / len(gains),
            f"precision@{depth}": within / depth,
            f"hit_rate@{depth}": float(within > 0),
        }
    return found


def _discounted(gains: np.ndarray) -> float:
    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())
