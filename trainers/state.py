"""Full training state, parameter by parameter: independent of worker count and ZeRO stage, and free of pickle.

DeepSpeed's own checkpoints are pickles cut for one worker count. Its public accessors (`safe_get_full_*`,
`safe_set_full_*`) give whole tensors instead, one parameter at a time, under every stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from trainers.sharding import num_elements, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from trainers.engine import Engine

WEIGHT = "weight"
MOMENTS = ("exp_avg", "exp_avg_sq")


def state_key(part: str, name: str) -> str:
    """Name of one tensor in a checkpoint: `exp_avg/model.embed_tokens.weight`."""
    return f"{part}/{name}"


def full_state(engine: Engine) -> Iterator[tuple[int, str, torch.Tensor]]:
    """Yield (owner rank, key, float32 tensor on the CPU) for weights and optimizer moments.

    Collective: every worker iterates all of it; the owner is the one that is to write the tensor. Owners take
    turns by size, so that no worker writes much more than another.
    """
    _link_moments(engine)
    written = [0] * engine.num_workers
    for name, parameter in engine.trainable():
        owner = written.index(min(written))
        written[owner] += num_elements(parameter)
        for part in (WEIGHT, *MOMENTS):
            tensor = _read(engine, parameter, part)
            if tensor is not None:
                yield owner, state_key(part, name), tensor.detach().to("cpu", torch.float32).contiguous()


def _read(engine: Engine, parameter: torch.nn.Parameter, part: str) -> torch.Tensor | None:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    if engine.stage == 0:
        return parameter if part == WEIGHT else engine.torch_optimizer.state[parameter].get(part)
    if part == WEIGHT:
        return safe_get_full_fp32_param(parameter)
    return safe_get_full_optimizer_state(parameter, part)


def first_moment(engine: Engine, parameter: torch.nn.Parameter) -> torch.Tensor:
    """Adam's running mean of the gradient of one parameter, whole. Collective."""
    _link_moments(engine)
    moment = _read(engine, parameter, MOMENTS[0])
    assert moment is not None
    return moment


def load_weights(model: PreTrainedModel, state: Mapping[str, torch.Tensor]) -> None:
    """Copy the trained weights of a checkpoint into a model that no engine has wrapped yet."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            key = state_key(WEIGHT, name)
            if key in state:
                with whole([parameter]):
                    parameter.copy_(state[key])


def load_optimizer(engine: Engine, state: Mapping[str, torch.Tensor], step: int) -> None:
    """Give the engine the float32 masters, moments and step count of a checkpoint. Collective."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    _allocate_moments(engine, step)
    _link_moments(engine)
    for name, parameter in engine.trainable():
        for part in (WEIGHT, *MOMENTS):
            value = state[state_key(part, name)].to(engine.device)
            if engine.stage == 0:
                target = parameter.data if part == WEIGHT else engine.torch_optimizer.state[parameter][part]
                target.copy_(value)
            elif part == WEIGHT:
                safe_set_full_fp32_param(parameter, value)
            else:
                safe_set_full_optimizer_state(parameter, value, part)


def _link_moments(engine: Engine) -> None:
    """Let DeepSpeed's accessors see the moments of every parameter group.

    ZeRO 1 and 2 of DeepSpeed 0.19.8 link them once, right after the first group's first step, when the other
    groups have none yet.
    """
    optimizer = engine.deepspeed.optimizer
    if engine.stage in (1, 2):
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()


def _masters(engine: Engine) -> list[torch.Tensor]:
    """The tensors that the optimizer steps on: parameters, or this worker's flat float32 partitions of them."""
    optimizer = engine.deepspeed.optimizer
    if engine.stage == 0:
        return [parameter for _, parameter in engine.trainable()]
    return optimizer.fp32_partitioned_groups_flat if engine.stage == 3 else optimizer.single_partition_of_fp32_groups


def _allocate_moments(engine: Engine, step: int) -> None:
    """Make the state that the optimizer would make at its first step, with the step count of the checkpoint."""
    optimizer = engine.torch_optimizer
    counts_in_tensor = type(optimizer) is torch.optim.AdamW  # DeepSpeed's CPU version counts in an int
    for master in _masters(engine):
        count = torch.tensor(float(step), device=master.device) if counts_in_tensor else step  # as fused AdamW wants it
        optimizer.state[master] = {"step": count} | {part: torch.zeros_like(master.data) for part in MOMENTS}
