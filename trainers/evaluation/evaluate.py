"""From a model and data files to an `EvaluationResult`: rows stream through the model, figures follow from predictions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cluster.config import EvaluateConfig
from cluster.config.data import AnySource
from cluster.exceptions import DataError
from cluster.runs import now
from cluster.storage import Storage
from trainers.data.formats import Limits
from trainers.data.sources import Sources, locate
from trainers.evaluation.annotations import annotated, annotators
from trainers.evaluation.confidence.calibration import calibration_stamp
from trainers.evaluation.confidence.fit import confidence_sections
from trainers.evaluation.cost import cost_of
from trainers.evaluation.errors import error_section
from trainers.evaluation.figures import summarise
from trainers.evaluation.fingerprint import data_fingerprint, figures_fingerprint, predictions_fingerprint
from trainers.evaluation.judge import judged, report
from trainers.evaluation.metrics import specs_for
from trainers.evaluation.protocol.looks import describe_looks, looks_at, record_look
from trainers.evaluation.protocol.seen import refuse_selecting_files, seen_rows
from trainers.evaluation.result import EvaluationResult, Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.store import PAGE, EvaluationDirectory, Part, load
from trainers.evaluation.subjects import FolderSubject, Job, Subject
from trainers.evaluation.subjects.base import count_rows
from trainers.evaluation.subjects.vllm_answers import ANSWERS
from trainers.folder import ModelFolder

logger = logging.getLogger(__name__)

KEEP_EVERY_S = 5.0
"""Finished rows wait so long before they are written: the most that a kill can cost."""
MOST_COUNTED = 100_000
"""Rows are counted up to here, to say how many workers and which engine they are worth."""
Progress = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class How:
    """Beside the settings of the file: how one evaluation is run.

    Attributes:
        storage_path: where evaluations are kept, resumed and found again; None keeps nothing.
        fresh: do all of it anew, whatever is there.
        purpose: why the rows are looked at, for the record of looks.
        on_progress: told how many rows are done.
    """

    storage_path: str | None = None
    fresh: bool = False
    purpose: str = "evaluate"
    on_progress: Progress = lambda rows: None


def evaluate_folder(
    folder: ModelFolder,
    data: Sequence[str | AnySource],
    evaluate: EvaluateConfig | None = None,
    *,
    slices: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> EvaluationResult:
    """Score a model folder on data files, on the connected Ray cluster; nothing is kept.

    Args:
        data: files, folders, globs or URLs, as in `data.test`. Row shape, column names and system message are those
            of the run that made the folder.
        slices: columns or expressions whose values are scored one by one as well.
        on_progress: told how many rows are done, after each window.

    Raises:
        DataError: for unreadable rows, a label that training never saw, or a slice column that no row has.
    """
    how = How(on_progress=on_progress or (lambda rows: None))
    return evaluate_subject(FolderSubject(folder), data, evaluate, slices=slices, how=how)


def evaluate_subject(
    subject: Subject,
    data: Sequence[str | AnySource],
    evaluate: EvaluateConfig | None = None,
    *,
    slices: Sequence[str] = (),
    how: How | None = None,
) -> EvaluationResult:
    """Score a model on data files, on the connected Ray cluster.

    With a storage path, the same evaluation is answered from what is there, one that was interrupted goes on, and the look
    at the rows is recorded.

    Raises:
        DataError: for unreadable rows, a label that training never saw, a slice column that no row has, or rows that
            picked the model's checkpoint.
        UserError: from an endpoint that is gone; the rows done before are kept.
    """
    evaluate, how = evaluate or EvaluateConfig(), how or How()
    evaluation = _Evaluation.prepare(subject, data, evaluate, tuple(slices), how)
    known = evaluation.known()
    result = known or evaluation.run()
    return evaluation.recorded(result, is_cached=known is not None)


def predict_rows(
    subject: Subject, data: Sequence[str | AnySource], evaluate: EvaluateConfig, on_progress: Progress | None = None
) -> Rows:
    """The predictions alone, neither kept nor counted as a look: for calibration and other uses of rows that are no test."""
    found, _ = predictions_of(subject, data, evaluate, on_progress=on_progress)
    return Rows(list(found.values()), subject.labels)


def predictions_of(
    subject: Subject,
    data: Sequence[str | AnySource],
    evaluate: EvaluateConfig,
    storage_path: str | None = None,
    on_progress: Progress | None = None,
) -> tuple[dict[int, Prediction], list[Mapping[str, Any]]]:
    """Every row's prediction, by rank, and how they came about; no look is counted.

    With a storage path they are kept where `evaluate_subject` keeps them, and those that are there already are taken.
    """
    how = How(storage_path, on_progress=on_progress or (lambda rows: None))
    evaluation = _Evaluation.prepare(subject, data, evaluate.model_copy(update={"seen_rows": "flag"}), (), how)
    return evaluation.predictions()


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """One evaluation that is about to run, or was run before."""

    subject: Subject
    job: Job
    slices: tuple[str, ...]
    how: How
    fingerprint: str
    directory: EvaluationDirectory | None

    @classmethod
    def prepare(
        cls,
        subject: Subject,
        data: Sequence[str | AnySource],
        evaluate: EvaluateConfig,
        slices: tuple[str, ...],
        how: How,
    ) -> _Evaluation:
        config = subject.data_config(data)
        sources = locate(list(data), "test", limits=Limits.of(config))
        if evaluate.seen_rows == "refuse":
            refuse_selecting_files(_folder_of(subject), sources)
        fingerprint = predictions_fingerprint(subject, sources, config, evaluate)
        directory = EvaluationDirectory.of(how.storage_path, fingerprint) if how.storage_path is not None else None
        if how.fresh and directory is not None:
            directory.delete()
        job = Job(sources, config, evaluate, num_rows=0, directory=directory)
        return cls(subject, job, slices, how, fingerprint, directory)

    @property
    def evaluate(self) -> EvaluateConfig:
        return self.job.evaluate

    @property
    def figures(self) -> str:
        folder = _folder_of(self.subject)
        calibrated = calibration_stamp(folder.path) if folder is not None else None
        return figures_fingerprint(self.evaluate, self.slices, calibrated)

    def known(self) -> EvaluationResult | None:
        """The result, if it was found before and every row has its answer."""
        summary = self.directory.summary() if self.directory is not None else None
        if self.directory is None or summary is None:
            return None
        if summary.get("figures") != self.figures or summary["metrics"].get("failed_rows"):
            return None
        return load(self.directory.storage)

    def run(self) -> EvaluationResult:
        started = time.monotonic()
        predictions, facts = self.predictions()
        if self.evaluate.seen_rows == "refuse":
            seen_rows(_folder_of(self.subject), list(predictions.values())).refuse(_names(self.job.sources))
        specs = specs_for(self.subject.kind, self.evaluate.metrics)
        predictions = annotated(predictions, specs, self.directory)
        predictions, judges = judged(predictions, self.evaluate, self.directory)
        result = self._summarised(predictions, facts)
        result = dataclasses.replace(result, duration_s=time.monotonic() - started)
        result = with_sections(result, self.subject, self.evaluate)
        if self.directory is not None:
            self.directory.write_summary(result, figures=self.figures, annotators=[*annotators(specs), *judges])
            self.directory.storage.delete(ANSWERS)
        return result

    def predictions(self) -> tuple[dict[int, Prediction], list[Mapping[str, Any]]]:
        """Every row's prediction, by rank, and how they came about; only those that are not there yet are made."""
        parts = self.directory.parts() if self.directory is not None else []
        facts = [fact for part in parts for fact in part.facts]
        found = {
            order: one
            for part in parts
            for order, one in zip(part.orders, part.predictions, strict=True)
            if one.error is None  # what failed is asked again
        }
        job = self._job_left(found)
        if job.num_rows:
            self.subject.check(job)
            fresh, fresh_facts = self._predict(job, len(found))
            found, facts = found | fresh, facts + fresh_facts
        return dict(sorted(found.items())), facts

    def _job_left(self, found: Mapping[int, Prediction]) -> Job:
        """What is left to do. Of a data set that is all there already the rows are counted, and found to be so many."""
        most = min(self.evaluate.max_rows or MOST_COUNTED, MOST_COUNTED)
        num_rows = count_rows(self.job.sources, most)
        if not num_rows:
            raise DataError(f"{_names(self.job.sources)}: no rows were found to score; expected at least one")
        if num_rows == MOST_COUNTED and len(found) >= MOST_COUNTED:
            num_rows = count_rows(self.job.sources, self.evaluate.max_rows)
        done = np.sort(np.fromiter(found, np.int64, len(found)))
        return dataclasses.replace(self.job, num_rows=max(num_rows - len(found), 0), done=done)

    def _predict(self, job: Job, before: int) -> tuple[dict[int, Prediction], list[Mapping[str, Any]]]:
        keeper = _Keeper(self.directory)
        try:
            for part in self.subject.predict(job):
                keeper.add(part)
                self.how.on_progress(before + len(keeper.predictions))
        finally:  # what is done stays done, whatever ended it
            keeper.flush()
        return keeper.predictions, keeper.facts

    def _summarised(self, predictions: Mapping[int, Prediction], facts: list[Mapping[str, Any]]) -> EvaluationResult:
        rows = Rows(list(predictions.values()), self.subject.labels)
        result = summarise(self.subject.kind, rows, self.evaluate, self.slices)
        return dataclasses.replace(
            result,
            cost=cost_of(rows.predictions, facts) | self.subject.cost(),
            fingerprint=self.fingerprint,
            subject=self.subject.name,
            data=[file.name for file in self.job.sources.files],
            data_fingerprint=data_fingerprint(rows.predictions),
            scored_at=now(),
        )

    def recorded(self, result: EvaluationResult, is_cached: bool) -> EvaluationResult:
        """The result with what is known of looks at its rows, this one among them."""
        storage_path = self.how.storage_path
        if storage_path is None or self.directory is None:
            return result
        model = hashlib.sha256(json.dumps(self.subject.stamp(self.evaluate), sort_keys=True).encode()).hexdigest()[:16]
        record_look(storage_path, result, model, self.how.purpose, is_cached)
        looks = describe_looks(looks_at(storage_path, result.data_fingerprint))
        result = dataclasses.replace(
            result, sections=result.sections | {"looks": looks, "cached": {"is_cached": is_cached}}
        )
        write_page(result, self.directory.storage)
        return result


