"""Training speed beside its peers, in one run: `python -m tests.benchmarks.bench_training [--rounds 3] [--json FILE]`.

Claims, on short rows (alpaca instructions):

- one worker gives at least 0.95 of a bare PyTorch loop's useful tokens/s on the same packed sequences;
- and at least 2.5 times those of TRL's `SFTTrainer` with its defaults;
- waiting for data is below 2 % of the time;
- with two workers, a step takes at most 2.5 % longer than under plain `torch.distributed`.

The contenders take turns, each in a process of its own; a figure is the median of its rounds, and a claim is judged on
the median of the rounds' ratios, so that whatever else the machine does meets both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.claims import Claim, judge, report
from tests.benchmarks.training_contenders import CONTENDERS

Figures = dict[str, list[dict[str, Any]]]


def run_once(name: str) -> dict[str, Any]:
    """One contender in a fresh process."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "DS_ACCELERATOR": "cpu",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [sys.executable, "-m", "tests.benchmarks.training_contenders", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not found:
        raise RuntimeError(f"contender {name!r} failed:\n{done.stderr[-4000:]}")
    return json.loads(found[-1].removeprefix("RESULT "))


def measure(rounds: int) -> Figures:
    """All contenders, every round in the opposite order of the one before."""
    figures: Figures = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        for name in list(CONTENDERS)[:: 1 if turn % 2 == 0 else -1]:
            figures[name].append(run_once(name))
            print(f"round {turn + 1}  {name:38} {figures[name][-1]['tokens_per_s']:10,.0f} tokens/s", file=sys.stderr)
    return figures


def ratio(figures: Figures, ours: str, peer: str, key: str = "tokens_per_s") -> float:
    """Median over the rounds of ours / peer."""
    return statistics.median(a[key] / b[key] for a, b in zip(figures[ours], figures[peer], strict=True))


def claims(figures: Figures) -> list[dict[str, Any]]:
    """Each claim with its figure and whether it holds."""
    two, plain = "mobula, 2 workers", "plain torch.distributed, 2 processes"
    rows: list[Claim] = [
        ("useful tokens/s / bare PyTorch loop", ratio(figures, "mobula", "bare loop"), ">=", 0.95),
        ("useful tokens/s / TRL SFTTrainer defaults", ratio(figures, "mobula", "trl"), ">=", 2.5),
        ("share of time waiting for data", statistics.median(r["data_wait"] for r in figures["mobula"]), "<=", 0.02),
        ("step time / plain torch.distributed", ratio(figures, two, plain, "step_s"), "<=", 1.025),
    ]
    return judge(rows)


def main() -> int:
    """Measure, print a table, write JSON; status 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    figures = measure(arguments.rounds)
    print(f"\n{'contender':40}{'tokens/s (median)':>20}{'min':>10}{'max':>10}")
    for name, found in figures.items():
        rates = [one["tokens_per_s"] for one in found]
        print(f"{name:40}{statistics.median(rates):20,.0f}{min(rates):10,.0f}{max(rates):10,.0f}")
    return report(claims(figures), arguments.json, figures=figures)


if __name__ == "__main__":
    sys.exit(main())
