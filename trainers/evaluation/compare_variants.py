"""Trains the variants of a run and scores them on the same rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from cluster.config import EvaluateConfig, RunConfig
from cluster.config.data import AnySource
from cluster.storage import Storage
from trainers.evaluation.compare import Side
from trainers.evaluation.evaluate import How, evaluate_subject
from trainers.evaluation.subjects import FolderSubject
from trainers.folder import ModelFolder

logger = logging.getLogger(__name__)

Train = Callable[[RunConfig], str]
"""Trains a config to its end; where its model folder lies."""


def score_variants(
    variants: Mapping[str, Sequence[RunConfig]],
    data: Sequence[AnySource],
    evaluate: EvaluateConfig,
    *,
    slices: Sequence[str] = (),
    fresh: bool = False,
    train: Train | None = None,
) -> list[Side]:
    """Train each variant with each of its seeds, and score them, on the connected Ray cluster.

    Every training is a run of its own, kept like any other: a comparison that was stopped goes on where it stood.

    Args:
        variants: name -> a config for each seed.
        train: default `trainers.fit.fit`.
    """
    train = train or _fit
    sides = []
    for name, configs in variants.items():
        results = []
        for config in configs:
            logger.warning("%s: variant %s, seed %d", config.name, name, config.train.seed)
            storage = Storage.open(train(config))
            subject = FolderSubject(ModelFolder.open(storage.local_folder()), config.name)
            how = How(config.cluster.storage_path, fresh, "compare")
            results.append(evaluate_subject(subject, data, evaluate, slices=slices or evaluate.slices, how=how))
        seeds = tuple(config.train.seed for config in configs)
        sides.append(Side(name, results, [config.name for config in configs], seeds))
    return sides


def _fit(config: RunConfig) -> str:
    from trainers.fit import fit

    return fit(config).model_path
