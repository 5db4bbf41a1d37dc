"""Who answers requests (of the stage `generate`, of a judge, in a dialogue): a model in this cluster, or one behind an endpoint.

An engine takes a dataset with the columns `messages` (JSON), `seed` and, where an answer must be JSON of some form,
`json_schema`; it hands on one with `answer` and `problem` (empty where there is none), in the same order. What is at
hand as a list is answered by `answers`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cluster.config.engine import OpenAIEngine, VllmEngine
from cluster.exceptions import ConfigError, ResourceError
from trainers.data.ray_data import quiet_context, rows_of
from trainers.models import resolve_model

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

SMALL_TASK_CPUS = 0.25
"""Logical CPUs of a task that mostly waits: two logical CPUs must hold the engine and all that feeds it."""
VLLM_CPUS = 2
REQUESTS_PER_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        top_p: draw from the likeliest tokens that make up so much of the probability.
        max_tokens: longest answer, in tokens.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256


@dataclasses.dataclass(frozen=True)
class Request:
    """One thing asked.

    Attributes:
        messages: the conversation so far, as OpenAI's `messages`.
        seed: for the model's draws; None leaves it to the engine.
        json_schema: JSON schema (as text) that the engine holds the answer to; empty for free text.
    """

    messages: list[dict[str, str]]
    seed: int | None = None
    json_schema: str = ""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        text: of the answer; empty where there is none.
        problem: why there is none.
        is_engine_lost: the problem is the engine's, not this request's: the next request would fare no better.
    """

    text: str
    problem: str = ""
    is_engine_lost: bool = False


ConfigT = TypeVar("ConfigT", VllmEngine, OpenAIEngine)


class Engine(ABC, Generic[ConfigT]):
    """Answers requests."""

    def __init__(self, config: ConfigT, sampling: Sampling) -> None:
        self.config: ConfigT = config
        self.sampling = sampling

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot work before anything runs."""

    @abstractmethod
    def complete(self, requests: ray.data.Dataset) -> ray.data.Dataset:
        """The answers, lazy."""

    @abstractmethod
    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """The answer to each request, in their order, as they come."""


class Vllm(Engine[VllmEngine]):
    """One processor of `ray.data.llm`. Its stages hold logical CPUs all the while, so that they must fit at once."""

    def check(self) -> None:
        from cluster.session import resources

        cpus, _ = resources()
        if cpus < VLLM_CPUS:
            raise ResourceError(
                f"engine.kind=vllm keeps {VLLM_CPUS} logical CPUs busy, and the cluster has {cpus:g}; "
                "start Ray with more, or use an endpoint (engine.kind=openai)"
            )

    def complete(self, requests: ray.data.Dataset) -> ray.data.Dataset:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # read when vllm is imported, here and in the workers
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        from cluster.session import resources

        gpu = resources()[1] >= 1
        processor = build_processor(
            vLLMEngineProcessorConfig(
                model_source=resolve_model(self.config.model),
                engine_kwargs=self._engine_kwargs(gpu),
                batch_size=self.config.batch_size,
                concurrency=1,
                placement_group_config=None if gpu else {"bundles": [{"CPU": 1}]},
                chat_template_stage={"enabled": True, "num_cpus": SMALL_TASK_CPUS},
                tokenize_stage=False,  # the engine does both itself, in the same words
                detokenize_stage=False,
                should_continue_on_error=True,  # a prompt that is too long is one row's problem
                log_engine_metrics=False,
                runtime_env={"env_vars": {"VLLM_LOGGING_LEVEL": os.environ["VLLM_LOGGING_LEVEL"]}},
            ),
            preprocess=_Preprocess(self.sampling),
            postprocess=_postprocess,
            preprocess_map_kwargs={"num_cpus": SMALL_TASK_CPUS},
            postprocess_map_kwargs={"num_cpus": SMALL_TASK_CPUS},
        )
        return processor(requests)

    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Through one processor; the engine starts for them and stops after them."""
        import pyarrow as pa
        import ray.data

        if not requests:
            return
        columns = {
            "messages": [json.dumps(one.messages) for one in requests],
            "seed": [one.seed for one in requests],
            "json_schema": [one.json_schema for one in requests],
        }
        with quiet_context():
            answered = self.complete(ray.data.from_arrow(pa.table(columns)))
        for row in rows_of(answered):
            yield Answer(row.get("answer") or "", row.get("problem") or row.get("__inference_error__") or "")

    def _engine_kwargs(self, gpu: bool) -> dict[str, Any]:
        engine = self.config
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

    sampling: Sampling

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        sampling: dict[str, Any] = {**dataclasses.asdict(self.sampling), "seed": row["seed"]}
        if row.get("json_schema"):
            sampling["structured_outputs"] = {"json": row["json_schema"]}
        return {"messages": json.loads(row["messages"]), "sampling_params": sampling}


