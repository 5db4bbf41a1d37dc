"""Stages between reading rows and tokenising them: one file each, built from the settings in `data.stages`."""

from __future__ import annotations

import importlib

from cluster.config.stages import StageConfig
from trainers.data.stages.base import AnyStage, DatasetStage, RowStage, StageContext

STAGES = {
    "python": "user:User",
    "unicode": "clean.unicode:Unicode",
    "whitespace": "clean.whitespace:Whitespace",
    "boilerplate": "clean.boilerplate:Boilerplate",
    "truncated": "clean.truncated:Truncated",
    "missing": "clean.missing:Missing",
    "language": "clean.language:Language",
    "quality": "clean.quality:Quality",
    "pii": "clean.pii:Pii",
    "blocklist": "clean.blocklist:Blocklist",
    "licence": "clean.licence:Licence",
    "normalise": "clean.normalise:Normalise",
    "noise": "augment.noise:Noise",
    "synonyms": "augment.synonyms:Synonyms",
    "entity_swap": "augment.entities:EntitySwap",
    "facts": "augment.entities:Facts",
    "context": "augment.context:Context",
    "masked_lm": "augment.masked_lm:MaskedLm",
    "policy": "augment.policy:Policy",
    "generate": "augment.generate:Generate",
    "meaning_guard": "augment.meaning_guard:MeaningGuard",
    "split": "split:Split",
    "kfold": "kfold:KFold",
    "exact_duplicates": "exact_duplicates:ExactDuplicates",
    "near_duplicates": "near_duplicates:NearDuplicates",
    "leak_check": "leak_check:LeakCheck",
    "sample": "sample:Sample",
    "bootstrap": "bootstrap:Bootstrap",
    "model_loss": "model_loss:ModelLoss",
    "order": "order:Order",
    "label_errors": "label_errors:LabelErrors",
    "outliers": "outliers:Outliers",
    "relevance": "relevance:Relevance",
    "balance": "balance:Balance",
    "weights": "weights:Weights",
}
"""Kind in `data.stages` -> module in this package and class in it."""


def stage_class(kind: str) -> type[AnyStage]:
    """The class behind a kind, imported when asked for."""
    module, _, name = STAGES[kind].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def build_stage(config: StageConfig, context: StageContext) -> AnyStage:
    """The stage that a config describes."""
    return stage_class(config.kind)(config, context)  # type: ignore[attr-defined]


__all__ = ["STAGES", "AnyStage", "DatasetStage", "RowStage", "StageContext", "build_stage", "stage_class"]
