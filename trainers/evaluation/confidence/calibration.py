"""`calibration.json` in a model folder: the calibrator, the threshold of label sets, and which rows both were fitted on.

Plain numbers, never unpickled. It names the rows by hashes, so that figures on the very rows it was fitted on, which
would flatter it, are refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cluster.exceptions import DataError, ModelFolderError
from trainers.evaluation.confidence.calibrators import CALIBRATORS, Calibrator, choose, softmax
from trainers.evaluation.confidence.conformal import Conformal
from trainers.evaluation.confidence.scores import Scores

FILE = "calibration.json"
VERSION = 1
MOST_KEYS = 4096
"""Hashes of rows that are kept: the smallest ones, which are a fair sample where there are more rows."""
TOLERATED = 0.05
"""Share of evaluated rows that may also be among those fitted on: the same question asked twice. They are left out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What was fitted for one model.

    Attributes:
        calibrator: from scores to probabilities.
        labels: class names in the order of the scores.
        n: rows that it was fitted on.
        sources: where these rows lie, in the user's words.
        keys: hashes of these rows (`scores.content_key`), sorted; at most `MOST_KEYS`, the smallest.
        conformal: threshold of label sets; None where none are wanted.
        losses: cross-validated loss in nats of each calibrator that was tried.
    """

    calibrator: Calibrator
    labels: tuple[str, ...]
    n: int
    sources: tuple[str, ...]
    keys: tuple[str, ...]
    conformal: Conformal | None = None
    losses: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        scores: Scores,
        method: str = "auto",
        *,
        conformal: str = "lac",
        alpha: float = 0.1,
        sources: Iterable[str] = (),
    ) -> Calibration:
        """Fit on rows that the model neither learnt nor is tested on.

        Args:
            method: a key of `CALIBRATORS`, or `auto` for the simplest whose cross-validated loss is about the lowest.
            conformal: how label sets are chosen; `none` for none. Answers of causal models get none.

        Raises:
            DataError: for too few rows.
        """
        calibrator, losses = choose(scores.logits, scores.classes, method)
        threshold = None
        if conformal != "none" and not scores.is_causal:
            threshold = Conformal.fit(conformal, alpha, softmax(scores.logits), scores.classes)  # type: ignore[arg-type]
        keys = tuple(sorted(set(scores.keys.tolist()))[:MOST_KEYS])
        return cls(calibrator, scores.labels, len(scores), tuple(sources), keys, threshold, losses)

    @cached_property
    def fingerprint(self) -> str:
        """Of the rows that it was fitted on."""
        return hashlib.sha256("".join([str(self.n), *self.keys]).encode()).hexdigest()[:24]

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, shape (n, classes)."""
        return self.calibrator(logits)

    def seen(self, keys: Sequence[str] | np.ndarray) -> np.ndarray:
        """Which rows are known to be among those fitted on, shape (n,), bool."""
        known = set(self.keys)
        return np.array([key in known for key in keys], bool)

    def seen_share(self, keys: Sequence[str] | np.ndarray) -> float:
        """Which share of some rows is among those fitted on: exact up to `MOST_KEYS` rows, beyond that estimated."""
        asked = np.asarray(keys)
        if len(self.keys) == MOST_KEYS:  # of larger hashes nothing is known
            asked = asked[asked <= self.keys[-1]]
        return float(self.seen(asked).mean()) if len(asked) else 0.0

    def refuse_seen(self, keys: Sequence[str] | np.ndarray) -> None:
        """Refuse to be judged by rows that it was fitted on.

        Raises:
            DataError: if more than `TOLERATED` of the rows are among them.
        """
        share = self.seen_share(keys)
        if share > TOLERATED:
            where = f" ({', '.join(self.sources)})" if self.sources else ""
            raise DataError(
                f"the calibrator was fitted on {share:.0%} of these {len(keys):,} rows{where}; expected rows that it never "
                "saw, as it looks too good on its own: calibrate on validation rows (evaluate.calibration.data), or score "
                "other rows"
            )

    def as_json(self) -> dict[str, Any]:
        """What `calibration.json` holds."""
        return {
            "version": VERSION,
            "kind": self.calibrator.kind,
            "parameters": self.calibrator.parameters(),
            "labels": list(self.labels),
            "n": self.n,
            "fitted_on": {"sources": list(self.sources), "fingerprint": self.fingerprint, "keys": list(self.keys)},
            "conformal": self.conformal.as_json() if self.conformal else None,
            "cross_validated_nll": self.losses,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Calibration:
        """What `as_json` wrote; KeyError, TypeError or ValueError for anything else."""
        if values["version"] != VERSION:
            raise ValueError(f"version {values['version']}, expected {VERSION}")
        fitted = values["fitted_on"]
        return cls(
            CALIBRATORS[values["kind"]].from_parameters(values["parameters"]),
            tuple(values["labels"]),
            int(values["n"]),
            tuple(fitted["sources"]),
            tuple(fitted["keys"]),
            Conformal.from_json(values["conformal"]) if values["conformal"] else None,
            dict(values["cross_validated_nll"]),
        )

    @property
    def described(self) -> dict[str, Any]:
        """What answers and reports say of it: everything but the long lists."""
        known = self.as_json()
        fitted = {name: value for name, value in known["fitted_on"].items() if name != "keys"}
        short = known["kind"] in ("none", "temperature")
        return {
            "kind": known["kind"],
            "parameters": known["parameters"] if short else None,
            "n": self.n,
            "fitted_on": fitted,
            "conformal": known["conformal"],
            "cross_validated_nll": self.losses,
        }


def load_calibration(folder: str | Path, labels: Sequence[str]) -> Calibration | None:
    """The calibration of a model folder; None where it has none.

    Args:
        labels: the model's class names, in id order; empty for causal models.

    Raises:
        ModelFolderError: for a file that cannot be understood, or that belongs to a model with other labels.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    mend = "write it anew with `mobula evaluate --calibrate`, or remove it"
    try:
        found = Calibration.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFolderError(f"{path}: is no calibration as this version writes it ({error}); {mend}") from error
    if labels and tuple(labels) != found.labels:
        raise ModelFolderError(
            f"{path}: was fitted for {len(found.labels)} labels that are not the model's {len(labels)}; {mend}"
        )
    return found


def calibration_stamp(folder: str | Path) -> str | None:
    """Hash of a model folder's calibration; None where it has none."""
    path = Path(folder) / FILE
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24] if path.exists() else None
