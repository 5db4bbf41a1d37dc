"""Weights that are cut over the workers while they are read, so that no worker ever holds the whole model (ZeRO-3)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cluster.config import Pretrained, RunConfig

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def cut_while_read(config: RunConfig, num_workers: int) -> Iterator[None]:
    """Inside the block `from_pretrained` cuts each layer over the workers as it is read, where the run is under ZeRO-3.

    transformers asks a live `HfDeepSpeedConfig` whether to build modules inside `deepspeed.zero.Init`; rank 0 reads
    the values and the others receive their share. Models built from scratch are small and built whole.
    """
    from trainers.engine import deepspeed_config

    settings = deepspeed_config(config, num_workers)
    stage = settings.get("zero_optimization", {}).get("stage", 0)
    if stage != 3 or not isinstance(config.model, Pretrained):
        yield
        return
    import deepspeed
    from transformers.integrations import HfDeepSpeedConfig

    deepspeed.init_distributed()
    keeper = HfDeepSpeedConfig(settings)
    try:
        yield
    finally:
        del keeper  # transformers holds it by a weak reference


@contextlib.contextmanager
def whole(parameters: Iterable[torch.nn.Parameter]) -> Iterator[None]:
    """Inside the block parameters that are cut over the workers are whole; what every worker writes is kept. Collective."""
    cut = [part for part in parameters if hasattr(part, "ds_id")]
    if not cut:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(cut, modifier_rank=0):
        yield


def num_elements(parameter: torch.nn.Parameter) -> int:
    """Elements of a parameter, all of them where a worker holds only a part."""
    return getattr(parameter, "ds_numel", parameter.numel())
