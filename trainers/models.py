"""Models by name: where their files lie and how they are built."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cluster.config import Classification, ModelConfig, Pretrained, RunConfig, Scratch
from cluster.exceptions import ConfigError, ModelFolderError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE_SCHEME = "pkg://"


def resolve_model(name_or_path: str) -> str:
    """Path or Hub id that transformers understands.

    `pkg://PACKAGE/FOLDER` becomes the folder inside the installed package; all else is returned as it is.

    Raises:
        ModelFolderError: if the package is not installed or has no such folder.
    """
    if not name_or_path.startswith(PACKAGE_SCHEME):
        return name_or_path
    package, _, inner = name_or_path.removeprefix(PACKAGE_SCHEME).partition("/")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModelFolderError(
            f"model.name_or_path={name_or_path}: the Python package {package!r} is not installed; "
            f"install it (pip install {package.replace('_', '-')}) or name a folder or Hub id"
        )
    folder = Path(next(iter(found.submodule_search_locations))) / inner
    if not (folder / "config.json").exists():
        raise ModelFolderError(
            f"model.name_or_path={name_or_path}: {folder} holds no config.json; check the folder name"
        )
    return str(folder)


def attention_implementation(wanted: str) -> str:
    """The attention kernel to ask transformers for; `auto` takes FlashAttention where it can run."""
    import torch

    if wanted != "auto":
        return wanted
    has_flash = importlib.util.find_spec("flash_attn") is not None
    return "flash_attention_2" if torch.cuda.is_available() and has_flash else "sdpa"


def load_model(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, labels: list[str], dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """Build the model that `config` names, on the CPU, with a head for `labels` if it classifies.

    Args:
        labels: class names in id order; empty for causal models.
        dtype: of the weights; float32 unless given.

    Raises:
        ModelFolderError: if there is no such model, or its weights are not safetensors.
    """
    import torch

    dtype = dtype or torch.float32
    model = (
        _from_scratch(config.model, tokenizer, len(labels), config.train.seed)
        if isinstance(config.model, Scratch)
        else _from_pretrained(config, labels, dtype)
    )
    if isinstance(config.train.objective, Classification):
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: index for index, label in enumerate(labels)}
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    cast(torch.nn.Module, model).to(dtype)
    return model


def _from_scratch(model: Scratch, tokenizer: PreTrainedTokenizerBase, num_labels: int, seed: int) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    shape = LlamaConfig(
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.num_hidden_layers,
        num_attention_heads=model.num_attention_heads,
        num_key_value_heads=model.num_key_value_heads,
        max_position_embeddings=model.max_position_embeddings,
        vocab_size=-(-len(tokenizer) // 8) * 8,
        tie_word_embeddings=model.tie_word_embeddings,
        initializer_range=model.hidden_size
        ** -0.5,  # the usual 0.02 suits widths near 2500; narrow models barely start with it
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    shape._attn_implementation = attention_implementation(model.attn_implementation)
    if num_labels:
        shape.num_labels = num_labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForSequenceClassification(shape) if num_labels else LlamaForCausalLM(shape)


def _from_pretrained(config: RunConfig, labels: list[str], dtype: torch.dtype) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    assert isinstance(config.model, Pretrained)
    path = resolve_model(config.model.name_or_path)
    auto = AutoModelForSequenceClassification if labels else AutoModelForCausalLM
    extra = {"num_labels": len(labels), "ignore_mismatched_sizes": True} if labels else {}
    try:
        with torch.random.fork_rng(devices=[]):  # a fresh head is the same on every worker
            torch.manual_seed(config.train.seed)
            return auto.from_pretrained(
                path,
                revision=config.model.revision,
                dtype=dtype,
                attn_implementation=attention_implementation(config.model.attn_implementation),
                use_safetensors=True,  # pickled weights can run code
                **extra,
            )
    except (OSError, ValueError) as error:
        raise _no_such_model(config.model, error) from error


def check_positions(config: RunConfig) -> None:
    """Refuse sequences longer than the model's positions; reads the model's config, not its weights.

    Raises:
        ConfigError: naming both lengths.
        ModelFolderError: if there is no such model.
    """
    positions = _positions(config.model)
    if positions is not None and config.data.max_length > positions:
        raise ConfigError(
            f"data.max_length={config.data.max_length} exceeds the {positions} positions of the model; "
            f"set data.max_length to {positions} or less"
        )


def _positions(model: ModelConfig) -> int | None:
    if isinstance(model, Scratch):
        return model.max_position_embeddings
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(resolve_model(model.name_or_path), revision=model.revision)
    except (OSError, ValueError) as error:
        raise _no_such_model(model, error) from error
    return getattr(found.get_text_config(), "max_position_embeddings", None)


def _no_such_model(model: Pretrained, error: Exception) -> ModelFolderError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelFolderError(
        f"model.name_or_path={model.name_or_path}: no model could be loaded ({first_line}); expected a Hub id, "
        "a folder with config.json and safetensors weights, or pkg://PACKAGE/FOLDER"
    )
