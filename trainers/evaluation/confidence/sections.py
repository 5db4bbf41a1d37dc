"""What an evaluation says of a model's confidence: sections of `EvaluationResult.sections`, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.config.confidence import CalibrationConfig
from cluster.exceptions import DataError
from trainers.evaluation.confidence.calibration import Calibration
from trainers.evaluation.confidence.calibrators import softmax
from trainers.evaluation.confidence.conformal import coverage_report
from trainers.evaluation.confidence.ood import detection, energy
from trainers.evaluation.confidence.reliability import (
    as_figures,
    bin_edges,
    bin_of,
    classwise_error,
    reliability_bins,
    statistics_of,
)
from trainers.evaluation.confidence.responses import LOWEST, MEAN, PRODUCT
from trainers.evaluation.confidence.scores import Scores, scores_of
from trainers.evaluation.confidence.selective import by_source, selective_report
from trainers.evaluation.rows import Rows

FEWEST_ROWS = 20
RESAMPLES = 1000
SIMULATED = 400
WORST_CLASSES = 10
MOST_CLASSES = 1_000_000
"""Probabilities (rows times classes) of which classes are judged one by one."""

Strangeness = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Name of an out-of-distribution score -> its values on the rows evaluated, and on rows from elsewhere."""


def report(
    rows: Rows,
    *,
    calibration: Calibration | None = None,
    config: CalibrationConfig | None = None,
    confidence: float = 0.95,
    strangeness: Strangeness | None = None,
) -> dict[str, dict[str, Any]]:
    """The sections `calibration`, `selective`, `conformal` and `ood`, as far as there is something to say.

    Args:
        calibration: what the model folder holds; rows that it was fitted on are left out, and where they are more than a
            few its figures are refused.
        confidence: of the intervals.
        strangeness: scores of the rows and of rows from elsewhere.
    """
    config = config or CalibrationConfig()
    scores = scores_of(rows)
    if scores is None or len(scores) < FEWEST_ROWS:
        return {}
    usable, refused, left_out = _usable(calibration, scores)
    judged = scores.take(np.flatnonzero(~left_out)) if usable is not None else scores
    sections = {
        "calibration": _calibration(judged, usable, config, confidence)
        | {"refused": refused, "left_out": int(left_out.sum()) if usable is not None else 0},
        "selective": _selective(rows, judged, usable, confidence),
    }
    if usable is not None and usable.conformal is not None:
        sections["conformal"] = coverage_report(
            usable.conformal, softmax(judged.logits), judged.classes, judged.labels, confidence
        )
    if strangeness:
        sections["ood"] = _ood(strangeness, confidence)
    return sections


def _usable(calibration: Calibration | None, scores: Scores) -> tuple[Calibration | None, str | None, np.ndarray]:
    """The calibration if it may be judged by these rows, why not otherwise, and the rows that it knows."""
    nothing = np.zeros(len(scores), bool)
    if calibration is None:
        return None, None, nothing
    if calibration.labels != scores.labels:
        return None, "the calibrator was fitted for other labels than these rows are scored with", nothing
    try:
        calibration.refuse_seen(scores.keys)
    except DataError as error:
        return None, str(error), nothing
    return calibration, None, calibration.seen(scores.keys)


# -- calibration ----------------------------------------------------------------------------------


def _calibration(
    scores: Scores, calibration: Calibration | None, config: CalibrationConfig, level: float
) -> dict[str, Any]:
    before = softmax(scores.logits)
    found = {"as_it_is": _probabilities(scores, before, config.bins, level)}
    if calibration is not None:
        found["calibrated"] = _probabilities(scores, calibration(scores.logits), config.bins, level)
    return {
        "n": len(scores),
        "of": "answers" if scores.is_causal else "labels",
        "accuracy": float(scores.hits.mean()),
        **found,
        "calibrator": calibration.described if calibration is not None else None,
        "words": _in_words(found),
    }


def _probabilities(scores: Scores, probabilities: np.ndarray, bins: int, level: float) -> dict[str, Any]:
    """Figures with intervals, bins, and the classes that are furthest off, of one set of probabilities."""
    from trainers.evaluation.statistics.intervals import interval_for

    sure = scores.confidence(probabilities)
    figures = {}
    for name, statistic in statistics_of(scores, probabilities, bins).items():
        interval = interval_for(statistic, confidence=level, num_resamples=RESAMPLES)
        figures[name] = {"value": statistic.value, "low": interval.low, "high": interval.high}
    found = {
        "mean_confidence": float(sure.mean()),
        "figures": figures,
        "if_calibrated": _if_calibrated(sure, figures["ece"]["value"], bins),
        "bins": as_figures(reliability_bins(sure, scores.hits, bins, "width", level)),
        "bins_equal_mass": as_figures(reliability_bins(sure, scores.hits, bins, "mass", level)),
    }
    if not scores.is_causal and probabilities.size <= MOST_CLASSES:
        found |= _classes(scores, probabilities, bins)
    return found


