"""The contenders of `bench_training`, each run in a process of its own: `python -m tests.benchmarks.training_contenders NAME`.

Every contender trains the same Llama-style model (6 layers, 256 wide) on the same short rows (alpaca instructions; the
support desk's messages where those are not there) with AdamW in float32, on one thread in each process, and prints one
JSON document: useful tokens per second (padding not counted) as the median over its steps after the warm-up, and what
else it knows. The packed contenders see the same packed sequences in the same order. A row of Mobula's metrics covers
`LOGGED` steps.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

STEPS = 40
WARMUP = 8
LOGGED = 4
MAX_LENGTH = 512
BATCH = 4
ROWS = 4000
ALPACA = Path(__file__).resolve().parents[3] / "shared" / "data" / "llamafactory_demo" / "alpaca_en_demo.json"
MODEL = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 4096,
    "max_position_embeddings": 1024,
}


def median_rate(tokens: list[int], seconds: list[float]) -> float:
    """Median over the steps after the warm-up, in tokens per second."""
    return statistics.median(count / took for count, took in zip(tokens[WARMUP:], seconds[WARMUP:], strict=True))


def write_run(folder: Path, num_workers: int, **train: Any) -> Path:
    """The rows as JSONL and a run.yaml over them."""
    rows = write_rows(folder)
    config = {
        "name": "bench",
        "model": {"kind": "scratch", **MODEL},
        "data": {"train": str(rows), "max_length": MAX_LENGTH},
        "train": {
            "max_steps": STEPS,
            "per_device_train_batch_size": BATCH,
            "learning_rate": 1e-4,
            "logging_steps": LOGGED,
            "save_steps": 10**6,
            "bf16": False,
            **train,
        },
        "cluster": {
            "num_workers": num_workers,
            "cpus_per_worker": torch.get_num_threads(),
            "storage_path": str(folder / "runs"),
        },
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def write_rows(folder: Path) -> Path:
    """Chat rows: the instructions of `ALPACA`, else messages of the support desk."""
    if not ALPACA.exists():
        from trainers.quickstart.support_desk import write_files

        return write_files(folder / "data", train=ROWS, validation=1, test=1, unseen=1).train
    chats = []
    for row in json.loads(ALPACA.read_text()):
        question = "\n".join(part for part in (row["instruction"], row["input"]) if part)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]
        chats.append(json.dumps({"messages": turns}) + "\n")
    path = folder / "train.jsonl"
    path.write_text("".join(chats))
    return path


def mobula(folder: Path, num_workers: int) -> dict[str, Any]:
    """`mobula train` as a user runs it; the figures are those of its metrics file."""
    from cluster.config.load import load_config
    from trainers.fit import fit

    rows: list[dict[str, Any]] = []
    fit(load_config(write_run(folder, num_workers)), listeners=[rows.append])
    logged = [row for row in rows if "loss" in row and row["step"] > WARMUP]
    return {
        "tokens_per_s": statistics.median(row["tokens_per_s"] for row in logged),
        "step_s": statistics.median(row["step_s"] for row in logged),
        "data_wait": statistics.mean(row["data_wait"] for row in logged),
    }


def prepared_batches(folder: Path, num_workers: int, rank: int) -> tuple[Any, Any, list[Any], list[int]]:
    """(config, model, micro-batches of each step, tokens of each step), read ahead of time and without Ray."""
    from transformers import AutoTokenizer

    from cluster.config.load import load_config
    from cluster.storage import Storage
    from trainers.data.store import Prepared
    from trainers.models import load_model
    from trainers.run import TOKENIZER, build_collate, training_plan

    config = load_config(folder / "run.yaml", [f"cluster.num_workers={num_workers}"])
    runs = Storage.open(config.cluster.storage_path)
    tokenizer = AutoTokenizer.from_pretrained(runs.local_folder(f"bench/{TOKENIZER}"))
    data = runs.child("data")
    split = Prepared.open(data.place(data.list()[0])).splits["train"]
    plan, collate = training_plan(config, split), build_collate(config, tokenizer)
    places = [divmod(step, plan.steps_per_epoch) for step in range(STEPS)]
    shares = [plan.share(*place, rank, num_workers) for place in places]
    batches = [[collate(split.read(part)) for part in share] for share in shares]
    tokens = [int(split.lengths[plan.indices(*place)].sum()) for place in places]
    return config, load_model(config, tokenizer, []), batches, tokens


def prepare_only(folder: Path, num_workers: int) -> None:
    """Tokenise and pack as a run would, without training."""
    from cluster.config.load import load_config
    from cluster.runs import RunDirectory
    from cluster.session import ray_session
    from trainers.fit import prepare_data

    config = load_config(write_run(folder, num_workers))
    with ray_session(config.cluster):
        prepare_data(RunDirectory.open(config))


def bare_loop(folder: Path) -> dict[str, Any]:
    """A plain PyTorch loop over the packed sequences: transformers' own loss, AdamW, clipping."""
    prepare_only(folder, 1)
    _config, model, batches, tokens = prepared_batches(folder, 1, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
    seconds = []
    for [batch] in batches:
        began = time.perf_counter()
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return {"tokens_per_s": median_rate(tokens, seconds), "step_s": statistics.median(seconds[WARMUP:])}


def trl(folder: Path) -> dict[str, Any]:
    """TRL's `SFTTrainer` with its defaults on the same rows; tokens are counted from its attention masks."""
    from datasets import load_dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    prepare_only(folder, 1)
    _config, model, _batches, _tokens = prepared_batches(folder, 1, 0)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "runs" / "bench" / "tokenizer")
    rows = load_dataset("json", data_files=str(write_rows(folder)), split="train")
    arguments = SFTConfig(
        output_dir=str(folder / "trl"), max_steps=STEPS, report_to="none", save_strategy="no", bf16=False, use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    tokens, seconds = [0], [0.0]

    class Timer(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()
            tokens.append(0)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    class Counting(SFTTrainer):
        def compute_loss(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            tokens[-1] += int(inputs["attention_mask"].sum())
            return super().compute_loss(model, inputs, *more, **named)

    Counting(
        model=model, args=arguments, train_dataset=rows.select_columns("messages"), processing_class=tokenizer,
        callbacks=[Timer()],
    ).train()  # fmt: skip
    return {
        "tokens_per_s": median_rate(tokens[1:], seconds[1:]),
        "step_s": statistics.median(seconds[1 + WARMUP :]),
        "batch_size": arguments.per_device_train_batch_size,
    }


def plain_distributed(folder: Path) -> dict[str, Any]:
    """Two processes of `torch.distributed` with the same engine, objective and sequences, without Ray."""
    from tests.trainers.groups import run_group

    prepare_only(folder, 2)
    [first, _] = run_group(_distributed_member, 2, folder, folder)
    return first


def _distributed_member(rank: int, num_workers: int, folder: Path) -> dict[str, Any]:
    import torch.distributed as dist

    from trainers.engine import Engine
    from trainers.objectives import build_objective

    config, model, batches, tokens = prepared_batches(folder, num_workers, rank)
    objective = build_objective(config)
    objective.prepare(model)
    engine = Engine(model, config, num_workers, STEPS)
    seconds = []
    for step, micro_batches in enumerate(batches):
        began = time.perf_counter()
        engine.set_learning_rate(step)
        units = torch.tensor([sum(objective.num_units(batch) for batch in micro_batches)], dtype=torch.float64)
        dist.all_reduce(units)
        for batch in micro_batches:
            loss, _ = objective.loss_sum(engine.deepspeed, batch)
            engine.backward(loss, float(units))
        seconds.append(time.perf_counter() - began)
    return {"tokens_per_s": median_rate(tokens, seconds), "step_s": statistics.median(seconds[WARMUP:])}


CONTENDERS = {
    "mobula": lambda folder: mobula(folder, 1),
    "bare loop": bare_loop,
    "trl": trl,
    "mobula, 2 workers": lambda folder: mobula(folder, 2),
    "plain torch.distributed, 2 processes": plain_distributed,
}


def main() -> None:
    """Run one contender in a temporary folder and print what it found."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory(prefix="mobula-bench-") as folder:
        found = CONTENDERS[sys.argv[1]](Path(folder))
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
