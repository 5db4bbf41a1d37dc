"""Answers of a model folder written by vLLM inside `ray.data.llm`: whole answers of many rows at once.

The engine sees the token ids that training would, made here; a sample is a request of its own, whose prompt vLLM has
cached. Answers are kept as they come, so that an evaluation that was killed asks only for the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cluster.exceptions import MobulaError, mobula_cause
from trainers.data.ray_data import quiet_context
from trainers.evaluation.cost import ANSWERS_PHASE
from trainers.evaluation.exchange import exchange, read_row
from trainers.evaluation.result import Prediction
from trainers.evaluation.store import Part
from trainers.evaluation.subjects.base import Job, orders
from trainers.evaluation.subjects.scorers import Answer, Limits, prompt_tokens, stop_tokens
from trainers.folder import ModelFolder

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

VLLM_CPUS = 2
"""Logical CPUs that the engine and what feeds it must have at once; with fewer the pipeline would wait for ever."""
SMALL_TASK_CPUS = 0.25
ANSWERS = "answers"
"""Folder of the evaluation with answers whose rows are not scored yet."""
REQUESTS_PER_BATCH = 64
BATCHES_AT_ONCE = 8
KEEP_EVERY_S = 5.0
CPU_CACHE_BYTES = 1 << 30
CPU_HEADS = 16
"""vLLM 0.29 has attention on CPU for heads of multiples of this; of others its engine dies at the first request."""
ENGINE_RESTARTS = 1
"""Times that an engine which died is started again; by itself Ray Data would go on for ever."""


def vllm_answers(folder: ModelFolder, job: Job) -> tuple[dict[int, Answer], list[dict[str, Any]]]:
    """The answers to the rows that are left, by rank, and the times in which they were written.

    Raises:
        MobulaError: if the engine does not come up, or dies.
    """
    parts = job.directory.parts(ANSWERS) if job.directory is not None else []
    keeper = _Keeper(job, _kept(parts), [dict(fact) for part in parts for fact in part.facts])
    try:
        for order, answer in _written(folder, dataclasses.replace(job, done=_union(job.done, keeper.answers))):
            keeper.add(order, answer)
    finally:
        keeper.flush()
    return keeper.answers, keeper.facts


class _Keeper:
    """Collects answers and writes them every few seconds."""

    def __init__(self, job: Job, answers: dict[int, Answer], facts: list[dict[str, Any]]) -> None:
        self.job, self.answers, self.facts = job, answers, facts
        self._waiting: dict[int, Answer] = {}
        self._written = time.monotonic()
        self._began, self._ended = float("inf"), 0.0

    def add(self, order: int, answer: Answer) -> None:
        self.answers[order] = self._waiting[order] = answer
        self._ended = time.time()
        self._began = min(self._began, self._ended - (answer.latency_s or 0.0))
        if time.monotonic() - self._written > KEEP_EVERY_S:
            self.flush()

    def flush(self) -> None:
        waiting, self._waiting, self._written = self._waiting, {}, time.monotonic()
        if not waiting:
            return
        fact = {"began_unix_s": self._began, "ended_unix_s": self._ended, "phase": ANSWERS_PHASE}
        self.facts.append(fact)
        self._began = float("inf")
        if self.job.directory is not None:
            predictions = [Prediction("", None, **answer.fields()) for answer in waiting.values()]
            self.job.directory.write_part(Part(list(waiting), predictions, [fact]), ANSWERS)


def _union(done: Any, found: dict[int, Answer]) -> Any:
    import numpy as np

    return np.union1d(done, np.fromiter(found, np.int64, len(found)))


def _kept(parts: Sequence[Part]) -> dict[int, Answer]:
    """The answers that were written before; what failed then is asked again."""
    return {
        order: Answer([one.output, *one.samples], one.output_tokens or 0, one.latency_s, one.probability)
        for part in parts
        for order, one in zip(part.orders, part.predictions, strict=True)
        if one.output is not None
    }


def _written(folder: ModelFolder, job: Job) -> Any:
    """Rank and answer of each row, as the last of its samples is done."""
    each = job.evaluate.num_samples
    samples: dict[int, dict[int, dict[str, Any]]] = {}
    try:
        with quiet_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row in _processed(folder, job).iter_rows():
                of_row = samples.setdefault(row["order"], {})
                of_row[row["sample"]] = row
                if len(of_row) == each:
                    yield row["order"], _answer([of_row[at] for at in range(each)])
                    del samples[row["order"]]
    except Exception as error:  # Ray Data wraps what a task or the engine raised
        mistake = mobula_cause(error)
        if mistake is not None:
            raise mistake from None
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1].partition(". ")[0][:200]
        raise MobulaError(
            f"vLLM stopped ({said}); what it wrote so far is kept, and the next call goes on from there; "
            "evaluate.engine=transformers does without it"
        ) from error


def _answer(samples: list[dict[str, Any]]) -> Answer:
    failed = [one["__inference_error__"] for one in samples if one["__inference_error__"]]
    if failed:
        return Answer([], 0, error=failed[0])
    texts = [one["text"] for one in samples]
    return Answer(texts, sum(one["num_tokens"] for one in samples), max(one["latency_s"] for one in samples))


def _processed(folder: ModelFolder, job: Job) -> ray.data.Dataset:
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # read when vllm is imported, here and in the workers
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from cluster.session import resources

    gpus = int(resources()[1])
    requests = (
        job.rows()
        .map_batches(Requests(folder, job), batch_size=256, batch_format="pyarrow", num_cpus=SMALL_TASK_CPUS)
        .repartition(target_num_rows_per_block=REQUESTS_PER_BATCH)
    )
    processor = build_processor(
        vLLMEngineProcessorConfig(
            model_source=str(folder.base or folder.path),
            engine_kwargs=_engine_kwargs(folder, job, bool(gpus)),
            batch_size=REQUESTS_PER_BATCH,
            max_concurrent_batches=BATCHES_AT_ONCE,
            concurrency=max(gpus, 1),
            placement_group_config=None if gpus else {"bundles": [{"CPU": 1}]},
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            should_continue_on_error=True,  # a prompt that the engine refuses is one row's problem
            log_engine_metrics=False,
            runtime_env={"env_vars": {"VLLM_LOGGING_LEVEL": os.environ["VLLM_LOGGING_LEVEL"]}},
        ),
        preprocess=Preprocess(folder, job),
        postprocess=postprocess,
        preprocess_map_kwargs={"num_cpus": SMALL_TASK_CPUS},
        postprocess_map_kwargs={"num_cpus": SMALL_TASK_CPUS},
    )
    for stage in processor.stages.values():
        stage.map_batches_kwargs.update(max_restarts=ENGINE_RESTARTS, max_task_retries=ENGINE_RESTARTS)
    return processor(requests)


def vllm_lacks(folder: ModelFolder, gpu: bool) -> str | None:
    """What vLLM would need to run a model and does not have; None if it can run it."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from transformers import AutoConfig
    from vllm import ModelRegistry

    config = AutoConfig.from_pretrained(folder.base or folder.path)
    architectures = config.architectures or ["?"]
    if not set(architectures) & set(ModelRegistry.get_supported_archs()):
        return f"no implementation of {architectures[0]}"
    text = config.get_text_config()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    if gpu or size % CPU_HEADS == 0:
        return None
    return f"no attention on CPU for heads of {size}, only for multiples of {CPU_HEADS}"


