"""Ensembles behind `/v1/classify`: members score each batch side by side, and answers say how unsure they are, and why.

Where the cluster has a core for each member, every member is a deployment of its own and a batch takes as long as the
slowest; else one replica holds them all and asks one after the other. Passes of Monte-Carlo dropout share one model.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from ray import serve as ray_serve

from cluster.config import ServeConfig
from cluster.exceptions import ModelFolderError
from serving import classify
from serving.classify import Classifier, Scored
from trainers.ensembles.combine import log_softmax, logs_of
from trainers.ensembles.folder import DropoutFolder, EnsembleFolder
from trainers.ensembles.uncertainty import uncertainty
from trainers.evaluation.confidence.calibration import load_calibration
from trainers.folder import ModelFolder

Logits = tuple[np.ndarray, list[int], list[int]]
LEFT_OVER_CPUS = 1
"""Beside the members' cores, for the replica that asks them."""


class MemberServer:
    """One member, or the passes of one, as a deployment of its own."""

    def __init__(self, path: str, members: Sequence[int], device: str) -> None:
        folder = _ensemble(path)
        self._members = Members([folder.members[index] for index in members], device)

    def logits(self, texts: list[str]) -> list[Logits]:
        """What each of its members says of a batch."""
        return self._members(texts)


class Members:
    """Members in this process; those of one folder, told apart by the seed of their dropout, share its weights."""

    def __init__(self, folders: Sequence[ModelFolder], device: str) -> None:
        loaded: dict[Any, Classifier] = {}
        self.classifiers: list[tuple[Classifier, int | None]] = []
        for folder in folders:
            seed = folder.dropout_seed if isinstance(folder, DropoutFolder) else None
            key = (folder.path, seed is None)
            if key not in loaded:
                loaded[key] = Classifier(folder, device)
            self.classifiers.append((loaded[key], seed))

    def __call__(self, texts: list[str]) -> list[Logits]:
        found = []
        for classifier, seed in self.classifiers:
            if seed is not None:
                classifier._model.dropout_seed = seed  # type: ignore[assignment]
            found.append(classifier.logits(texts))
        return found


class EnsembleClassifier(Classifier):
    """An ensemble with a classifier's interface.

    Args:
        handles: of the members' deployments, each with the members it holds; empty to hold them all here.
    """

    def __init__(
        self, path: str | ModelFolder, device: str = "cpu", handles: Sequence[tuple[Sequence[int], Any]] = ()
    ) -> None:
        self.folder = path if isinstance(path, EnsembleFolder) else _ensemble(str(path))
        self.labels = self.folder.labels
        self.calibration = load_calibration(self.folder.path, self.labels)
        self._tokenizer = self.folder.tokenizer()
        self.max_length = classify.max_length(self.folder)
        self._handles = handles
        self._members = None if handles else Members(self.folder.members, device)

    def __call__(self, texts: list[str]) -> list[Scored]:
        """Score a batch by all members."""
        found = self._members(texts) if self._members is not None else self._asked(texts)
        logs = np.stack(
            [log_softmax(logits)[:, self.folder.in_order(index)] for index, (logits, _, _) in enumerate(found)]
        )
        mixed = logs_of(self.folder.combined(logs, texts))
        shares = self.folder.spec.combiner.shares(len(logs))
        unsure = uncertainty(logs, shares, mixed.argmax(-1))
        seen, lengths = found[0][1], found[0][2]
        return [
            dataclasses.replace(one, uncertainty=unsure.of_row(row))
            for row, one in enumerate(self.scored(mixed, seen, lengths))
        ]

    def _asked(self, texts: list[str]) -> list[Logits]:
        """The members' answers from their deployments, asked at once. Runs in a thread, outside the event loop."""
        waiting = [(members, handle.logits.remote(texts)) for members, handle in self._handles]
        found: dict[int, Logits] = {}
        for members, response in waiting:
            found |= dict(zip(members, response.result(), strict=True))
        return [found[index] for index in range(len(found))]


def _ensemble(path: str) -> EnsembleFolder:
    folder = ModelFolder.open(path)
    assert isinstance(folder, EnsembleFolder), f"{path} is no ensemble"
    return folder


def build(folder: EnsembleFolder, serve: ServeConfig, name: str, gpu: bool, engine: type | None = None) -> Any:
    """The Serve application for an ensemble.

    Raises:
        ModelFolderError: for causal members that are not merged: no engine holds several models that write together.
    """
    if folder.kind != "classification":
        raise ModelFolderError(
            f"{folder.path}: causal models that answer by {folder.spec.rule} can be evaluated, not served: an engine holds one "
            "model. Merge them (combine: soup or lora_merge), or serve one member"
        )
    if engine is not None:
        return classify.build(folder, serve, name, gpu, engine)
    handles = _deployments(folder, serve, gpu)
    made: Any = functools.partial(EnsembleClassifier, handles=handles)
    return classify.build(folder, serve, name, gpu, made)


def _deployments(folder: EnsembleFolder, serve: ServeConfig, gpu: bool) -> list[tuple[list[int], Any]]:
    """A deployment for each folder of a member; none where the cluster has no room for them side by side."""
    from cluster.session import resources

    by_place: dict[str, list[int]] = {}
    for index, member in enumerate(folder.spec.members):
        by_place.setdefault(member.place, []).append(index)
    cpus, gpus = resources()
    needed = serve.num_replicas * (len(by_place) + LEFT_OVER_CPUS)
    if len(by_place) < 2 or (gpus if gpu else cpus) < needed:
        return []
    device, found = "cuda" if gpu else "cpu", []
    for number, members in enumerate(by_place.values()):
        deployment: Any = ray_serve.deployment(
            MemberServer,
            name=f"Member-{number}",
            num_replicas=serve.num_replicas,
            max_ongoing_requests=100,
            max_constructor_retry_count=1,
            ray_actor_options={"num_cpus": 1, "num_gpus": 1 if gpu else 0},
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )
        found.append((members, deployment.bind(str(folder.path.absolute()), members, device)))
    return found