class _Keeper:
    """Collects finished rows and writes them every few seconds."""

    def __init__(self, directory: EvaluationDirectory | None) -> None:
        self.directory = directory
        self.predictions: dict[int, Prediction] = {}
        self.facts: list[Mapping[str, Any]] = []
        self._waiting: list[Part] = []
        self._written = time.monotonic()

    def add(self, part: Part) -> None:
        self.predictions.update(zip(part.orders, part.predictions, strict=True))
        self.facts += part.facts
        self._waiting.append(part)
        if time.monotonic() - self._written > KEEP_EVERY_S:
            self.flush()

    def flush(self) -> None:
        waiting = self._waiting
        orders = [order for part in waiting for order in part.orders]
        if not orders:  # facts alone wait for the rows that they go with
            return
        self._waiting, self._written = [], time.monotonic()
        if self.directory is not None:
            predictions = [one for part in waiting for one in part.predictions]
            self.directory.write_part(Part(orders, predictions, [fact for part in waiting for fact in part.facts]))


def with_sections(result: EvaluationResult, subject: Subject, evaluate: EvaluateConfig) -> EvaluationResult:
    """The result with what else is found out of its rows: seen rows, calibration, errors."""
    folder, rows = _folder_of(subject), Rows(result.predictions, result.labels)
    sections: dict[str, Any] = {"seen": seen_rows(folder, result.predictions).describe()}
    sections |= confidence_sections(folder, rows, evaluate) | error_section(folder, rows, evaluate)
    judges = report(rows, evaluate.judge, evaluate.confidence)
    sections |= {"judge": judges} if judges else {}
    return dataclasses.replace(result, sections=result.sections | sections)


def write_page(result: EvaluationResult, storage: Storage) -> None:
    """The result as one page for people, beside its figures."""
    from trainers.evaluation.page import render

    storage.write_text(PAGE, render(result))


def _folder_of(subject: Subject) -> ModelFolder | None:
    return subject.folder if isinstance(subject, FolderSubject) else None


def _names(sources: Sources) -> str:
    return ", ".join(dict.fromkeys(file.source for file in sources.files))