def _engine_kwargs(folder: ModelFolder, job: Job, gpu: bool) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "max_model_len": -1,  # as long as fits
        "tokenizer": str(folder.path),
        "disable_log_stats": True,  # computed at every step, and shown to nobody
    }
    if not gpu:
        kwargs |= {"kv_cache_memory_bytes": CPU_CACHE_BYTES, "dtype": _cpu_dtype(folder)}
    if folder.is_adapter:
        rank = json.loads((folder.path / "adapter_config.json").read_text())["r"]
        kwargs |= {"enable_lora": True, "max_lora_rank": max(rank, 8), "max_loras": 1}
    return kwargs | job.evaluate.engine_kwargs


def _cpu_dtype(folder: ModelFolder) -> str:
    """The number format that the folder holds: vLLM's `auto` would round float32 weights to bfloat16."""
    import torch
    from transformers import AutoConfig

    from trainers.precision import cpu_has_bf16

    held = AutoConfig.from_pretrained(folder.base or folder.path).dtype
    return "bfloat16" if held == torch.bfloat16 and cpu_has_bf16() else "float32"


@functools.lru_cache(maxsize=2)
def _tokenizer_and_positions(folder: ModelFolder) -> tuple[Any, int]:
    """Read once in each process."""
    from transformers import AutoConfig

    return folder.tokenizer(), Limits.of(AutoConfig.from_pretrained(folder.base or folder.path), 1).positions


