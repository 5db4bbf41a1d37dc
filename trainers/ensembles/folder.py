"""The model folder of an ensemble: `ensemble.json`, the first member's tokenizer, and the members as model folders.

It is opened, scored, registered and served like any other. Members lie in `members/`, or where `ensemble.json` says; one
that was changed since is refused, as it would no longer be the ensemble that was scored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cluster.exceptions import ModelFolderError
from trainers.ensembles.spec import ENSEMBLE, EnsembleSpec, Member
from trainers.folder import Kind, ModelFolder

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel


def is_ensemble(path: str | Path) -> bool:
    """Whether a folder holds an ensemble."""
    return (Path(path) / ENSEMBLE).exists()


@dataclasses.dataclass(frozen=True)
class DropoutFolder(ModelFolder):
    """One pass of Monte-Carlo dropout (Gal and Ghahramani 2016): a folder whose dropout stays on, drawn from a seed."""

    dropout_seed: int = 0

    def load(self, device: str = "cpu") -> PreTrainedModel:
        """The model with dropout on."""
        model = super().load(device)
        keep_dropping(model, self.dropout_seed)
        return model


def keep_dropping(model: Any, seed: int) -> None:
    """Let a model drop in evaluation mode as in training; every forward pass draws the same from the seed."""
    import torch

    found = [module for module in model.modules() if "dropout" in type(module).__name__.lower()]
    if not any(getattr(module, "p", 0.0) > 0 for module in found):
        raise ModelFolderError(
            "the model has no dropout (all its rates are 0), so Monte-Carlo dropout would give one answer only; train it with "
            "dropout, or combine several members"
        )
    for module in model.modules():
        if module in found or any("dropout" in name for name in vars(module)):  # fused attention asks its own module
            module.training = True
    model.dropout_seed = seed  # passes that share a model set it before each call
    model.register_forward_pre_hook(lambda module, _: torch.manual_seed(module.dropout_seed) and None)


@dataclasses.dataclass(frozen=True)
class EnsembleFolder(ModelFolder):
    """Several model folders that answer as one."""

    def _check(self) -> None:
        for member, folder in zip(self.spec.members, self.members, strict=True):
            if folder.kind != self.spec.kind:
                raise ModelFolderError(
                    f"{self.path}: {member.name} is a {folder.kind} model, and the ensemble is {self.spec.kind}; make it anew "
                    "with `mobula ensemble`"
                )

    @cached_property
    def spec(self) -> EnsembleSpec:
        """What `ensemble.json` says."""
        return EnsembleSpec.read(self.path)

    @property
    def is_adapter(self) -> bool:
        """Never: members may be."""
        return False

    @cached_property
    def kind(self) -> Kind:
        return cast(Kind, self.spec.kind)

    @cached_property
    def labels(self) -> list[str]:
        return list(self.spec.labels)

    @cached_property
    def members(self) -> list[ModelFolder]:
        """The members' folders, in the order of `ensemble.json`."""
        return [self._open(member) for member in self.spec.members]

    def _open(self, member: Member) -> ModelFolder:
        from cluster.storage import Storage

        is_remote = "://" in member.place
        path = Storage.open(member.place).local_folder() if is_remote else self.path / member.place
        try:
            folder = ModelFolder.open(path)
        except ModelFolderError as error:
            raise ModelFolderError(f"{self.path}: its member {member.name} cannot be opened: {error}") from error
        if folder_fingerprint(folder) != member.fingerprint:
            raise ModelFolderError(
                f"{self.path}: its member {member.name} ({path}) was changed since the ensemble was made; put its files back, "
                "or make the ensemble anew with `mobula ensemble`"
            )
        return folder if member.dropout_seed is None else DropoutFolder(folder.path, member.dropout_seed)

    def in_order(self, index: int) -> list[int]:
        """For each of the ensemble's labels, which class of a member it is."""
        names = {label: at for at, label in enumerate(self.members[index].labels)}
        return [names[label] for label in self.labels]

    @property
    def weight_bytes(self) -> int:
        """Of all members; passes of MC-dropout share theirs."""
        return sum({member.place: member.weight_bytes for member in self.spec.members}.values())

    def load(self, device: str = "cpu") -> PreTrainedModel:
        """All members in one module, whose `logits` are the logarithms of the mixed probabilities.

        Raises:
            ModelFolderError: if members have other tokenizers, so that no tokens suit all of them.
        """
        from trainers.ensembles.model import CausalEnsemble, ClassifierEnsemble

        self.check_one_tokenizer()
        build: Any = ClassifierEnsemble if self.kind == "classification" else CausalEnsemble
        return cast("PreTrainedModel", build(self, device).eval())

    @cached_property
    def has_one_tokenizer(self) -> bool:
        """Whether the same tokens suit every member."""
        return len({_tokenizer_content(folder) for folder in self.members}) == 1

    def check_one_tokenizer(self) -> None:
        """Refuse members with different tokenizers where only tokens are given."""
        if not self.has_one_tokenizer:
            raise ModelFolderError(
                f"{self.path}: its members have different tokenizers, so they cannot be given the same tokens; combine members "
                "of one base model, or use a rule that works on texts (votes, stacking, routers of classifiers)"
            )

    def combined(self, logs: np.ndarray, texts: list[str]) -> np.ndarray:
        """Probabilities, shape (rows, classes), from members' log-probabilities in the order of the ensemble's labels."""
        return self.spec.combiner(logs, texts)


def _tokenizer_content(folder: ModelFolder) -> str:
    return hashlib.sha256((folder.path / "tokenizer.json").read_bytes()).hexdigest()


def folder_fingerprint(folder: ModelFolder) -> str:
    """Hash of what decides a folder's answers, its base and its members among it."""
    from trainers.evaluation.subjects.folder import folder_content

    base = folder.base
    content = [folder_content(folder.path), folder_content(Path(base)) if base and Path(base).is_dir() else base]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def weight_bytes(folder: ModelFolder) -> int:
    """Size of a folder's weights, those of an adapter's base among them."""
    if isinstance(folder, EnsembleFolder):
        return folder.weight_bytes
    places = [folder.path]
    if folder.base and Path(folder.base).is_dir() and not Path(folder.base).is_relative_to(folder.path):
        places.append(Path(folder.base))
    return sum(path.stat().st_size for place in places for path in place.rglob("*.safetensors"))
