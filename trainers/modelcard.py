"""The model card: `README.md` of a model folder, as the Hugging Face Hub reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cluster.config import Classification, Lora, Pretrained, RunConfig

CARD = "README.md"
NAMES = {
    "test_accuracy": "accuracy",
    "test_macro_f1": "f1",
    "test_exact_match": "exact_match",
    "test_loss": "loss",
    "eval_accuracy": "accuracy",
    "eval_loss": "loss",
}
"""Our metrics -> those of the Hub."""


def model_card(config: RunConfig, metrics: Mapping[str, Any], lineage: Mapping[str, Any]) -> str:
    """The card of the model that a run made."""
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(config, metrics), sort_keys=False)}---",
        f"# {config.name}",
        _summary(config),
        "## Scores",
        markdown_table(["metric", "value"], [[f"`{name}`", shown(value)] for name, value in metrics.items()]),
        "## How to use it",
        _usage(config),
        "## How it was trained",
        markdown_table(["setting", "value"], _settings(config)),
        "`run.yaml` in this folder holds every setting; `mobula train run.yaml` repeats the run.",
        "## Data",
        _data(lineage),
        "## Where it comes from",
        markdown_table(["", ""], _origin(lineage)),
        "## Limits",
        "The scores hold for data like that named above. Try it on your own before you rely on it.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_classifier(config: RunConfig) -> bool:
    return isinstance(config.train.objective, Classification)


def _is_adapter(config: RunConfig) -> bool:
    return isinstance(config.train.adaptation, Lora)


def _base(config: RunConfig) -> str | None:
    """Hub id of the base model; folders and packages mean nothing on the Hub."""
    if not isinstance(config.model, Pretrained):
        return None
    name = config.model.name_or_path
    return name if name.count("/") <= 1 and not name.startswith((".", "/")) and "://" not in name else None


def _front_matter(config: RunConfig, metrics: Mapping[str, Any]) -> dict[str, Any]:
    task = "text-classification" if _is_classifier(config) else "text-generation"
    found: dict[str, Any] = {
        "library_name": "peft" if _is_adapter(config) else "transformers",
        "pipeline_tag": task,
        "tags": ["mobula", config.train.objective.kind, config.train.adaptation.kind],
    }
    if base := _base(config):
        found["base_model"] = base
    results = [
        {"type": NAMES[name], "name": name, "value": round(float(value), 6)}
        for name, value in metrics.items()
        if name in NAMES
    ]
    if results:
        dataset = {"type": "private", "name": "test rows of the run"}
        found["model-index"] = [
            {"name": config.name, "results": [{"task": {"type": task}, "dataset": dataset, "metrics": results}]}
        ]
    return found


def _summary(config: RunConfig) -> str:
    what = "A text classifier" if _is_classifier(config) else "A causal language model"
    how = "a LoRA adapter on" if _is_adapter(config) else "all weights of"
    model = config.model
    base = f"`{model.name_or_path}`" if isinstance(model, Pretrained) else "a small Llama built from scratch"
    return f"{what}, fine-tuned with Mobula: {how} {base}."


def _usage(config: RunConfig) -> str:
    body: dict[str, Any]
    if _is_classifier(config):
        body, route = {"input": ["a text to classify"]}, "classify"
    else:
        body, route = {"model": config.name, "messages": [{"role": "user", "content": "Hello!"}]}, "chat/completions"
    return "\n".join(
        [
            "```bash",
            "mobula serve PATH_OF_THIS_FOLDER",
            f"curl http://127.0.0.1:{config.serve.port}/v1/{route} \\",
            f"  -H 'content-type: application/json' -d '{json.dumps(body)}'",
            "mobula evaluate PATH_OF_THIS_FOLDER --data YOUR_FILE.jsonl",
            "```",
        ]
    )


def _settings(config: RunConfig) -> list[list[str]]:
    train = config.train
    settings = {
        "objective": train.objective.model_dump(),
        "adaptation": train.adaptation.model_dump(),
        "epochs": train.num_train_epochs,
        "sequences per step": config.global_batch_size,
        "longest sequence": config.data.max_length,
        "learning rate": f"{train.learning_rate:g}, {train.lr_scheduler_type}, warm-up {train.warmup_ratio:g}",
        "workers": config.cluster.num_workers,
        "deepspeed": train.deepspeed,
        "seed": train.seed,
    }
    return [[name, value if isinstance(value, str) else f"`{json.dumps(value)}`"] for name, value in settings.items()]


def _data(lineage: Mapping[str, Any]) -> str:
    data = lineage.get("data", {})
    columns = ("rows", "tokens", "loss_tokens", "truncated_rows", "dropped_rows")
    rows = [[split, *(shown(counts.get(name)) for name in columns)] for split, counts in data.get("report", {}).items()]
    if not rows:
        return ""
    header = ["split", *(name.replace("_", " ") for name in columns)]
    return (
        f"{markdown_table(header, rows)}\n\nFingerprint of the prepared data: `{data.get('fingerprint')}`. `DATASHEET.md` "
        "in this folder tells where the rows came from and what was done to them."
    )


def _origin(lineage: Mapping[str, Any]) -> list[list[str]]:
    code, environment = lineage.get("code", {}), lineage.get("environment", {})
    rows = {
        "parent": lineage.get("parent"),
        "created": lineage.get("created_at"),
        "step": lineage.get("step"),
        "code": " ".join(str(value) for value in code.values() if value),
        "environment": ", ".join(f"{name} {version}" for name, version in environment.items()),
    }
    return [[name, str(value)] for name, value in rows.items() if value]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; nothing where there are no rows."""
    lines = [[cell.replace("|", r"\|") for cell in line] for line in (header, ["---"] * len(header), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def shown(value: Any) -> str:
    """A value in a table: numbers in few digits."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
