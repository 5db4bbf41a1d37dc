"""Generated tokens per second at 32 concurrent requests: our endpoint beside bare `ray.serve.llm`.

    python -m tests.benchmarks.bench_serving [--rounds 9] [--json results.json]

Both serve the same folder with the same engine arguments in one Ray Serve instance, on two routes of one proxy, and take
turns (A B B A ...) so that whatever else the machine does meets both. Claim: ours gives at least 0.95 of bare, whole
answers and streams alike.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.serving.tiny_models import TEXTS, tiny_causal_folder

CONCURRENCY = 32
REQUESTS = 96
MAX_TOKENS = 64
TARGET = 0.95
SHAPE = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}


async def tokens_per_s(url: str, model: str, stream: bool) -> float:
    """One round: `REQUESTS` requests, `CONCURRENCY` at a time."""
    limits = httpx.Limits(max_connections=CONCURRENCY)
    gate = asyncio.Semaphore(CONCURRENCY)
    async with httpx.AsyncClient(limits=limits, timeout=300.0) as client:

        async def one(body: dict) -> int:
            async with gate:
                return generated(await client.post(f"{url}/v1/chat/completions", json=body))

        began = time.perf_counter()
        counts = await asyncio.gather(*(one(request(model, stream, index)) for index in range(REQUESTS)))
        return sum(counts) / (time.perf_counter() - began)


def request(model: str, stream: bool, index: int) -> dict:
    """Body of the request with this number; every answer has `MAX_TOKENS` tokens."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"{TEXTS[index % len(TEXTS)]} {index}"}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": stream,
    }
    return {**body, "stream_options": {"include_usage": True}} if stream else body


def generated(answer: httpx.Response) -> int:
    """How many tokens an answer says it has."""
    answer.raise_for_status()
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    document = json.loads(events[-1]) if events else answer.json()
    return document["usage"]["completion_tokens"]


def start_bare(folder: Path, engine_kwargs: dict) -> None:
    """`ray.serve.llm`'s own application for the folder at /bare."""
    from ray import serve
    from ray.serve.llm import LLMConfig, build_openai_app

    config = LLMConfig(
        model_loading_config={"model_id": "bare", "model_source": str(folder)},
        engine_kwargs=engine_kwargs,
        placement_group_config={"bundles": [{"CPU": 1}]},
        deployment_config={"num_replicas": 1, "ray_actor_options": {"num_cpus": 0}},
    )
    ingress = {"ray_actor_options": {"num_cpus": 0}}
    app = build_openai_app({"llm_configs": [config], "ingress_deployment_config": ingress})
    serve.run(app, name="bare", route_prefix="/bare")


def run(rounds: int = 9) -> dict:
    """Both endpoints in turn; medians and their ratio."""
    from cluster.config import ServeConfig
    from cluster.session import local_ray
    from serving.causal import llm_config
    from serving.deploy import deploy
    from trainers.folder import ModelFolder

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    serve_config = ServeConfig(port=18500, kv_cache_gib=0.5)
    with tempfile.TemporaryDirectory() as place, local_ray(num_cpus=4):
        folder = ModelFolder.open(tiny_causal_folder(Path(place) / "model", **SHAPE))
        endpoint = deploy(folder, serve_config, "ours")
        try:
            start_bare(folder.path, llm_config(folder, serve_config, "ours", gpu=False).engine_kwargs)
            urls = {"ours": endpoint.url, "bare": f"{endpoint.url}/bare"}
            return {mode: compare(urls, rounds, mode == "stream") for mode in ("whole", "stream")}
        finally:
            endpoint.shutdown()


def compare(urls: dict[str, str], rounds: int, stream: bool) -> dict:
    """Rounds in the order A B B A, after one that is thrown away."""
    found: dict[str, list[float]] = {name: [] for name in urls}
    for turn in range(rounds + 1):
        for name in urls if turn % 2 else reversed(urls):
            rate = asyncio.run(tokens_per_s(urls[name], name, stream))
            if turn:
                found[name].append(rate)
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    pairs = [ours / bare for ours, bare in zip(found["ours"], found["bare"], strict=True)]
    return {
        "tokens_per_s": {name: round(value, 1) for name, value in medians.items()},
        "ratio": round(medians["ours"] / medians["bare"], 3),
        "ratio_of_pairs": [round(pair, 3) for pair in pairs],
        "target": TARGET,
        "rounds": {name: [round(rate, 1) for rate in rates] for name, rates in found.items()},
    }


def table(results: dict) -> str:
    """The figures for people."""
    lines = [f"{'answers':<8} {'ours tok/s':>11} {'bare tok/s':>11} {'ratio':>6}  target"]
    for mode, row in results.items():
        ours, bare = row["tokens_per_s"]["ours"], row["tokens_per_s"]["bare"]
        lines.append(f"{mode:<8} {ours:>11} {bare:>11} {row['ratio']:>6}  {row['target']}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = run(options.rounds)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(0 if all(row["ratio"] >= TARGET for row in results.values()) else 1)


if __name__ == "__main__":
    main()
