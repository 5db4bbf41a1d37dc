"""The model card: `README.md` of a model folder, as the Hugging Face Hub reads it (after Mitchell et al. 2019, arXiv 1810.03993)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import EvalResult

from cluster.config import Classification, Lora, Pretrained, RunConfig
from cluster.exceptions import DataError
from trainers.card_results import eval_results, limits_seen, results_block, rows_name, with_block
from trainers.models import resolve_model
from trainers.tables_md import markdown_table, shown

if TYPE_CHECKING:
    from trainers.evaluation.result import EvaluationResult

CARD = "README.md"
EVALUATION_HEADING = "## Evaluation"
TRAINING_METRICS = ("train_loss", "eval_", "test_", "suite_")
COSTS = {
    "train_s": "training time",
    "tokens": "useful tokens seen",
    "tokens_per_s": "useful tokens a second",
    "rows_per_s": "rows scored a second",
    "output_tokens_per_s": "tokens written a second",
    "latency_p50_s": "half of the answers come within",
    "latency_p95_s": "95 of 100 answers come within",
    "peak_memory_bytes": "peak memory of one scoring worker",
    "model_bytes": "size of the weights",
}
OUT_OF_SCOPE = (
    "Decisions about people in matters such as health, law, credit or work without a person who checks each one; texts of "
    "another kind, domain or language than those it learnt from and was scored on; anything that its base model's licence "
    "or the licences of its data forbid."
)


def model_card(
    config: RunConfig,
    metrics: Mapping[str, Any],
    lineage: Mapping[str, Any],
    results: Sequence[EvaluationResult] = (),
) -> str:
    """The card of the model that a run made.

    Args:
        metrics: what the run is remembered by.
        results: what the model was scored on, the test rows first.
    """
    parts = [
        f"---\n{_front_matter(config, metrics, results).to_yaml()}\n---",
        f"# {config.name}",
        _summary(config),
        "## Intended use",
        config.card.intended_use or _task_words(config),
        "## Out of scope",
        "\n\n".join(filter(None, (config.card.out_of_scope, OUT_OF_SCOPE))),
        "## How to use it",
        _usage(config),
        EVALUATION_HEADING,
        _evaluation(config, metrics, results),
        "## Limits",
        _limits(config, results),
        "## Training data",
        _data(config, lineage),
        "## How it was trained",
        markdown_table(["setting", "value"], _settings(config)),
        "`run.yaml` in this folder holds every setting; `mobula train run.yaml` repeats the run.",
        "## What it cost",
        _cost(config, metrics, lineage, results),
        "## Licence",
        _licence(config),
        "## Where it comes from",
        markdown_table(["", ""], _origin(lineage)),
        "## Citation",
        _citation(config, lineage),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def update_card(folder: Path, result: EvaluationResult, confidence: float = 0.95) -> Path:
    """Put an evaluation into the card of a model folder: its figures take the place of those of the same rows.

    What people wrote into the card stays. A folder without a card gets a short one.

    Returns:
        Path of the card.
    """
    path = folder / CARD
    text = path.read_text(encoding="utf-8") if path.exists() else f"# {folder.absolute().name}\n"
    data, body = _parsed(path, text)
    task = "text-classification" if result.kind == "classification" else "text-generation"
    kept = [one for one in data.eval_results or [] if one.dataset_revision != rows_name(result)]
    data.model_name = data.model_name or folder.absolute().name
    data.eval_results = kept + eval_results(result, task)
    block = results_block(result, confidence)
    body = with_block(_with_place(body), block, EVALUATION_HEADING)
    path.write_text(f"---\n{data.to_yaml()}\n---\n\n{body.lstrip()}", encoding="utf-8")
    return path


def _parsed(path: Path, text: str) -> tuple[ModelCardData, str]:
    """Front matter and body of a card.

    Raises:
        DataError: if the front matter is no YAML.
    """
    try:
        card = ModelCard(text, ignore_metadata_errors=True)
    except (ValueError, yaml.YAMLError) as error:
        said = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{path}: the front matter between the two --- lines is no YAML mapping ({said}); mend it"
        ) from error
    return cast(ModelCardData, card.data), card.text


def _with_place(body: str) -> str:
    """A card of ours whose run scored nothing says so in one line, which gives way to figures."""
    return body.replace(f"\n{NOT_SCORED}\n", "\n")


NOT_SCORED = (
    "It was not scored on test rows: `mobula evaluate PATH_OF_THIS_FOLDER --data FILE --update-card` does that."
)


# -- front matter ---------------------------------------------------------------------------------


def _front_matter(config: RunConfig, metrics: Mapping[str, Any], results: Sequence[EvaluationResult]) -> ModelCardData:
    task, card = _task(config), config.card
    scored = [one for result in results for one in eval_results(result, task)]
    return ModelCardData(
        model_name=config.name,
        language=card.language or None,
        license=_license(config),
        base_model=_base(config),
        library_name="peft" if _is_adapter(config) else "transformers",
        pipeline_tag=task,
        tags=["mobula", config.train.objective.kind, config.train.adaptation.kind],
        eval_results=scored or _eval_of_training(task, metrics) or None,
    )


def _eval_of_training(task: str, metrics: Mapping[str, Any]) -> list[EvalResult]:
    """Where no rows were scored after the training, those that were scored during it."""
    return [
        EvalResult(
            task_type=task,
            dataset_type="private",
            dataset_name=f"{rows} rows of the run",
            metric_type={"macro_f1": "f1"}.get(name, name),
            metric_name=f"{prefix}{name}",
            metric_value=round(float(metrics[f"{prefix}{name}"]), 6),
        )
        for prefix, rows in (("test_", "test"), ("eval_", "validation"))
        for name in ("accuracy", "macro_f1", "exact_match", "loss")
        if f"{prefix}{name}" in metrics
    ]


def _is_classifier(config: RunConfig) -> bool:
    return isinstance(config.train.objective, Classification)


def _is_adapter(config: RunConfig) -> bool:
    return isinstance(config.train.adaptation, Lora)


def _task(config: RunConfig) -> str:
    return "text-classification" if _is_classifier(config) else "text-generation"


def _base(config: RunConfig) -> str | None:
    """Hub id of the base model; folders and packages mean nothing on the Hub."""
    if not isinstance(config.model, Pretrained):
        return None
    name = config.model.name_or_path
    return name if name.count("/") <= 1 and not name.startswith((".", "/")) and "://" not in name else None


def _license(config: RunConfig) -> str | None:
    """The licence as stated, else that of a base model that lies here and tells it in its card."""
    if config.card.license or not isinstance(config.model, Pretrained):
        return config.card.license
    path = Path(resolve_model(config.model.name_or_path), CARD)
    if not path.is_file():
        return None
    told = _parsed(path, path.read_text(encoding="utf-8", errors="replace"))[0].license
    return told if isinstance(told, str) else None


# -- sections -------------------------------------------------------------------------------------


def _summary(config: RunConfig) -> str:
    what = "A text classifier" if _is_classifier(config) else "A causal language model"
    how = "a LoRA adapter on" if _is_adapter(config) else "all weights of"
    model = config.model
    base = f"`{model.name_or_path}`" if isinstance(model, Pretrained) else "a small Llama built from scratch"
    contact = f" Contact: {config.card.contact}." if config.card.contact else ""
    return f"{what}, fine-tuned with Mobula: {how} {base}.{contact}"


def _task_words(config: RunConfig) -> str:
    if _is_classifier(config):
        return "To put texts like its training rows into the classes that `config.json` or `lineage.json` lists."
    return "To answer messages like those that it learnt from. Nobody stated a narrower use; `card.intended_use` in `run.yaml` does."


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


def _evaluation(config: RunConfig, metrics: Mapping[str, Any], results: Sequence[EvaluationResult]) -> str:
    blocks = [results_block(result, config.evaluate.confidence) for result in results]
    rows = [
        [f"`{name}`", shown(value)]
        for name, value in metrics.items()
        if name.startswith(TRAINING_METRICS) and not (results and name.startswith("test_"))
    ]
    known = markdown_table(["in the run", "value"], rows)
    return "\n\n".join(part for part in (*(blocks or [NOT_SCORED]), known) if part)


def _limits(config: RunConfig, results: Sequence[EvaluationResult]) -> str:
    told = [sentence for result in results for sentence in limits_seen(result)]
    told.append("The scores hold for data like that named above. Try it on your own before you rely on it.")
    if not _is_classifier(config):
        told.append(
            "Like every language model it can state what is false, and repeat the biases of what it learnt from."
        )
    if config.card.limits:
        told.insert(0, config.card.limits)
    return "\n".join(f"- {sentence}" for sentence in dict.fromkeys(told))


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


def _data(config: RunConfig, lineage: Mapping[str, Any]) -> str:
    data = lineage.get("data", {})
    columns = ("rows", "tokens", "loss_tokens", "truncated_rows", "dropped_rows")
    rows = [[split, *(shown(counts.get(name)) for name in columns)] for split, counts in data.get("report", {}).items()]
    header = ["split", *(name.replace("_", " ") for name in columns)]
    stages = [stage.kind for stage in config.data.stages]
    parts = [
        markdown_table(header, rows),
        f"Before training the rows went through {', '.join(stages)}." if stages else "",
        (
            f"Fingerprint of the prepared data: `{data.get('fingerprint')}`. `DATASHEET.md` in this folder tells where the rows "
            "came from and what was done to them."
        )
        if rows
        else "",
    ]
    return "\n\n".join(part for part in parts if part) or "Not recorded."


def _cost(
    config: RunConfig, metrics: Mapping[str, Any], lineage: Mapping[str, Any], results: Sequence[EvaluationResult]
) -> str:
    known = {**{name: value for result in results[:1] for name, value in result.cost.items()}, **metrics}
    rows = [[words, _with_unit(name, known[name])] for name, words in COSTS.items() if known.get(name) is not None]
    environment = lineage.get("environment", {})
    machine = environment.get("accelerator") or environment.get("machine")
    workers = f"{config.cluster.num_workers} worker{'s' if config.cluster.num_workers > 1 else ''}"
    hardware = f"{workers} on {machine}" if machine else workers
    return markdown_table(["", ""], [["trained with", hardware], *rows])


def _with_unit(name: str, value: Any) -> str:
    if name.endswith("_bytes"):
        return f"{float(value) / 2**20:,.1f} MiB"
    if name == "train_s":
        return _duration(float(value))
    if name.endswith("_s") and not name.endswith("per_s"):
        return f"{float(value):.3g} s"
    return f"{value:,.4g}" if isinstance(value, float) else shown(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _licence(config: RunConfig) -> str:
    stated, base = _license(config), _base(config)
    model = f"Of the model: `{stated}`." if stated else "Of the model: not stated."
    if isinstance(config.model, Pretrained):
        model += f" Its base model's licence holds too{f' (see https://huggingface.co/{base})' if base else ''}."
    rows = [
        [split, source.label, source.license or "not stated"]
        for split in ("train", "validation", "test")
        for source in config.data.sources(split)
    ]
    return f"{model}\n\n{markdown_table(['rows', 'source', 'licence'], rows)}"


def _origin(lineage: Mapping[str, Any]) -> list[list[str]]:
    code, environment = lineage.get("code", {}), lineage.get("environment", {})
    rows = {
        "parent": lineage.get("parent"),
        "created": lineage.get("created_at"),
        "step": lineage.get("step"),
        "code": " ".join(str(value) for value in code.values() if value),
        "environment": ", ".join(f"{name} {version}" for name, version in environment.items() if version),
    }
    return [[name, str(value)] for name, value in rows.items() if value]


def _citation(config: RunConfig, lineage: Mapping[str, Any]) -> str:
    base = _base(config)
    cite_base = f"\n\nCite its base model as well: see https://huggingface.co/{base}." if base else ""
    if config.card.citation:
        return config.card.citation + cite_base
    year = str(lineage.get("created_at", ""))[:4]
    fields = {
        "title": config.name,
        "author": " and ".join(config.card.authors),
        "year": year,
        "note": "Fine-tuned with Mobula",
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return "```bibtex\n@misc{" + config.name + ",\n" + ",\n".join(lines) + "\n}\n```" + cite_base
