"""Bootstrap intervals of many rows: `python -m tests.benchmarks.bench_bootstrap [--rows 100000] [--samples 10000] [--json FILE]`.

Claims, on two cores: 10,000 samples of 100,000 rows take less than 10 s, and no more than 1.5 GB, for

- the mean of a number, and the difference of two such means on the same rows;
- macro-F1 over 77 labels, and the difference of two;
- the permutation test of two macro-F1.

Each runs in a process of its own, from the metric's sums to the BCa interval (or the p-value). Beside them the percentile
bootstrap of SciPy on the mean, 500 samples of it, in seconds per 10,000. Core seconds tell what a busy machine hides.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.claims import Claim, judge, report

LABELS = 77
SECONDS, GIGABYTES = 10.0, 1.5
CORES = 2
PEER_SAMPLES = 500


def numbers(seed: int, rows: int) -> Any:
    """The mean of a number."""
    from trainers.evaluation.statistic import Sums

    return Sums.mean(np.random.default_rng(seed).exponential(size=rows))


def macro_f1(seed: int, rows: int) -> Any:
    """Macro-F1 of a model that is right on nine rows of ten; the labels are the same for every seed."""
    from cluster.config import MetricSpec
    from trainers.evaluation.metrics import measure
    from trainers.evaluation.result import Prediction
    from trainers.evaluation.rows import Rows

    names = [f"label {index}" for index in range(LABELS)]
    true, generator = np.random.default_rng(0).integers(0, LABELS, rows), np.random.default_rng(seed)
    given = np.where(generator.random(rows) < 0.9, true, generator.integers(0, LABELS, rows))
    predictions = [Prediction("", names[want], names[got]) for want, got in zip(true, given, strict=True)]
    return measure(Rows(predictions, names), [MetricSpec(name="macro_f1")])["macro_f1"].statistic


METRICS = {"mean": numbers, "macro-F1": macro_f1}
JOBS = ("mean", "difference of means", "macro-F1", "difference of macro-F1", "permutation of macro-F1")


def run_once(job: str, rows: int, samples: int) -> dict[str, Any]:
    """One job, in this process."""
    from trainers.evaluation.statistics import bootstrap, difference_interval, permutation

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    kind = METRICS["macro-F1" if "macro" in job else "mean"]
    pair = [kind(seed, rows) for seed in (1, 2)]
    bootstrap(pair[0].take(np.arange(100)), num_resamples=10)  # imports
    began, worked = time.perf_counter(), time.process_time()
    if job.startswith("permutation"):
        found: Any = permutation(*pair, num_resamples=samples)
    elif job.startswith("difference"):
        found = difference_interval(*pair, num_resamples=samples)
    else:
        found = bootstrap(pair[0], num_resamples=samples)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"job": job, "seconds": seconds, "core_seconds": worked, "peak_bytes": peak, "found": str(found)}


def peer(rows: int, samples: int) -> dict[str, Any]:
    """SciPy's percentile bootstrap of the mean, in batches that fit into memory (its BCa would jackknife row by row)."""
    from scipy import stats

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    values = np.random.default_rng(1).exponential(size=rows)
    began, worked = time.perf_counter(), time.process_time()
    stats.bootstrap((values,), np.mean, n_resamples=PEER_SAMPLES, batch=50, method="percentile")
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    times = samples / PEER_SAMPLES
    return {
        "job": "scipy, percentiles of the mean",
        "seconds": seconds * times,
        "core_seconds": worked * times,
        "peak_bytes": 0,
    }


def claims(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each claim with its figure and whether it holds."""
    rows: list[Claim] = [(f"seconds: {one['job']}", one["seconds"], "<=", SECONDS) for one in figures]
    rows.append(("GB in one process", max(one["peak_bytes"] for one in figures) / 1e9, "<=", GIGABYTES))
    return judge(rows)


def main() -> int:
    """Measure, print a table, write JSON; status 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--once", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        job = arguments.once
        found = (
            peer(arguments.rows, arguments.samples)
            if job == "peer"
            else run_once(job, arguments.rows, arguments.samples)
        )
        print("RESULT " + json.dumps(found))
        return 0
    sizes = ["--rows", str(arguments.rows), "--samples", str(arguments.samples)]
    figures = []
    for job in (*JOBS, "peer"):
        command = [sys.executable, "-m", "tests.benchmarks.bench_bootstrap", *sizes, "--once", job]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not results:
            raise RuntimeError(f"{job} failed:\n{done.stderr[-4000:]}")
        figures.append(json.loads(results[-1].removeprefix("RESULT ")))
        one = figures[-1]
        print(
            f"{one['job']:32}{one['seconds']:8.2f} s{one['core_seconds']:8.2f} core-s{one['peak_bytes'] / 1e6:8,.0f} MB"
        )
    return report(claims(figures[:-1]), arguments.json, figures=figures)


if __name__ == "__main__":
    sys.exit(main())
