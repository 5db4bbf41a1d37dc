"""The metrics by name. Adding one is a function and a line here; a user's own is named by its import path."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from cluster.config import MetricSpec
from cluster.config.load import nearest
from cluster.exceptions import ConfigError
from trainers.evaluation.confidence import reliability
from trainers.evaluation.judge import metrics as judged
from trainers.evaluation.metrics import (
    answers,
    classification,
    code,
    dialogue,
    language_model,
    ranking,
    retrieval,
    sql,
    structured,
    summary,
    text,
    translation,
    variety,
    writing,
)
from trainers.evaluation.metrics.base import Measured, Metric, settle
from trainers.evaluation.rows import Rows

__all__ = ["METRICS", "Measured", "Metric", "find_metric", "measure"]

CLASSES, CAUSAL = ("classification",), ("causal_lm",)

METRICS: dict[str, Metric] = {
    "loss": Metric(language_model.loss, higher_is_better=False, default_for=CLASSES + CAUSAL),
    "perplexity": Metric(language_model.perplexity, higher_is_better=False, default_for=CAUSAL),
    "bits_per_byte": Metric(language_model.bits_per_byte, higher_is_better=False, default_for=CAUSAL),
    "accuracy": Metric(classification.accuracy, default_for=CLASSES),
    "macro_f1": Metric(classification.macro_f1, default_for=CLASSES),
    "balanced_accuracy": Metric(classification.balanced_accuracy),
    "precision": Metric(classification.precision),
    "recall": Metric(classification.recall),
    "f1": Metric(classification.f1),
    "per_class": Metric(classification.per_class, is_family=True),
    "mcc": Metric(classification.mcc),
    "cohen_kappa": Metric(classification.cohen_kappa),
    "confusion": Metric(classification.confusion, higher_is_better=False),
    "top_k": Metric(ranking.top_k),
    "ece": Metric(reliability.ece, higher_is_better=False),
    "brier": Metric(reliability.brier_score, higher_is_better=False),
    "roc_auc": Metric(ranking.roc_auc),
    "auc_pr": Metric(ranking.auc_pr),
    "exact_match": Metric(text.exact_match, default_for=CAUSAL),
    "json": Metric(text.json_fields, is_family=True, default_for=CAUSAL),
    "json_schema": Metric(structured.json_schema),
    "multi_label": Metric(structured.multi_label),
    "entities": Metric(structured.entities),
    "normalised_match": Metric(answers.normalised_match),
    "token_f1": Metric(answers.token_f1),
    "numeric_match": Metric(answers.numeric_match),
    "bleu": Metric(translation.bleu),
    "chrf": Metric(translation.chrf),
    "ter": Metric(translation.ter, higher_is_better=False),
    "rouge": Metric(summary.rouge, is_family=True),
    "meteor": Metric(summary.meteor),
    "embedding_similarity": Metric(summary.embedding_similarity, annotate=summary.embed),
    "retrieval": Metric(retrieval.retrieval, is_family=True),
    "code_syntax": Metric(code.code_syntax),
    "pass_at_k": Metric(code.pass_at_k, is_family=True, annotate=code.run_tests),
    "sql_execution": Metric(sql.sql_execution, annotate=sql.run_queries),
    "distinct": Metric(variety.distinct),
    "self_bleu": Metric(variety.self_bleu, higher_is_better=False),
    "repetition": Metric(variety.repetition, higher_is_better=False),
    "novelty": Metric(variety.novelty, annotate=variety.compare_with_training),
    "length": Metric(writing.length, higher_is_better=None),
    "readability": Metric(writing.readability, higher_is_better=None),
    "language": Metric(writing.language),
    "consistency": Metric(writing.consistency),
    "dialogue_success": Metric(dialogue.dialogue_success),
    "judge": Metric(judged.judge, is_family=True, default_for=CAUSAL),
    "judge_win_rate": Metric(judged.judge_win_rate, default_for=CAUSAL),
    "human_rating": Metric(judged.human_rating, default_for=CLASSES + CAUSAL),
}
"""Name -> metric."""


def find_metric(name: str) -> Metric:
    """The metric of that name, or the function at an import path (`package.module:function`).

    Raises:
        ConfigError: naming the nearest known one.
    """
    if name in METRICS:
        return METRICS[name]
    if ":" not in name:
        guess = nearest(name, METRICS)
        hint = f"did you mean {guess!r}?" if guess else f"known are {', '.join(METRICS)}"
        raise ConfigError(f"evaluate.metrics: found {name!r}, which is no metric; {hint} (or package.module:function)")
    module, _, attribute = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"evaluate.metrics: {name} cannot be imported ({error})") from error
    return found if isinstance(found, Metric) else Metric(found)


def specs_for(kind: str, named: Sequence[MetricSpec]) -> list[MetricSpec]:
    """The metrics of an evaluation: those every evaluation of this kind of model has, then those named."""
    usual = [MetricSpec(name=name) for name, metric in METRICS.items() if kind in metric.default_for]
    known = {spec.name for spec in named if spec.label is None}
    return [spec for spec in usual if spec.name not in known] + list(named)


def measure(rows: Rows, specs: Sequence[MetricSpec], left_out: dict[str, str] | None = None) -> dict[str, Measured]:
    """Every metric over rows, by the name it is shown under.

    Args:
        left_out: filled with why a metric is not defined over these rows, by its name.
    """
    return {
        one.name: one
        for spec in specs
        for one in settle(shown_name(spec), find_metric(spec.name), rows, spec.args, left_out)
    }


def shown_name(spec: MetricSpec) -> str:
    """The name that a metric is shown under, or that stands before those of its values."""
    return spec.label or spec.name.rpartition(":")[2]
