"""ZeRO presets by the names that files in the wild use, and the JSON they stand for."""

import difflib
import json
from pathlib import Path
from typing import Any


def _zero(stage: int, **more: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": stage, **more}}


_CPU: dict[str, Any] = {"device": "cpu", "pin_memory": True}

PRESETS: dict[str, dict[str, Any]] = {
    "zero0": _zero(0),
    "zero1": _zero(1),
    "zero1_offload": _zero(1, offload_optimizer=_CPU),
    "zero2": _zero(2),
    "zero2_offload": _zero(2, offload_optimizer=_CPU),
    "zero3": _zero(3),
    "zero3_offload": _zero(3, offload_optimizer=_CPU, offload_param=_CPU),
    "zero3_offload_optimizer": _zero(3, offload_optimizer=_CPU),
}
"""What each preset asks of DeepSpeed; batch sizes, clipping and precision come from `train:`."""

ALIASES = {
    "ds_z0": "zero0",
    "ds_z1": "zero1",
    "ds_z2": "zero2",
    "ds_z2_offload": "zero2_offload",
    "ds_z3": "zero3",
    "ds_z3_offload": "zero3_offload",
    "zero3_bf16": "zero3",
    "zero3_bf16_cpuoffload_all": "zero3_offload",
}
"""Spellings of LLaMA-Factory and Axolotl."""

OWNED_BY_TRAIN = {
    "train_batch_size": "train.global_batch_size",
    "train_micro_batch_size_per_gpu": "train.per_device_train_batch_size",
    "gradient_accumulation_steps": "train.gradient_accumulation_steps",
    "gradient_clipping": "train.max_grad_norm",
    "bf16": "train.bf16",
    "optimizer": "train.learning_rate",
    "scheduler": "train.lr_scheduler_type",
}
"""Keys of a DeepSpeed JSON that `train:` says; `auto` is accepted there, another value is not."""


def resolve_deepspeed(value: str | dict[str, Any], num_workers: int) -> dict[str, Any]:
    """The DeepSpeed JSON behind a preset name, a path or the JSON itself.

    Raises:
        ValueError: if it is none of these, or says what `train:` says.
    """
    if isinstance(value, str):
        name = ALIASES.get(value, value)
        if name == "auto":
            name = "zero0" if num_workers == 1 else "zero2"
        value = PRESETS[name] if name in PRESETS else _read_json(value)
    for key, ours in OWNED_BY_TRAIN.items():
        if key in value and not _is_auto(value[key]):
            raise ValueError(
                f"deepspeed: the key {key!r} is said by {ours}; take it out of the DeepSpeed JSON or set it to 'auto'"
            )
    return {key: part for key, part in value.items() if key not in OWNED_BY_TRAIN}


def zero_stage(value: str | dict[str, Any], num_workers: int) -> int:
    """ZeRO stage that `train.deepspeed` asks for."""
    return int(resolve_deepspeed(value, num_workers).get("zero_optimization", {}).get("stage", 0))


def _is_auto(value: Any) -> bool:
    return all(_is_auto(part) for part in value.values()) if isinstance(value, dict) else value == "auto"


def _read_json(name: str) -> dict[str, Any]:
    if not name.endswith(".json"):
        near = difflib.get_close_matches(name, [*PRESETS, *ALIASES], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"deepspeed={name!r} is no preset ({', '.join(PRESETS)}) and no .json file{hint}")
    path = Path(name)
    if not path.exists():
        raise ValueError(
            f"deepspeed={name!r}: no such file; give a path that exists or a preset ({', '.join(PRESETS)})"
        )
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"deepspeed={name!r}: line {error.lineno} is not JSON ({error.msg})") from error
    if not isinstance(found, dict):
        raise ValueError(f"deepspeed={name!r} holds {type(found).__name__}, expected a JSON object")
    return found
