"""Who answers the requests of `generate`: a model in this cluster, or one behind an endpoint.

An engine takes a dataset with the columns `messages` (JSON) and `seed`, and hands on one with `answer` and `problem`
(empty where there is none), in the same order.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.config.stages.augment import GenerateStage, OpenAIEngine, VllmEngine
from cluster.exceptions import ConfigError, ResourceError
from trainers.models import resolve_model

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

SMALL_TASK_CPUS = 0.25
"""Logical CPUs of a task that mostly waits: two logical CPUs must hold the engine and all that feeds it."""
VLLM_CPUS = 2
REQUESTS_PER_BATCH = 64


class Engine(ABC):
    """Answers requests."""

    def __init__(self, config: GenerateStage) -> None:
        self.config = config

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot work before anything runs."""

    @abstractmethod
    def complete(self, requests: ray.data.Dataset) -> ray.data.Dataset:
        """The answers, lazy."""


class Vllm(Engine):
    """One processor of `ray.data.llm`. Its stages hold logical CPUs all the while, so that they must fit at once."""

    def check(self) -> None:
        from cluster.session import resources

        cpus, _ = resources()
        if cpus < VLLM_CPUS:
            raise ResourceError(
                f"the stage generate with engine.kind=vllm keeps {VLLM_CPUS} logical CPUs busy, and the cluster has {cpus:g}; "
                "start Ray with more, or use an endpoint (engine.kind=openai)"
            )

    def complete(self, requests: ray.data.Dataset) -> ray.data.Dataset:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # read when vllm is imported, here and in the workers
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        from cluster.session import resources

        engine = self._engine()
        gpu = resources()[1] >= 1
        processor = build_processor(
            vLLMEngineProcessorConfig(
                model_source=resolve_model(engine.model),
                engine_kwargs=self._engine_kwargs(gpu),
                batch_size=engine.batch_size,
                concurrency=1,
                placement_group_config=None if gpu else {"bundles": [{"CPU": 1}]},
                chat_template_stage={"enabled": True, "num_cpus": SMALL_TASK_CPUS},
                tokenize_stage=False,  # the engine does both itself, in the same words
                detokenize_stage=False,
                should_continue_on_error=True,  # a prompt that is too long is one row's problem
                log_engine_metrics=False,
                runtime_env={"env_vars": {"VLLM_LOGGING_LEVEL": os.environ["VLLM_LOGGING_LEVEL"]}},
            ),
            preprocess=_Preprocess(self.config),
            postprocess=_postprocess,
            preprocess_map_kwargs={"num_cpus": SMALL_TASK_CPUS},
            postprocess_map_kwargs={"num_cpus": SMALL_TASK_CPUS},
        )
        return processor(requests)

    def _engine(self) -> VllmEngine:
        assert isinstance(self.config.engine, VllmEngine)
        return self.config.engine

    def _engine_kwargs(self, gpu: bool) -> dict[str, Any]:
        engine = self._engine()
        kwargs: dict[str, Any] = {"max_model_len": engine.max_model_len or -1}  # -1: as long as fits
        if not gpu:
            kwargs |= {"kv_cache_memory_bytes": int(engine.kv_cache_gib * 2**30), "dtype": _cpu_dtype(engine.model)}
        return kwargs | engine.engine_kwargs


def _cpu_dtype(model: str) -> str:
    """The number format that the folder holds: vLLM's `auto` would round float32 weights to bfloat16."""
    import torch
    from transformers import AutoConfig

    from trainers.precision import cpu_has_bf16

    held = AutoConfig.from_pretrained(resolve_model(model)).dtype
    return "bfloat16" if held == torch.bfloat16 and cpu_has_bf16() else "float32"


@dataclasses.dataclass(frozen=True)
class _Preprocess:
    """A request as the processor wants it."""

    config: GenerateStage

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        config = self.config
        sampling = {
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_tokens": config.max_tokens,
            "seed": row["seed"],
        }
        return {"messages": json.loads(row["messages"]), "sampling_params": sampling}


def _postprocess(row: dict[str, Any]) -> dict[str, Any]:
    return {"answer": row["generated_text"]}


class OpenAI(Engine):
    """Any endpoint that speaks OpenAI's chat completions, through the `openai` client, which waits and tries again."""

    def check(self) -> None:
        self._api_key()

    def complete(self, requests: ray.data.Dataset) -> ray.data.Dataset:
        from ray.data import TaskPoolStrategy

        return requests.map_batches(
            _AskEndpoint(self.config, self._api_key()),
            batch_size=REQUESTS_PER_BATCH,
            batch_format="pyarrow",
            num_cpus=SMALL_TASK_CPUS,
            compute=TaskPoolStrategy(size=1),  # so that `concurrency` is what the endpoint sees
        )

    def _api_key(self) -> str:
        assert isinstance(self.config.engine, OpenAIEngine)
        name = self.config.engine.api_key_env
        if name is None:
            return "none"
        if not os.environ.get(name):
            raise ConfigError(
                f"engine.api_key_env={name}: this environment variable is not set; put the endpoint's key there"
            )
        return os.environ[name]


@dataclasses.dataclass(frozen=True)
class _AskEndpoint:
    """Asks for the answers of a batch, `concurrency` at a time. Runs inside the tasks of Ray Data."""

    config: GenerateStage
    api_key: str = dataclasses.field(repr=False)

    def __call__(self, block: pa.Table) -> pa.Table:
        import openai
        import pyarrow as pa

        engine = self.config.engine
        assert isinstance(engine, OpenAIEngine)
        requests = [json.loads(text) for text in block["messages"].to_pylist()]
        with (
            openai.OpenAI(
                base_url=engine.base_url, api_key=self.api_key, timeout=engine.timeout_s, max_retries=engine.retries
            ) as client,
            concurrent.futures.ThreadPoolExecutor(engine.concurrency) as pool,
        ):
            found = list(pool.map(lambda messages: self._ask(client, engine, messages), requests))
        answers, problems = zip(*found, strict=True)
        return pa.table({"answer": pa.array(answers, pa.string()), "problem": pa.array(problems, pa.string())})

    def _ask(self, client: Any, engine: OpenAIEngine, messages: list[dict[str, str]]) -> tuple[str, str]:
        import openai

        config = self.config
        try:
            answer = client.chat.completions.create(
                model=engine.model,
                messages=messages,
                temperature=config.temperature,
                top_p=config.top_p,
                max_tokens=config.max_tokens,
                extra_body=engine.extra_body or None,
            )
        except openai.APIError as error:
            return "", f"{engine.base_url}: {type(error).__name__}: {str(error)[:300]}"
        return answer.choices[0].message.content or "", ""


ENGINES: dict[str, type[Engine]] = {"vllm": Vllm, "openai": OpenAI}
"""Kind of `engine` -> its class."""


def stamp(engine: VllmEngine | OpenAIEngine) -> Any:
    """What tells the model of an engine from another, beyond its settings."""
    from trainers.data.stages.augment.tables import folder_stamp

    return folder_stamp(engine.model) if isinstance(engine, VllmEngine) and Path(engine.model).is_dir() else None
