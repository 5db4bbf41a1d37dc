"""A causal model behind OpenAI's API: `ray.serve.llm` with vLLM, for whole weights and for LoRA adapters.

`ray.serve.llm` loads adapters from cloud storage only. A local one goes to vLLM itself (`lora_modules`): the engine
loads it at start under the endpoint's model name, while the base answers as `<name>-base`.
"""

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # read when vllm is imported, here and in the replicas

from ray import serve as ray_serve
from ray.serve.llm import LLMConfig, build_llm_deployment
from ray.serve.schema import LoggingConfig

from cluster.config import ServeConfig
from cluster.exceptions import ModelFolderError
from serving.engine import Engine
from serving.ingress import Ingress
from serving.parts import model_card
from serving.server import Server
from trainers.folder import ModelFolder
from trainers.precision import cpu_has_bf16

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM reserves memory for; an adapter takes the next one up."""
AS_LONG_AS_FITS = -1
"""For vLLM: the model's own limit, or less where the attention cache could not hold one such sequence."""
MAX_ONGOING = 1000
"""Requests in flight on one replica; what the engine cannot take at once waits in its own queue."""


def build(folder: ModelFolder, serve: ServeConfig, name: str, gpu: bool, engine: type | None = None) -> Any:
    """The Serve application for `folder` under the model name `name`.

    Args:
        engine: class with the engine's interface, in place of vLLM.
    """
    config = llm_config(folder, serve, name, gpu)
    server = build_llm_deployment(config, deployment_cls=Server, bind_kwargs={"engine_cls": engine or Engine})
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    ingress: Any = ray_serve.deployment(
        Ingress,
        name="Ingress",
        num_replicas=serve.num_replicas,
        max_ongoing_requests=MAX_ONGOING * 10,
        max_surge_percent=100,
        ray_actor_options={"num_cpus": 0},  # it only passes requests on; two logical CPUs must hold the whole app
        logging_config=quiet,
    )
    return ingress.bind(server, model_cards(folder, serve, name), serve.request_timeout_s)


def llm_config(folder: ModelFolder, serve: ServeConfig, name: str, gpu: bool) -> LLMConfig:
    """What `ray.serve.llm` is told."""
    kwargs = {"max_num_seqs": serve.max_num_seqs, **_memory(serve, gpu), **_numbers(folder, gpu)}
    kwargs["max_model_len"] = serve.max_model_len or AS_LONG_AS_FITS
    if folder.is_adapter:
        kwargs |= adapter_kwargs(folder, name)
    return LLMConfig(
        model_loading_config={
            "model_id": base_name(name) if folder.is_adapter else name,
            "model_source": folder.base if folder.is_adapter else str(folder.path.absolute()),
        },
        engine_kwargs={**kwargs, **serve.engine_kwargs},
        placement_group_config=None if gpu else {"bundles": [{"CPU": 1}]},
        deployment_config={
            "num_replicas": serve.num_replicas,
            "max_ongoing_requests": MAX_ONGOING,
            "max_surge_percent": 100,  # an update starts the new replica before it stops the old one
            "max_constructor_retry_count": 1,  # an engine that cannot start says so at once
            "ray_actor_options": {"num_cpus": 1 if gpu else 0},  # on CPU the engine's bundle holds the one it uses
            "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
        },
        runtime_env={"env_vars": {"VLLM_LOGGING_LEVEL": os.environ["VLLM_LOGGING_LEVEL"]}},
        log_engine_metrics=True,
    )


def base_name(name: str) -> str:
    """The name under which an adapter's base answers."""
    return f"{name}-base"


def adapter_kwargs(folder: ModelFolder, name: str) -> dict[str, Any]:
    """How vLLM is told to load the adapter, with the tokenizer and template that it was trained with."""
    from vllm.entrypoints.openai.models.protocol import LoRAModulePath

    path = str(folder.path.absolute())
    kwargs: dict[str, Any] = {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": _lora_rank(folder),
        "lora_modules": [LoRAModulePath(name=name, path=path, base_model_name=base_name(name))],
        "tokenizer": path,
    }
    if (folder.path / "generation_config.json").exists():
        kwargs["generation_config"] = path
    return kwargs


def _lora_rank(folder: ModelFolder) -> int:
    adapter = json.loads((folder.path / "adapter_config.json").read_text())
    unsupported = [key for key in ("modules_to_save", "use_dora") if adapter.get(key)]
    if unsupported:
        raise ModelFolderError(
            f"{folder.path}: the adapter uses {' and '.join(unsupported)}, which vLLM cannot serve; expected plain LoRA. "
            "Merge it into its base and serve the merged folder"
        )
    found = max([adapter["r"], *(adapter.get("rank_pattern") or {}).values()])
    if found > LORA_RANKS[-1]:
        raise ModelFolderError(
            f"{folder.path}: the adapter has rank {found}, and vLLM serves at most {LORA_RANKS[-1]}; train a smaller one"
        )
    return next(rank for rank in LORA_RANKS if rank >= found)


def _memory(serve: ServeConfig, gpu: bool) -> dict[str, Any]:
    return {} if gpu else {"kv_cache_memory_bytes": int(serve.kv_cache_gib * 2**30)}


def _numbers(folder: ModelFolder, gpu: bool) -> dict[str, Any]:
    """On CPU the number format that the folder holds: vLLM's `auto` would round float32 weights to bfloat16."""
    if gpu:
        return {"dtype": "auto"}
    import torch
    from transformers import AutoConfig

    held = AutoConfig.from_pretrained(folder.base or folder.path).dtype
    return {"dtype": "bfloat16" if held == torch.bfloat16 and cpu_has_bf16() else "float32"}


def model_cards(folder: ModelFolder, serve: ServeConfig, name: str) -> list[dict[str, Any]]:
    """What `/v1/models` lists: the model, and behind an adapter its base."""
    known = {
        "kind": folder.kind,
        "max_model_len": serve.max_model_len,
        "system": folder.config.data.system if folder.config else None,
    }
    card = model_card(folder, name, known, parent=base_name(name) if folder.is_adapter else None)
    if not folder.is_adapter:
        return [card]
    return [card, {**card, "id": base_name(name), "root": Path(str(folder.base)).name, "parent": None}]
