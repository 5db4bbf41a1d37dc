"""Predictions of an ensemble out of its members': each member scores the rows once, or its kept predictions are taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.ensembles.combine import Router, log_softmax, logs_of
from trainers.ensembles.folder import EnsembleFolder
from trainers.ensembles.spec import BEST_OF_N, TOKEN_MEAN
from trainers.ensembles.uncertainty import uncertainty

if TYPE_CHECKING:
    from trainers.evaluation.result import Prediction
    from trainers.evaluation.store import Part
    from trainers.evaluation.subjects.base import Job

ROWS_PER_PART = 4096


def works_by_tokens(folder: EnsembleFolder) -> bool:
    """Whether members must answer together, token by token."""
    return folder.spec.rule == TOKEN_MEAN


def ensemble_parts(folder: EnsembleFolder, job: Job) -> Iterator[Part]:
    """Predictions of the rows that are left. Ray must be initialised."""
    from trainers.evaluation.store import Part

    if folder.spec.rule == BEST_OF_N:
        from trainers.ensembles.best_of_n import best_parts

        yield from best_parts(folder, job)
        return
    found, facts = [], []
    for member in folder.members:
        predictions, of_member = member_predictions(member, job)
        found.append(predictions)
        facts += of_member
    orders = [order for order in found[0] if order not in set(job.done.tolist())]
    for start in range(0, len(orders), ROWS_PER_PART):
        some = orders[start : start + ROWS_PER_PART]
        members = [[predictions[order] for order in some] for predictions in found]
        yield Part(some, mixed(folder, members), facts if start == 0 else [])


def member_predictions(member: Any, job: Job) -> tuple[dict[int, Prediction], list[Mapping[str, Any]]]:
    """A member's predictions of all rows of a job by rank, from the storage that the ensemble's own are kept in."""
    from trainers.evaluation.evaluate import predictions_of
    from trainers.evaluation.subjects import FolderSubject

    storage_path = None
    if job.directory is not None:  # <storage path>/evaluations/<fingerprint>
        storage_path = job.directory.storage.url.rstrip("/").rsplit("/", 2)[0]
    return predictions_of(FolderSubject(member), job.data.sources("train"), job.evaluate, storage_path)


def mixed(folder: EnsembleFolder, members: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """The ensemble's predictions of rows from the members'."""
    if folder.kind == "classification":
        return mixed_classes(folder, members)
    routes = _router(folder).routes([one.prompt or "" for one in members[0]])
    return [
        dataclasses.replace(members[route][row], notes=members[route][row].notes | {"member": int(route)})
        for row, route in enumerate(routes)
    ]


def _router(folder: EnsembleFolder) -> Router:
    found = folder.spec.combiner
    assert isinstance(found, Router), f"causal members cannot be combined by {folder.spec.rule}"
    return found


def member_logs(folder: EnsembleFolder, members: Sequence[Sequence[Prediction]]) -> np.ndarray:
    """Members' log-probabilities in the order of the ensemble's labels, shape (members, rows, classes)."""
    return np.stack(
        [
            log_softmax(np.array([one.logits for one in rows], np.float64))[:, folder.in_order(index)]
            for index, rows in enumerate(members)
        ]
    )


def mixed_classes(folder: EnsembleFolder, members: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """Combined labels of rows; notes tell how unsure the ensemble is and why."""
    logs = member_logs(folder, members)
    probabilities = folder.combined(logs, [one.prompt or "" for one in members[0]])
    chosen = probabilities.argmax(-1)
    unsure = uncertainty(logs, folder.spec.combiner.shares(len(logs)), chosen)
    scores, index_of = logs_of(probabilities), {label: at for at, label in enumerate(folder.labels)}
    made = []
    for row, one in enumerate(members[0]):
        latencies = [rows[row].latency_s for rows in members]
        known = index_of.get(one.reference or "")
        made.append(
            dataclasses.replace(
                one,
                output=folder.labels[chosen[row]],
                probability=float(probabilities[row, chosen[row]]),
                loss_sum=-float(scores[row, known]) if known is not None else 0.0,
                logits=scores[row].tolist(),
                was_cut=any(rows[row].was_cut for rows in members),
                latency_s=None if None in latencies else float(sum(filter(None, latencies))),
                notes=one.notes | unsure.of_row(row),
            )
        )
    return made
