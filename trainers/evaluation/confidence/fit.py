"""Fits the calibrator of a model folder on validation rows, and gathers what strange rows are told by."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cluster.config import DataConfig, EvaluateConfig
from cluster.config.data import AnySource, as_sources
from cluster.exceptions import ConfigError, DataError
from cluster.storage import Storage
from trainers.evaluation.confidence.calibration import FILE, TOLERATED, Calibration, load_calibration
from trainers.evaluation.confidence.features import see_texts
from trainers.evaluation.confidence.ood import Mahalanobis, energy, max_softmax
from trainers.evaluation.confidence.rows_of_run import drawn_rows, plain_texts, sampled, split_of, test_keys
from trainers.evaluation.confidence.scores import Scores, scores_of
from trainers.evaluation.confidence.sections import Strangeness, report
from trainers.evaluation.rows import Rows
from trainers.folder import ModelFolder

logger = logging.getLogger(__name__)

MOST_OUTSIDE, MOST_INSIDE, MOST_TRAIN = 2_000, 2_000, 5_000
"""Rows from elsewhere, rows evaluated and training rows that pass through the model once more to be told apart."""


def calibrate_folder(
    folder: ModelFolder,
    data: Sequence[str | AnySource] = (),
    evaluate: EvaluateConfig | None = None,
    *,
    scratch: Storage,
    on_progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Fit a calibrator on the run's validation rows, or on rows that are named; Ray must be connected.

    Args:
        data: rows in place of `evaluate.calibration.data` and of the run's validation rows.
        scratch: a place that every node sees, where rows may lie for a while.

    Raises:
        ConfigError: if there are no validation rows.
        DataError: for rows that the model learnt from or is tested on, and for too few rows.
    """
    from trainers.evaluation.evaluate import predict_rows
    from trainers.evaluation.subjects import FolderSubject

    evaluate = evaluate or (folder.config.evaluate if folder.config else EvaluateConfig())
    settings = evaluate.calibration
    specs, share = _rows_to_fit_on(folder, list(data) or as_sources(settings.data))
    config = folder.config.data if folder.config else DataConfig(train=specs)
    with drawn_rows(specs, config, share, settings.max_rows, scratch) as files:
        plain = evaluate.model_copy(update={"max_rows": None, "num_samples": 1, "temperature": 0.0})
        rows = predict_rows(FolderSubject(folder), files, plain, on_progress)
    names = [source.label for source in as_sources(specs)]
    scores = scores_of(rows)
    if scores is None:
        raise DataError(
            f"{', '.join(names)}: no row has both a reference and a confidence, so nothing can be calibrated; expected "
            "labelled rows"
        )
    _refuse_learnt(folder, rows, names)
    _refuse_tested(folder, scores, names)
    return Calibration.fit(scores, settings.method, conformal=settings.conformal, alpha=settings.alpha, sources=names)


def _rows_to_fit_on(folder: ModelFolder, named: Sequence[str | AnySource]) -> tuple[list[str | AnySource], float]:
    if named:
        return list(named), 1.0
    specs, share = split_of(folder.config, "validation") if folder.config else ([], 1.0)
    if not specs:
        raise ConfigError(
            f"{folder.path}: its run has no validation rows to calibrate on; set data.validation or data.val_size, or name "
            "rows that are neither trained nor tested on (evaluate.calibration.data, or --data with --calibrate)"
        )
    return specs, share


def _refuse_learnt(folder: ModelFolder, rows: Rows, names: Sequence[str]) -> None:
    """A model is surer of rows that it learnt from than of any others."""
    from trainers.evaluation.protocol.seen import MOSTLY, seen_rows

    learnt = seen_rows(folder, rows.predictions).learnt
    if learnt > MOSTLY * len(rows):
        raise DataError(
            f"{', '.join(names)}: the model learnt from {learnt:,} of these {len(rows):,} rows, of which it is surer than of "
            "others; expected rows that it never saw: calibrate on validation rows"
        )


