"""Preparing data beside its peer: `python -m tests.benchmarks.bench_data [--rounds 3] [--rows 40000] [--json FILE]`.

Claims, on short chat rows (GSM8K's questions and answers; the support desk's messages where those are not there):

- tokenising and packing gives at least the rows/s per core of `datasets.map(batched=True, num_proc=2)` with TRL's packing;
- packed sequences are at least 98 % full;
- with ten times the rows the peak memory grows by at most 10 %, and no process holds more than 1.5 GB.

Contenders take turns, each in a process of its own, and count from the file on disk to packed sequences on disk, with
tokenizer and Ray ready. Memory is each process's own (unique set size): what several share is counted once, apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.claims import Claim, judge, report

CPUS = 2
MAX_LENGTH = 1024
GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k" / "train.jsonl"
GROWTH, LARGEST_GB, FILL = 1.10, 1.5, 0.98


def write_rows(folder: Path, count: int) -> Path:
    """Chat rows, all different: the data set again and again, each time with its number in the question."""
    if GSM8K.exists():
        source = [json.loads(line) for line in GSM8K.read_text().splitlines()]
        pairs = [(row["question"], row["answer"]) for row in source]
    else:
        from trainers.quickstart.support_desk import write_files

        lines = write_files(folder / "desk", train=4000, validation=1, test=1, unseen=1).train.read_text().splitlines()
        pairs = [tuple(turn["content"] for turn in json.loads(line)["messages"][-2:]) for line in lines]
    path = folder / "rows.jsonl"
    with path.open("w") as stream:
        for number in range(count):
            question, answer = pairs[number % len(pairs)]
            turns = [
                {"role": "user", "content": f"({number}) {question}"},
                {"role": "assistant", "content": answer},
            ]
            stream.write(json.dumps({"messages": turns}) + "\n")
    return path


def tokenizer_for(folder: Path, rows: Path) -> Any:
    """A byte-level BPE trained on the first rows, in a folder that every contender loads."""
    from transformers import AutoTokenizer

    from cluster.config import Scratch
    from trainers.tokenizer import load_tokenizer

    with rows.open() as stream:
        texts = [
            turn["content"]
            for line, _ in zip(stream, range(2000), strict=False)
            for turn in json.loads(line)["messages"]
        ]
    load_tokenizer(Scratch(vocab_size=8192), texts).save_pretrained(folder / "tokenizer")
    return AutoTokenizer.from_pretrained(folder / "tokenizer")


def mobula(folder: Path, count: int) -> dict[str, Any]:
    """`prepare`, as `mobula train` and `mobula data prepare` call it."""
    from cluster.config import RunConfig
    from cluster.session import local_ray
    from cluster.storage import Storage
    from trainers.data.prepare import prepare

    rows = write_rows(folder, count)
    tokenizer = tokenizer_for(folder, rows)
    config = RunConfig.model_validate(
        {"name": "bench", "model": {"kind": "scratch"}, "data": {"train": str(rows), "max_length": MAX_LENGTH}}
    )
    with local_ray(num_cpus=CPUS):
        warm_up()
        with watched() as memory:
            began = time.perf_counter()
            prepared = prepare(config, tokenizer, Storage.open(folder / "data"))
            took = time.perf_counter() - began
    split = prepared.splits["train"]
    fill = split.num_tokens / (split.num_sequences * MAX_LENGTH)
    return {"rows_per_s": count / took / CPUS, "fill": fill, **memory}


def warm_up() -> None:
    """Start Ray's worker processes with our modules in them, which `datasets` gets in no time by forking."""
    import ray.data

    from trainers.data.ray_data import quiet_context

    with quiet_context():
        ray.data.range(64, override_num_blocks=4 * CPUS).map_batches(_import).materialize()


def _import(block: Any) -> Any:
    import transformers

    import trainers.data.prepare

    time.sleep(0.2)  # so that no worker does it for another
    return block if transformers and trainers.data.prepare else None


