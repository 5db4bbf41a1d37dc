"""Near-duplicate removal: `python -m tests.benchmarks.bench_near_duplicates [--rows 10000 100000 1000000] [--json FILE]`.

Claims, on generated rows of about ten words, a fifth of which are other rows with a word changed, on two cores:

- the stage is linear in rows: ten times the rows take at most twelve times as long, from the second size on;
- 1,000,000 rows take less than 10 minutes, from JSONL to Parquet;
- no process of the pipeline uses more than 1.5 GB.

Each size runs in a process of its own. Time is that of `stage_rows`: reading, the stage, writing. Memory is the largest
unshared memory (USS) of the driver, and of the largest of Ray's workers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.claims import Claim, judge, report

CORES = 2
WORDS = 20_000
SHARE_REPEATED = 0.2


def write_rows(path: Path, count: int) -> int:
    """Rows of 8 to 12 words; of some, one word is another than in an earlier row. Returns how many of those there are."""
    draw = random.Random(count)
    words = ["".join(draw.choices("abcdefghijklmnoprstuvw", k=draw.randint(3, 9))) for _ in range(WORDS)]
    recent: list[list[str]] = []
    repeated = 0
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            if recent and draw.random() < SHARE_REPEATED:
                row = draw.choice(recent).copy()
                row[-1] = draw.choice(words)
                repeated += 1
            else:
                row = draw.choices(words, k=draw.randint(8, 12))
                recent = [*recent[-999:], row]
            file.write(json.dumps({"text": " ".join(row)}) + "\n")
    return repeated


class PeakMemory(threading.Thread):
    """Looks at the memory of this process and of Ray's workers, twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver, self.worker = 0, 0
        self.done = threading.Event()

    def run(self) -> None:
        import psutil

        ours = psutil.Process()
        while not self.done.wait(0.5):
            self.driver = max(self.driver, ours.memory_full_info().uss)
            for child in ours.children(recursive=True):
                try:
                    if "ray::" in " ".join(child.cmdline()[:1]):
                        self.worker = max(self.worker, child.memory_full_info().uss)
                except psutil.Error:
                    continue  # it ended while it was looked at


def run_once(count: int) -> dict[str, Any]:
    """One size, in this process."""
    from cluster import session
    from cluster.config import RunConfig
    from cluster.storage import Storage
    from trainers.data.staging import stage_rows

    with tempfile.TemporaryDirectory() as folder, session.local_ray(num_cpus=CORES):
        path = Path(folder, "rows.jsonl")
        repeated = write_rows(path, count)
        stages = [{"kind": "near_duplicates", "threshold": 0.7}]
        config = RunConfig.model_validate(
            {"name": "bench", "model": {"kind": "scratch"}, "data": {"train": str(path), "stages": stages}}
        )
        memory = PeakMemory()
        memory.start()
        start = time.perf_counter()
        report = stage_rows(config, Storage.open(Path(folder, "staged"))).report
        seconds = time.perf_counter() - start
        memory.done.set()
        memory.join()
    return {
        "rows": count,
        "seconds": seconds,
        "rows_per_s": count / seconds,
        "driver_bytes": memory.driver,
        "worker_bytes": memory.worker,
        "made_near_duplicate": repeated,
        "rejected": report["stages"][-1]["rejected"],
    }


def claims(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each claim with its figure and whether it holds."""
    rows: list[Claim] = [
        (
            f"time of {larger['rows']:,} rows / of {smaller['rows']:,}",
            larger["seconds"] / smaller["seconds"],
            "<=",
            12.0,
        )
        for smaller, larger in itertools.pairwise(figures[1:])
    ]
    rows += [
        ("minutes of 1,000,000 rows", one["seconds"] / 60, "<=", 10.0) for one in figures if one["rows"] == 1_000_000
    ]
    rows.append(
        ("GB in one process", max(max(one["driver_bytes"], one["worker_bytes"]) for one in figures) / 1e9, "<=", 1.5)
    )
    return judge(rows)


def main() -> int:
    """Measure, print a table, write JSON; status 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--once", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print("RESULT " + json.dumps(run_once(arguments.once)))
        return 0
    figures = []
    for count in arguments.rows:
        command = [sys.executable, "-m", "tests.benchmarks.bench_near_duplicates", "--once", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not found:
            raise RuntimeError(f"{count} rows failed:\n{done.stderr[-4000:]}")
        figures.append(json.loads(found[-1].removeprefix("RESULT ")))
        print(f"{count:,} rows: {figures[-1]['seconds']:.1f} s", file=sys.stderr)
    print(f"\n{'rows':>12}{'seconds':>10}{'rows/s':>10}{'driver MB':>11}{'worker MB':>11}{'made':>10}{'rejected':>10}")
    for one in figures:
        print(
            f"{one['rows']:12,}{one['seconds']:10.1f}{one['rows_per_s']:10,.0f}{one['driver_bytes'] / 1e6:11,.0f}"
            f"{one['worker_bytes'] / 1e6:11,.0f}{one['made_near_duplicate']:10,}{one['rejected']:10,}"
        )
    return report(claims(figures), arguments.json, figures=figures)


if __name__ == "__main__":
    sys.exit(main())
