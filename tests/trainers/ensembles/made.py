"""Tiny ensembles made without training: folders with fresh weights, and an `ensemble.json` over them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.serving.tiny_models import tiny_causal_folder, tiny_classifier_folder
from trainers.ensembles.folder import EnsembleFolder, folder_fingerprint, weight_bytes
from trainers.ensembles.spec import EnsembleSpec, Member
from trainers.folder import ModelFolder


def ensemble_of(path: Path, members: Sequence[ModelFolder], rule: str, parameters: dict[str, Any]) -> EnsembleFolder:
    """A folder that names its members where they lie."""
    path.mkdir(parents=True)
    made = [Member(one.path.name, str(one.path), folder_fingerprint(one), weight_bytes(one)) for one in members]
    EnsembleSpec(members[0].kind, members[0].labels, made, rule, parameters).write(path)
    for name in (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "generation_config.json",
    ):
        if (members[0].path / name).exists():
            shutil.copy(members[0].path / name, path / name)
    folder = ModelFolder.open(path)
    assert isinstance(folder, EnsembleFolder)
    return folder


def classifiers(path: Path, count: int = 3) -> list[ModelFolder]:
    """Classifiers that differ in their weights."""
    return [ModelFolder.open(tiny_classifier_folder(path / f"member-{seed}", seed)) for seed in range(count)]


def causal_models(path: Path, count: int = 3) -> list[ModelFolder]:
    """Causal models that differ in their weights."""
    return [ModelFolder.open(tiny_causal_folder(path / f"writer-{seed}", seed)) for seed in range(count)]