def trl(folder: Path, count: int) -> dict[str, Any]:
    """`datasets.map` over two processes, and TRL's best-fit packing."""
    from datasets import load_dataset
    from trl.data_utils import pack_dataset

    rows = write_rows(folder, count)
    tokenizer = tokenizer_for(folder, rows)

    def encode(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        encoded = tokenizer.apply_chat_template(batch["messages"], tokenize=True, return_dict=True)
        return {"input_ids": encoded["input_ids"], "labels": encoded["input_ids"]}

    with watched() as memory:
        began = time.perf_counter()
        loaded = load_dataset("json", data_files=str(rows), split="train", cache_dir=str(folder / "cache"))
        encoded = loaded.map(encode, batched=True, num_proc=CPUS, remove_columns=loaded.column_names)
        packed = pack_dataset(encoded, MAX_LENGTH, map_kwargs={"num_proc": CPUS})
        took = time.perf_counter() - began
    fill = sum(len(ids) for ids in packed["input_ids"]) / (len(packed) * MAX_LENGTH)
    return {"rows_per_s": count / took / CPUS, "fill": fill, **memory}


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Peak memory while the body runs: of the largest process, and of all of this tree together, in GB."""
    import psutil

    found = {"largest_gb": 0.0, "total_gb": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            sizes = [size for one in _tree(psutil.Process()) if (size := _own_bytes(one))]
            found["largest_gb"] = max(found["largest_gb"], max(sizes) / 1e9)
            found["total_gb"] = max(found["total_gb"], sum(sizes) / 1e9)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _tree(process: Any) -> list[Any]:
    return [process, *process.children(recursive=True)]


def _own_bytes(process: Any) -> int:
    import psutil

    try:
        return process.memory_full_info().uss
    except psutil.Error:  # it has ended meanwhile
        return 0


CONTENDERS = {"mobula": mobula, "datasets + trl": trl}


def run_once(name: str, count: int) -> dict[str, Any]:
    """One contender in a fresh process."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-m", "tests.benchmarks.bench_data", "--contender", name, "--rows", str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not found:
        raise RuntimeError(f"contender {name!r} failed:\n{done.stderr[-4000:]}")
    result = json.loads(found[-1].removeprefix("RESULT "))
    print(f"{name:16}{count:10,} rows{result['rows_per_s']:10,.0f} rows/s per core  {result}", file=sys.stderr)
    return result


def claims(figures: dict[str, list[dict[str, Any]]], tenfold: dict[str, Any]) -> list[dict[str, Any]]:
    """Each claim with its figure and whether it holds."""
    ours, peer = figures["mobula"], figures["datasets + trl"]
    faster = statistics.median(a["rows_per_s"] / b["rows_per_s"] for a, b in zip(ours, peer, strict=True))
    once = statistics.median(one["largest_gb"] for one in ours)
    rows: list[Claim] = [
        ("rows/s per core / datasets.map + TRL packing", faster, ">=", 1.0),
        ("share of packed sequences that is filled", min(one["fill"] for one in ours), ">=", FILL),
        ("largest process with ten times the rows / with one", tenfold["largest_gb"] / once, "<=", GROWTH),
        ("largest process with ten times the rows, GB", tenfold["largest_gb"], "<=", LARGEST_GB),
    ]
    return judge(rows)


def main() -> int:
    """Measure, print a table, write JSON; status 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--contender", choices=list(CONTENDERS), help="run this one here and print what it found")
    arguments = parser.parse_args()
    if arguments.contender:
        with tempfile.TemporaryDirectory(prefix="mobula-bench-") as folder:
            print("RESULT " + json.dumps(CONTENDERS[arguments.contender](Path(folder), arguments.rows)))
        return 0
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for turn in range(arguments.rounds):
        for name in list(CONTENDERS)[:: 1 if turn % 2 == 0 else -1]:
            figures[name].append(run_once(name, arguments.rows))
    tenfold = run_once("mobula", 10 * arguments.rows)
    return report(claims(figures, tenfold), arguments.json, figures=figures, tenfold=tenfold)


if __name__ == "__main__":
    sys.exit(main())
