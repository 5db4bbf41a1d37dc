"""Best-fit packing: rows into sequences of at most `max_length` tokens, no row split."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def pack(lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Groups of row numbers whose lengths add up to at most `max_length`; each row is in exactly one.

    Best-fit decreasing: the longest row first, each into the fullest sequence that still has room for it. Within a
    sequence, and by their first row, sequences keep the order of the rows.
    """
    spaces: list[int] = []  # room left in the open sequences, ascending
    open_at: dict[int, list[list[int]]] = {}
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        assert lengths[row] <= max_length, f"row of {lengths[row]} tokens cannot be packed into {max_length}"
        at = bisect.bisect_left(spaces, lengths[row])
        if at == len(spaces):
            groups.append([])
            group, space = groups[-1], max_length
        else:
            space = spaces.pop(at)
            group = open_at[space].pop()
        group.append(row)
        left = space - lengths[row]
        if left:
            bisect.insort(spaces, left)
            open_at.setdefault(left, []).append(group)
    return sorted(sorted(group) for group in groups)