def _postprocess(row: dict[str, Any]) -> dict[str, Any]:
    return {"answer": row["generated_text"]}


class OpenAI(Engine[OpenAIEngine]):
    """Any endpoint that speaks OpenAI's chat completions, through the `openai` client, which waits and tries again."""

    def check(self) -> None:
        self._api_key()

    def complete(self, requests: ray.data.Dataset) -> ray.data.Dataset:
        from ray.data import TaskPoolStrategy

        return requests.map_batches(
            _AskBatch(self._endpoint()),
            batch_size=REQUESTS_PER_BATCH,
            batch_format="pyarrow",
            num_cpus=SMALL_TASK_CPUS,
            compute=TaskPoolStrategy(size=1),  # so that `concurrency` is what the endpoint sees
        )

    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Asked from here, `concurrency` at a time: an endpoint needs no tasks of the cluster."""
        yield from self._endpoint().ask(requests)

    def _endpoint(self) -> _Endpoint:
        return _Endpoint(self.config, self.sampling, self._api_key())

    def _api_key(self) -> str:
        name = self.config.api_key_env
        if name is None:
            return "none"
        if not os.environ.get(name):
            raise ConfigError(
                f"engine.api_key_env={name}: this environment variable is not set; put the endpoint's key there"
            )
        return os.environ[name]


@dataclasses.dataclass(frozen=True)
class _Endpoint:
    """Asks one model behind an endpoint."""

    config: OpenAIEngine
    sampling: Sampling
    api_key: str = dataclasses.field(repr=False)

    def ask(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """The answers in order. Whoever stops listening stops the asking, but for what is in flight."""
        import openai

        config = self.config
        pool = concurrent.futures.ThreadPoolExecutor(config.concurrency)
        with openai.OpenAI(
            base_url=config.base_url, api_key=self.api_key, timeout=config.timeout_s, max_retries=config.retries
        ) as client:
            try:
                yield from pool.map(lambda request: self._ask(client, request), requests)
            finally:
                pool.shutdown(cancel_futures=True)

    def _ask(self, client: Any, request: Request) -> Answer:
        import openai

        config = self.config
        try:
            answer = client.chat.completions.create(
                model=config.model,
                messages=request.messages,
                temperature=self.sampling.temperature,
                top_p=self.sampling.top_p,
                max_tokens=self.sampling.max_tokens,
                seed=openai.omit if request.seed is None else request.seed,
                extra_body=config.extra_body or None,
                **_response_format(request.json_schema),
            )
        except openai.APIError as error:
            problem = f"{config.base_url}: {type(error).__name__}: {str(error)[:300]}"
            return Answer("", problem, _is_lost(error))
        return Answer(answer.choices[0].message.content or "")


def _response_format(json_schema: str) -> dict[str, Any]:
    if not json_schema:
        return {}
    named = {"name": "answer", "strict": True, "schema": json.loads(json_schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _is_lost(error: Exception) -> bool:
    """Whether the endpoint is gone or refuses everybody; a timeout or a refused prompt is one request's problem."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return False
    alike = (
        openai.APIConnectionError,
        openai.AuthenticationError,
        openai.PermissionDeniedError,
        openai.NotFoundError,
        openai.RateLimitError,
        openai.InternalServerError,
    )
    return isinstance(error, alike)


@dataclasses.dataclass(frozen=True)
class _AskBatch:
    """The answers to a batch of requests. Runs inside the tasks of Ray Data."""

    endpoint: _Endpoint

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        answers = list(self.endpoint.ask([Request(json.loads(text)) for text in block["messages"].to_pylist()]))
        columns = {"answer": [one.text for one in answers], "problem": [one.problem for one in answers]}
        return pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})


ENGINES: dict[str, type[Engine[Any]]] = {"vllm": Vllm, "openai": OpenAI}
"""Kind of `engine` -> its class."""


def build_engine(config: VllmEngine | OpenAIEngine, sampling: Sampling) -> Engine[Any]:
    """The engine that a config names, after it was found that it can work.

    Raises:
        ConfigError: where the endpoint's key is not set.
        ResourceError: where the cluster is too small for it.
    """
    engine = ENGINES[config.kind](config, sampling)
    engine.check()
    return engine


def stamp(engine: VllmEngine | OpenAIEngine) -> Any:
    """What tells the model of an engine from another, beyond its settings."""
    from trainers.data.stages.augment.tables import folder_stamp

    return folder_stamp(engine.model) if isinstance(engine, VllmEngine) and Path(engine.model).is_dir() else None
