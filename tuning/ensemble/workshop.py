"""What building an ensemble works with: its run directory, the rows, and members' answers to them, made once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cluster.config import EvaluateConfig
from cluster.config.ensemble import EnsembleConfig
from cluster.runs import RunDirectory
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.rows import Rows
from trainers.folder import ModelFolder
from tuning.ensemble.members import Candidate
from tuning.ensemble.rows import Specs, test_rows, validation_rows
from tuning.ensemble.votes import Votes, votes_of


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where one ensemble is built. Ray must be initialised.

    Attributes:
        run: the ensemble's run directory.
    """

    run: RunDirectory

    @property
    def settings(self) -> EnsembleConfig:
        """The `ensemble:` section."""
        return self.run.config.ensemble or EnsembleConfig()

    @property
    def storage_path(self) -> str:
        """Where evaluations are kept."""
        return self.run.config.cluster.storage_path

    @property
    def evaluate(self) -> EvaluateConfig:
        """How members are scored; rows that picked a checkpoint may be looked at here, as nothing is claimed of them."""
        return self.run.config.evaluate.model_copy(update={"seen_rows": "flag"})

    @cached_property
    def validation(self) -> Specs:
        """Rows to choose on."""
        return validation_rows(self.run.config, self.run.storage)

    @cached_property
    def test(self) -> Specs:
        """Rows that nothing is chosen on; may be empty."""
        return test_rows(self.run.config)

    def answers(self, folder: ModelFolder, rows: Specs) -> list[Prediction]:
        """A model's predictions, from storage where they were made before."""
        from trainers.evaluation.evaluate import predictions_of
        from trainers.evaluation.subjects import FolderSubject

        found, _ = predictions_of(FolderSubject(folder), rows, self.evaluate, self.storage_path)
        return list(found.values())

    def votes(self, candidates: Sequence[Candidate], rows: Specs) -> Votes:
        """What classifiers say of rows."""
        answers = [self.answers(one.folder, rows) for one in candidates]
        return votes_of(answers, [one.folder.labels for one in candidates])

    def result(self, name: str, predictions: Sequence[Prediction], folder: ModelFolder) -> EvaluationResult:
        """Figures of predictions."""
        from trainers.evaluation.figures import summarise
        from trainers.evaluation.fingerprint import data_fingerprint

        rows = Rows(list(predictions), folder.labels)
        found = summarise(folder.kind, rows, self.evaluate)
        return dataclasses.replace(found, subject=name, data_fingerprint=data_fingerprint(rows.predictions))


def mean_latency(predictions: Sequence[Prediction]) -> float | None:
    """Seconds of the batches that rows were in, on average; None where they were not measured."""
    known = [one.latency_s for one in predictions if one.latency_s is not None]
    return float(np.mean(known)) if known else None


def mean_loss(predictions: Sequence[Prediction]) -> float:
    """Loss of a token (or row), over all of them; infinite where nothing carries any."""
    units = sum(one.loss_units for one in predictions)
    return sum(one.loss_sum for one in predictions) / units if units else float("inf")
