"""The DeepSpeed engine: one way to take a step under every ZeRO stage.

DeepSpeed averages gradients over workers; the engine here undoes that average, so that the gradient of a step is
the sum over all units (tokens, rows) of the global batch divided by their number, as one process would compute it.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cluster.config import RunConfig
from cluster.config.deepspeed import resolve_deepspeed
from trainers.precision import computes_in_bf16
from trainers.schedule import learning_rate_factor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD_NAMES = ("classifier", "score")


def deepspeed_config(config: RunConfig, num_workers: int) -> dict[str, Any]:
    """The JSON given to DeepSpeed: the preset, and what `train:` says about batches, clipping and precision."""
    settings = resolve_deepspeed(config.train.deepspeed, num_workers)
    stage = settings.get("zero_optimization", {}).get("stage", 0)
    settings |= {
        "train_micro_batch_size_per_gpu": config.train.per_device_train_batch_size,
        "gradient_accumulation_steps": config.accumulation_steps,
        "gradient_clipping": config.train.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        # torch's AdamW steps on the CPU as well; DeepSpeed's own needs a compiler that knows the processor
        "zero_force_ds_cpu_optimizer": torch.cuda.is_available(),
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }
    if computes_in_bf16(config):
        # ZeRO 1 to 3 keep bf16 weights beside sharded float32 masters. Without sharding, and on CPUs where bf16
        # weights save nothing, float32 weights under autocast are the same arithmetic with one copy less.
        if stage and torch.cuda.is_available():
            settings["bf16"] = {"enabled": True}
        else:
            settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    if stage and not torch.cuda.is_available():
        for part in ("offload_optimizer", "offload_param"):
            if part in settings["zero_optimization"]:
                settings["zero_optimization"] = settings["zero_optimization"] | {part: {"device": "cpu"}}
    return settings


def parameter_groups(model: PreTrainedModel, config: RunConfig) -> list[dict[str, Any]]:
    """Trainable parameters by weight decay (none on biases and norms) and peak rate (a fresh head may have its own)."""
    train = config.train
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_head = any(part in HEAD_NAMES for part in name.split("."))
        rate = train.head_learning_rate or train.learning_rate if is_head else train.learning_rate
        numel_dims = len(getattr(parameter, "ds_shape", parameter.shape))
        decay = train.weight_decay if numel_dims > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "peak_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def build_optimizer(model: PreTrainedModel, config: RunConfig, offloads: bool) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; DeepSpeed's CPU version where a GPU run offloads its optimizer."""
    train = config.train
    groups = parameter_groups(model, config)
    arguments: dict[str, Any] = {"betas": (train.adam_beta1, train.adam_beta2), "eps": train.adam_epsilon}
    if offloads and torch.cuda.is_available():
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(groups, adamw_mode=True, **arguments)
    return torch.optim.AdamW(groups, fused=True, **arguments)  # one pass over memory instead of one per operation


def skip_what_cannot_be_built() -> None:
    """DeepSpeed compiles a shared-memory collective at its first use on CPUs and fails where the compiler or
    Python's headers are missing (Debian has them in python3-dev). Gloo does the same work, slower."""
    from deepspeed import ops

    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    if not (headers.is_file() and shutil.which("ninja") and shutil.which(os.environ.get("CXX", "c++"))):
        ops.__compatible_ops__["deepspeed_shm_comm"] = False


class Engine:
    """DeepSpeed's engine, seen from the loop: step over a list of micro-batches, read and set full state."""

    def __init__(self, model: PreTrainedModel, config: RunConfig, num_workers: int, total_steps: int) -> None:
        import deepspeed

        self.config, self.num_workers, self.total_steps = config, num_workers, total_steps
        if config.train.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            if any(not parameter.requires_grad for parameter in model.parameters()):
                model.enable_input_require_grads()
        settings = deepspeed_config(config, num_workers)
        zero = settings.get("zero_optimization", {})
        self.stage = int(zero.get("stage", 0))
        optimizer = build_optimizer(model, config, "offload_optimizer" in zero)
        skip_what_cannot_be_built()
        self.deepspeed, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
        self.device = self.deepspeed.device
        if num_workers == 1 and self.stage == 0:
            self.deepspeed.enable_backward_allreduce = False  # an average over one worker copies every gradient twice

    @property
    def module(self) -> PreTrainedModel:
        return self.deepspeed.module

    @property
    def torch_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that holds the state: DeepSpeed's ZeRO wrappers carry it inside."""
        return getattr(self.deepspeed.optimizer, "optimizer", self.deepspeed.optimizer)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.deepspeed.optimizer.param_groups

    def trainable(self) -> Iterable[tuple[str, torch.nn.Parameter]]:
        """Trainable parameters by name, in the same order on every worker."""
        return ((name, part) for name, part in self.module.named_parameters() if part.requires_grad)

    def set_learning_rate(self, step: int) -> float:
        """Set every group's rate for optimizer step `step` (0-based); returns the first group's."""
        train = self.config.train
        factor = learning_rate_factor(step, self.total_steps, train.warmup_ratio, train.lr_scheduler_type)
        for group in self.param_groups:
            group["lr"] = group["peak_lr"] * factor
        return self.param_groups[0]["lr"]

    def backward(self, loss_sum: torch.Tensor, global_units: float) -> None:
        """Add the gradient of `loss_sum / global_units`, as part of the average over workers that DeepSpeed takes."""
        self.deepspeed.backward(loss_sum * (self.num_workers / (global_units or 1.0)), scale_wrt_gas=False)
        self.deepspeed.step()

    def gradient_norm(self) -> float | None:
        """Global gradient norm of the last step before clipping; None where DeepSpeed does not compute it."""
        norm = self.deepspeed.get_global_grad_norm()
        return None if norm is None else float(norm)

    def close(self) -> None:
        """Free what the engine holds; a process may build another one after it."""
        self.deepspeed.destroy()
