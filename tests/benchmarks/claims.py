"""What a benchmark claims: figures against bounds, as a table, as JSON and as an exit status."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

Claim = tuple[str, float, Literal[">=", "<="], float]
"""Name, figure, and the bound that it has to keep."""


def judge(rows: Sequence[Claim]) -> list[dict[str, Any]]:
    """Each claim with its figure and whether it holds."""
    return [
        {
            "claim": name,
            "figure": figure,
            "wanted": f"{sign} {bound:g}",
            "holds": figure >= bound if sign == ">=" else figure <= bound,
        }
        for name, figure, sign, bound in rows
    ]


def report(judged: Sequence[dict[str, Any]], path: Path | None, **found: Any) -> int:
    """Print the claims and write them with all else that was found as JSON; status 1 if one does not hold."""
    print()
    for claim in judged:
        print(
            f"{'holds ' if claim['holds'] else 'MISSED'}  {claim['claim']:52}{claim['figure']:8.3f}  {claim['wanted']}"
        )
    if path is not None:
        machine = {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
        path.write_text(json.dumps({"machine": machine, **found, "claims": judged}, indent=2))
    return 0 if all(claim["holds"] for claim in judged) else 1