class Requests:
    """Rows of the data as requests: `order`, `sample`, `tokens`. Runs inside the tasks of Ray Data."""

    def __init__(self, folder: ModelFolder, job: Job) -> None:
        self.folder, self.sources, self.data, self.evaluate = folder, job.sources, job.data, job.evaluate

    def __call__(self, window: pa.Table) -> pa.Table:
        import pyarrow as pa

        tokenizer, positions = _tokenizer_and_positions(self.folder)
        limits = Limits(positions, self.evaluate.max_new_tokens)
        found: dict[str, list[Any]] = {"order": [], "sample": [], "tokens": [], "max_tokens": []}
        places = zip(window["file"].to_pylist(), window["position"].to_pylist(), strict=True)
        rows = zip(orders(window).tolist(), places, window["row"].to_pylist(), strict=True)
        for order, place, row in rows:
            parsed = read_row(self.sources, place, row, self.data, "causal_lm", to_learn=False)
            question = exchange(parsed.example)
            if question is None:
                continue
            tokens = prompt_tokens(tokenizer, question)[-limits.longest_prompt :]
            for sample in range(self.evaluate.num_samples):
                found["order"].append(order)
                found["sample"].append(sample)
                found["tokens"].append(tokens)
                found["max_tokens"].append(limits.new_tokens(len(tokens)))
        types = {"order": pa.int64(), "sample": pa.int64(), "tokens": pa.list_(pa.int64()), "max_tokens": pa.int64()}
        return pa.table({name: pa.array(values, types[name]) for name, values in found.items()})


class Preprocess:
    """A request as the processor wants it."""

    def __init__(self, folder: ModelFolder, job: Job) -> None:
        from transformers import GenerationConfig

        evaluate = job.evaluate
        try:
            generation = GenerationConfig.from_pretrained(folder.base or folder.path)
        except OSError:  # not every folder has one
            generation = GenerationConfig()
        self.sampling = {
            "temperature": evaluate.temperature,
            "top_p": evaluate.top_p,
            "stop_token_ids": stop_tokens(folder.tokenizer(), generation),
        }
        self.seed, self.is_drawn = evaluate.seed, evaluate.temperature > 0
        self.adapter = {"model": str(folder.path.absolute())} if folder.is_adapter else {}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        sampling = {**self.sampling, "max_tokens": row["max_tokens"]}
        if self.is_drawn:
            sampling["seed"] = (self.seed * 1_000_003 + row["order"] * 1009 + row["sample"]) % 2**31
        return {
            "order": row["order"],
            "sample": row["sample"],
            "tokenized_prompt": [int(token) for token in row["tokens"]],
            "sampling_params": sampling,
            **self.adapter,
        }


def postprocess(row: dict[str, Any]) -> dict[str, Any]:
    """What comes back of a request."""
    return {
        "order": row["order"],
        "sample": row["sample"],
        "text": row["generated_text"],
        "num_tokens": row["num_generated_tokens"],
        "latency_s": float(row["time_taken_llm"]),
    }
