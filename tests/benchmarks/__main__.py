"""All measured claims: `make benchmark`, or `python -m tests.benchmarks [FOLDER]` to keep the raw figures as JSON."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    "bench_data",
    "bench_near_duplicates",
    "bench_training",
    "bench_serving",
    "bench_bootstrap",
    "bench_evaluation",
)


def main() -> int:
    """Run one benchmark after the other; status 1 if a claim does not hold."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmark-results")
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--json", str(folder / f"{name}.json")]
        failed += subprocess.run(command, check=False).returncode != 0
    print(f"\nraw figures: {folder.absolute()}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