def _refuse_tested(folder: ModelFolder, scores: Scores, names: Sequence[str]) -> None:
    """What is fitted on the test rows looks too good on them."""
    tested = test_keys(folder.config) if folder.config else set()
    shared = float(np.mean([key in tested for key in scores.keys])) if tested else 0.0
    if shared > TOLERATED:
        raise DataError(
            f"{', '.join(names)}: {shared:.0%} of these rows are test rows of the run (data.test), and a calibrator fitted on "
            "the test set looks too good on it; expected rows that are neither trained nor tested on, such as validation rows"
        )


def calibrate_run(
    folder: ModelFolder, model: Storage, evaluate: EvaluateConfig, scratch: Storage
) -> Calibration | None:
    """Calibrate the folder of a training that just ended; None, with a word in the log, where that cannot be done.

    A training that succeeded does not fail for want of a calibrator.
    """
    settings = evaluate.calibration
    fits = settings.after_training and settings.method != "none" and folder.kind == "classification"
    if not fits or not (settings.data or (folder.config and split_of(folder.config, "validation")[0])):
        return None
    try:
        calibration = calibrate_folder(folder, (), evaluate, scratch=scratch)
    except DataError as error:
        logger.warning("not calibrated: %s", error)
        return None
    write_calibration(calibration, model)
    return calibration


def write_calibration(calibration: Calibration, model: Storage) -> str:
    """Put it into a model folder; returns where it lies."""
    model.write_json(FILE, calibration.as_json())
    return model.place(FILE)


def strangeness(folder: ModelFolder, rows: Rows, evaluate: EvaluateConfig, seed: int = 0) -> Strangeness | None:
    """Out-of-distribution scores of the rows evaluated and of `evaluate.calibration.ood_data`; Ray must be connected.

    Mahalanobis distances are measured from the training rows, where their files are still there, else left out. None where
    no such data is named or the model is no classifier.

    Raises:
        DataError: for rows from elsewhere that cannot be read.
    """
    specs = evaluate.calibration.ood_data
    asked = [one.prompt for one in rows.predictions if one.prompt is not None]
    if specs is None or folder.kind != "classification" or not asked:
        return None
    outside = plain_texts(specs, folder.config.data if folder.config else DataConfig(train=specs), MOST_OUTSIDE, seed)  # type: ignore[arg-type]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(asked))[:MOST_INSIDE])
    inside = [asked[at] for at in drawn]
    train, classes = _training_rows(folder, seed)
    seen = see_texts(folder, [*inside, *outside, *train], evaluate.batch_size)
    ends = np.cumsum([len(inside), len(outside)])
    of_inside, of_outside, _ = np.split(seen.logits, ends)
    found = {
        "energy": (energy(of_inside), energy(of_outside)),
        "max_softmax": (max_softmax(of_inside), max_softmax(of_outside)),
    }
    if len(train) > len(set(classes)):
        in_features, out_features, train_features = np.split(seen.features, ends)
        distance = Mahalanobis.fit(train_features, np.asarray(classes))
        found["mahalanobis"] = (distance(in_features), distance(out_features))
    return found


def _training_rows(folder: ModelFolder, seed: int) -> tuple[list[str], list[str]]:
    if folder.config is None:
        return [], []
    try:
        found = sampled(folder.config, "train", MOST_TRAIN, seed)
    except DataError as error:
        logger.warning("no Mahalanobis distances, as the training rows cannot be read: %s", error)
        return [], []
    known = [(text, label) for text, label in zip(found.texts, found.labels, strict=True) if label is not None]
    return [text for text, _ in known], [label for _, label in known]


def confidence_sections(folder: ModelFolder | None, rows: Rows, evaluate: EvaluateConfig) -> dict[str, Any]:
    """What an evaluation says of the model's confidence, with the calibrator of its folder and rows from elsewhere."""
    calibration = load_calibration(folder.path, folder.labels) if folder is not None else None
    strange = strangeness(folder, rows, evaluate) if folder is not None else None
    return report(
        rows,
        calibration=calibration,
        config=evaluate.calibration,
        confidence=evaluate.confidence,
        strangeness=strange,
    )
