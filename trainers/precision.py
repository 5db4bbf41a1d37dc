"""Which precision this machine computes in. Imports neither DeepSpeed nor transformers."""

from __future__ import annotations

from cluster.config import RunConfig


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def computes_in_bf16(config: RunConfig) -> bool:
    """Whether to compute in bfloat16: as told, else where the hardware multiplies in it."""
    import torch

    if config.train.bf16 != "auto":
        return bool(config.train.bf16)
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has_bf16()
