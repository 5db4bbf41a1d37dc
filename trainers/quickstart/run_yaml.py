"""The `run.yaml` of the quickstart, written for people to read and change."""

import json
from pathlib import Path

from trainers.quickstart.support_desk import Files

NAME = "support-desk"
HEADER = "# Written by `mobula quickstart`."

_SCRATCH = """\
model:                        # a small Llama built from scratch, so that no download is needed;
  kind: scratch               # for a real one write  name_or_path: Qwen/Qwen3-0.6B  instead
  hidden_size: 128
  intermediate_size: 384
  num_hidden_layers: 2
  num_attention_heads: 4
  num_key_value_heads: 4
  vocab_size: 1024            # of the tokenizer that is trained on the messages
"""
_PRETRAINED = """\
model:
  name_or_path: {name}
"""
_TRAIN_SCRATCH = """\
train:
  num_train_epochs: 3
  per_device_train_batch_size: 2
  learning_rate: 1.0e-3       # small models built from scratch take high rates
  warmup_ratio: 0.05
  adam_beta2: 0.98
  deepspeed: zero2            # optimizer state and gradients are split over the workers
"""
_TRAIN_PRETRAINED = """\
train:
  adaptation: {kind: lora, rank: 16}   # trains small matrices beside the frozen weights
  num_train_epochs: 1
  per_device_train_batch_size: 4
  learning_rate: 2.0e-4
  deepspeed: zero2
"""
_REST = """\
evaluate:
  max_new_tokens: 64
  slices: [slice]             # seen / unseen sentence patterns are scored one by one as well
serve:
  port: {port}
cluster:
  num_workers: 2
  storage_path: {storage}
"""


def write_run_yaml(folder: Path, files: Files, *, model: str | None, port: int) -> Path:
    """Write `run.yaml` into `folder`: the built-in small model, or `model` with LoRA."""
    data = f"""\
data:                           # JSONL files of chat messages; paths are relative to this file
  train: {_below(folder, files.train)}
  validation: {_below(folder, files.validation)}
  test: [{_below(folder, files.test)}, {_below(folder, files.unseen)}]
  max_length: 256
"""
    parts = [
        f"{HEADER} Run it again with `mobula train {folder.name}/run.yaml`.",
        f"name: {NAME}",
        _PRETRAINED.format(name=json.dumps(model)) if model else _SCRATCH,
        data,
        _TRAIN_PRETRAINED if model else _TRAIN_SCRATCH,
        _REST.format(port=port, storage=json.dumps(str((folder / "runs").absolute()))),
    ]
    path = folder / "run.yaml"
    path.write_text("\n".join(part.rstrip("\n") for part in parts) + "\n", encoding="utf-8")
    return path


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