def _classes(scores: Scores, probabilities: np.ndarray, bins: int) -> dict[str, Any]:
    errors = classwise_error(probabilities, scores.classes, bins)
    signed = probabilities.mean(axis=0) - np.bincount(scores.classes, minlength=probabilities.shape[1]) / len(scores)
    worst = np.argsort(-errors)[:WORST_CLASSES]
    listed = [{"label": scores.labels[at], "ece": float(errors[at]), "too_sure": float(signed[at])} for at in worst]
    return {"classwise_ece": float(errors.mean()), "worst_classes": listed}


def _if_calibrated(sure: np.ndarray, found: float, bins: int, seed: int = 0) -> dict[str, float]:
    """The calibration error that chance alone would show on these rows (Broecker and Smith 2007).

    Hits are drawn with the very probabilities that the model names: `mean` and `highest` (95 % of draws are below), and how
    often chance shows at least what was found.
    """
    edges = bin_edges(sure, bins, "width")
    of_row, number = bin_of(sure, edges), len(edges) - 1
    rng = np.random.default_rng(seed)
    drawn = np.empty(SIMULATED)
    for at in range(SIMULATED):
        off = (rng.random(len(sure)) < sure) - sure
        drawn[at] = np.abs(np.bincount(of_row, weights=off, minlength=number)).sum() / len(sure)
    as_much = (1 + int((drawn >= found).sum())) / (1 + SIMULATED)
    return {"mean": float(drawn.mean()), "highest": float(np.quantile(drawn, 0.95)), "p_value": as_much}


def _in_words(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What it means, in two sentences at most."""
    before = found["as_it_is"]
    error, chance = before["figures"]["ece"]["value"], before["if_calibrated"]
    bins = before["bins"]
    over = sum(one["n"] * (one["confidence"] - one["accuracy"]) for one in bins) / sum(one["n"] for one in bins)
    if chance["p_value"] > 0.05:
        said = (
            f"The confidence is off by {error:.1%} on average, no more than chance shows on so few rows "
            f"({chance['highest']:.1%}): nothing says that it is wrong."
        )
    else:
        way = "too sure" if over > 0 else "not sure enough"
        said = f"The model is {way}: confidence is off by {error:.1%} on average, where chance alone shows {chance['mean']:.1%}."
    if "calibrated" in found:
        said += f" Calibrated, it is off by {found['calibrated']['figures']['ece']['value']:.1%}."
    return said


# -- selective prediction and strange rows --------------------------------------------------------


def _selective(rows: Rows, scores: Scores, calibration: Calibration | None, level: float) -> dict[str, Any]:
    probabilities = calibration(scores.logits) if calibration is not None else softmax(scores.logits)
    sure = scores.confidence(probabilities)
    return {
        **selective_report(sure, scores.hits, level),
        "calibrated": calibration is not None,
        "sources": by_source(_ways_to_be_sure(rows, scores, sure), scores.hits),
    }


def _ways_to_be_sure(rows: Rows, scores: Scores, sure: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of confidence by name, the greater the surer; those that not every row has are left out."""
    if scores.is_causal:
        noted = {name: rows.note(name)[scores.index] for name in (MEAN, LOWEST, PRODUCT)}
        found = {"probability": sure, **noted}
        return {name: values for name, values in found.items() if not np.isnan(values).any()}
    plain = softmax(scores.logits)
    top = np.partition(plain, -2, axis=1)[:, -2:] if plain.shape[1] > 1 else np.repeat(plain, 2, axis=1)
    entropy = -(plain * np.log(np.maximum(plain, 1e-300))).sum(axis=1)
    return {
        "probability": sure,
        "margin": top[:, 1] - top[:, 0],
        "entropy": -entropy,
        "energy": -energy(scores.logits),
    }


def _ood(strangeness: Strangeness, level: float) -> dict[str, Any]:
    inside, outside = next(iter(strangeness.values()))
    found = {name: detection(*pair, level) for name, pair in strangeness.items()}
    return {
        "rows": len(inside),
        "rows_from_elsewhere": len(outside),
        "scores": dict(sorted(found.items(), key=lambda entry: -entry[1]["auroc"])),
    }


def sentences(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The sections in a few lines, for a terminal."""
    lines = []
    if found := sections.get("calibration"):
        lines.append(found["words"])
        lines += [f"Not calibrated: {found['refused']}."] if found["refused"] else []
    if found := sections.get("selective"):
        lines += [
            f"Answering the surest {one['coverage']:.0%} would be right in {one['accuracy']:.1%} of them."
            for one in found["at_coverage"]
            if one["coverage"] == 0.8
        ]
    if found := sections.get("conformal"):
        low, high = found["interval"]
        lines.append(
            f"Sets of {found['mean_size']:.2f} labels on average hold the right one in {found['coverage']:.1%} of rows "
            f"({low:.1%} to {high:.1%}); promised are {found['promised']:.0%}."
        )
    if found := sections.get("ood"):
        name, best = next(iter(found["scores"].items()))
        lines.append(f"Rows from elsewhere are told apart by {name} with AUROC {best['auroc']:.3f}.")
    return lines
