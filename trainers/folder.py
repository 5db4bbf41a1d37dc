"""The model folder: the one artifact that training hands to evaluation and serving.

Hugging Face layout (safetensors weights or a PEFT adapter, tokenizer, chat template, generation config) plus
`run.yaml` as resolved, `metrics.json`, `lineage.json` and `README.md`. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import yaml

from cluster.config import RunConfig
from cluster.exceptions import ModelFolderError
from trainers.models import resolve_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kind = Literal["causal_lm", "classification"]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class ModelFolder:
    """A model folder that was looked at and found whole."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> ModelFolder:
        """Check that `path` holds a model that can be evaluated and served.

        Raises:
            ModelFolderError: naming the file that is missing and what to do about it.
        """
        from trainers.ensembles.folder import EnsembleFolder, is_ensemble

        folder = EnsembleFolder(Path(path)) if is_ensemble(path) else cls(Path(path))
        folder._check()
        return folder

    def _check(self) -> None:
        if not self.path.is_dir():
            raise ModelFolderError(f"{self.path}: no such folder; expected a model folder as `mobula train` writes it")
        weights = "adapter_model.safetensors" if self.is_adapter else "*.safetensors"
        if not self.is_adapter and not (self.path / "config.json").exists():
            raise ModelFolderError(f"{self.path}: no config.json; expected a model folder as `mobula train` writes it")
        if not any(self.path.glob(weights)):
            raise ModelFolderError(
                f"{self.path}: no {weights} file; weights must be safetensors (convert others with save_pretrained)"
            )
        missing = [name for name in TOKENIZER_FILES if not (self.path / name).exists()]
        if missing:
            raise ModelFolderError(
                f"{self.path}: the tokenizer is missing ({', '.join(missing)}); copy it from the base model into the folder"
            )
        if self.kind == "causal_lm" and not self.tokenizer().chat_template:
            raise ModelFolderError(
                f"{self.path}: the tokenizer has no chat template; put the one it was trained with into "
                f"{self.path / 'chat_template.jinja'}"
            )

    @property
    def is_adapter(self) -> bool:
        """Whether the folder holds a LoRA adapter rather than whole weights."""
        return (self.path / "adapter_config.json").exists()

    @cached_property
    def base(self) -> str | None:
        """Folder or Hub id of an adapter's base model; None for whole weights."""
        if not self.is_adapter:
            return None
        carried = self.path / "base"
        return (
            str(carried)
            if carried.is_dir()
            else resolve_model(self._json("adapter_config.json")["base_model_name_or_path"])
        )

    @cached_property
    def kind(self) -> Kind:
        """What the model does with a text: continue it or classify it."""
        if self.is_adapter:
            return "classification" if self._json("adapter_config.json")["task_type"] == "SEQ_CLS" else "causal_lm"
        architectures = self._json("config.json").get("architectures") or [""]
        return "classification" if architectures[0].endswith("ForSequenceClassification") else "causal_lm"

    @cached_property
    def labels(self) -> list[str]:
        """Class names in id order; empty for causal models."""
        if self.kind != "classification":
            return []
        names = self._json("lineage.json")["labels"] if self.is_adapter else self._json("config.json")["id2label"]
        return list(names) if isinstance(names, list) else [names[key] for key in sorted(names, key=int)]

    @cached_property
    def config(self) -> RunConfig | None:
        """The resolved config of the run that made the folder, if one is carried."""
        path = self.path / "run.yaml"
        return RunConfig.model_validate(yaml.safe_load(path.read_text())) if path.exists() else None

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What the run measured on the way; empty for foreign folders."""
        return self._json("metrics.json") if (self.path / "metrics.json").exists() else {}

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """Data fingerprints, parent, code version and environment; empty for foreign folders."""
        return self._json("lineage.json") if (self.path / "lineage.json").exists() else {}

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads((self.path / name).read_text())

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer with the chat template that training used."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.path)

    def load(self, device: str = "cpu") -> PreTrainedModel:
        """The model in evaluation mode, an adapter applied to its base."""
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        auto = AutoModelForSequenceClassification if self.kind == "classification" else AutoModelForCausalLM
        extra = {"num_labels": len(self.labels)} if self.kind == "classification" and self.is_adapter else {}
        model = auto.from_pretrained(self.base or self.path, use_safetensors=True, dtype="auto", **extra)
        if self.is_adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, self.path)
        cast("torch.nn.Module", model).to(device)
        return model.eval()
