"""From the best checkpoint to a model folder.

A checkpoint holds whole float32 tensors, so no worker and no engine is needed: one process rebuilds the model, puts the
trained weights in, and writes Hugging Face layout.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cluster.config import Pretrained, RunConfig
from cluster.config.load import dump_config
from cluster.storage import Storage
from trainers.checkpoint import Checkpoint, Checkpoints
from trainers.data.store import Prepared
from trainers.data.template import end_of_turn_ids, rendering_fingerprint
from trainers.precision import computes_in_bf16

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODEL = "model"
PACKAGES = ("torch", "transformers", "peft", "deepspeed", "ray", "datasets", "tokenizers", "safetensors")


def export(
    config: RunConfig, run_url: str, prepared_url: str, step: int, metrics: Mapping[str, Any], *, name: str = MODEL
) -> str:
    """Write the model folder of a run from the checkpoint of `step`.

    Args:
        name: of the folder in the run directory.

    Returns:
        Path or URL of the folder, which appears whole or not at all where the storage is local.
    """
    from transformers import AutoTokenizer

    from trainers.run import TOKENIZER

    run, prepared = Storage.open(run_url), Prepared.open(prepared_url)
    tokenizer = AutoTokenizer.from_pretrained(run.local_folder(TOKENIZER))
    with tempfile.TemporaryDirectory(prefix="mobula-export-") as temporary:
        folder = Path(temporary)
        checkpoint = Checkpoints(run.child("checkpoints"), prepared.fingerprint).load(step)
        checkpoint.verify()
        _write_weights(config, checkpoint, prepared.labels, tokenizer, folder)
        tokenizer.save_pretrained(folder)
        (folder / "run.yaml").write_text(dump_config(config))
        (folder / "metrics.json").write_text(json.dumps(dict(metrics), indent=2) + "\n")
        (folder / "lineage.json").write_text(json.dumps(lineage(config, prepared, tokenizer, step), indent=2) + "\n")
        run.upload_folder(folder, name)
    return run.place(name)


def _write_weights(
    config: RunConfig, checkpoint: Checkpoint, labels: list[str], tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    import torch

    from trainers.adaptations import build_adaptation
    from trainers.models import load_model
    from trainers.state import load_weights

    dtype = torch.bfloat16 if computes_in_bf16(config) else torch.float32
    base = load_model(config, tokenizer, labels)
    adaptation = build_adaptation(config)
    if adaptation.is_adapter and not isinstance(config.model, Pretrained):
        cast(torch.nn.Module, base).to(dtype)
        base.save_pretrained(folder / "base", safe_serialization=True)  # it exists nowhere else
        tokenizer.save_pretrained(folder / "base")
        base.float()
    model = adaptation.apply(base)
    load_weights(model, checkpoint.tensors)
    _set_generation_defaults(base, tokenizer)
    adaptation.save(model, folder, dtype)
    if base.can_generate():
        base.generation_config.save_pretrained(folder)


def _set_generation_defaults(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the model stop where its template ends a turn, and use its cache again."""
    model.config.use_cache = True
    generation = getattr(model, "generation_config", None)
    if generation is None:
        return
    known = generation.eos_token_id
    ends = known if isinstance(known, list) else [] if known is None else [known]
    generation.eos_token_id = list(dict.fromkeys([tokenizer.eos_token_id, *end_of_turn_ids(tokenizer), *ends]))
    if generation.pad_token_id is None:
        generation.pad_token_id = tokenizer.pad_token_id
    generation.use_cache = True


def lineage(config: RunConfig, prepared: Prepared, tokenizer: PreTrainedTokenizerBase, step: int) -> dict[str, Any]:
    """Where a model comes from: data, parent, code and environment."""
    return {
        "name": config.name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "parent": config.model.name_or_path if isinstance(config.model, Pretrained) else None,
        "data": {"fingerprint": prepared.fingerprint, "report": prepared.report, "inputs": prepared.inputs},
        "labels": prepared.labels,
        "rendering": rendering_fingerprint(tokenizer),
        "seed": config.train.seed,
        "num_workers": config.cluster.num_workers,
        "code": {"mobula": _mobula_version(), "commit": _commit()},
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "accelerator": _accelerator(),
            **{name: version(name) for name in PACKAGES},
        },
    }


def _mobula_version() -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        return version("mobula")
    except PackageNotFoundError:  # run from a working_dir, without an install step
        return "uninstalled"


def _accelerator() -> str | None:
    """The GPU of this machine, where it has one."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _commit() -> str | None:
    """Commit of the code, where it is a git checkout."""
    if shutil.which("git") is None:
        return None
    here = Path(__file__).parent
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None
