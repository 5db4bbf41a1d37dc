"""Small groups of real processes that train together over gloo, without Ray: for proofs about arithmetic."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

from cluster.config import RunConfig
from cluster.session import private_folder


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_group(body: Callable[..., Any], num_workers: int, folder: Path, *arguments: Any) -> list[Any]:
    """Run `body(rank, num_workers, *arguments)` in that many processes of one gloo group; returns what each returned."""
    multiprocessing.start_processes(
        _member,
        args=(num_workers, free_port(), folder, body, arguments),
        nprocs=num_workers,
        start_method="spawn",
    )
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(num_workers)]


def _member(  # noqa: PLR0917 - torch.multiprocessing passes them by position
    rank: int, num_workers: int, port: int, folder: Path, body: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(private_folder() / "torch_extensions"))
    os.environ["PATH"] = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"  # ninja
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(num_workers),
    )
    torch.set_num_threads(1)
    from deepspeed.utils import logger

    logger.setLevel("ERROR")
    dist.init_process_group("gloo")
    torch.save(body(rank, num_workers, *arguments), folder / f"rank-{rank}.pt")
    dist.barrier()
    os._exit(0)  # DeepSpeed's threads may outlive the group and abort an orderly exit


def tiny_config(num_workers: int, **train: Any) -> RunConfig:
    """A run over 8 sequences a step with settings that make mistakes show: decay, clipping, a rate that changes."""
    settings = {
        "per_device_train_batch_size": 2,
        "global_batch_size": 8,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "warmup_ratio": 0.0,
        "max_grad_norm": 0.5,
        "bf16": False,
        **train,
    }
    return RunConfig.model_validate(
        {
            "name": "tiny",
            "model": {"kind": "scratch", "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1},
            "data": {"train": "unused.jsonl"},
            "train": settings,
            "cluster": {"num_workers": num_workers},
        }
    )


def tiny_llama(attention: str = "sdpa", vocabulary: int = 96) -> Any:
    """A two-layer Llama of some twenty thousand parameters, the same in every process."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=vocabulary,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    shape._attn_implementation = attention
    return LlamaForCausalLM(shape)


def tokens_of_step(step: int, rows: int = 8, length: int = 24) -> dict[str, torch.Tensor]:
    """One global batch; rows carry different numbers of loss tokens, so that an average of averages is wrong."""
    generator = torch.Generator().manual_seed(1000 + step)
    ids = torch.randint(0, 96, (rows, length), generator=generator)
    labels = ids.clone()
    for row in range(rows):
        labels[row, : 2 + 2 * row] = -100
    return {"input_ids": ids, "position_ids": torch.arange(length).expand(rows, length), "labels": labels}
