"""`ensemble.json`: which members a folder has, how they become one answer, and what that costs. Plain numbers, no pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.exceptions import ModelFolderError
from trainers.ensembles.combine import COMBINERS, Combiner

ENSEMBLE = "ensemble.json"
VERSION = 1
TOKEN_MEAN, BEST_OF_N, ROUTER = "token_mean", "best_of_n", "router"


@dataclasses.dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        name: as reports call it.
        place: folder of its files: below the ensemble's own folder, or wherever the user named it.
        fingerprint: hash of the files that decide what it answers; another one is another model.
        weight_bytes: of its weights.
        dropout_seed: seed of its dropout where it is one pass of MC-dropout; None where dropout is off.
    """

    name: str
    place: str
    fingerprint: str
    weight_bytes: int = 0
    dropout_seed: int | None = None


@dataclasses.dataclass(frozen=True)
class EnsembleSpec:
    """What `ensemble.json` holds.

    Attributes:
        kind: `causal_lm` or `classification`.
        labels: class names in the order of the probabilities; empty for causal models.
        rule: kind of combiner, or how causal members answer together (`token_mean`, `best_of_n`).
        parameters: of the rule.
    """

    kind: str
    labels: Sequence[str]
    members: Sequence[Member]
    rule: str
    parameters: Mapping[str, Any]

    @property
    def combiner(self) -> Combiner:
        """How probabilities become one."""
        return COMBINERS[self.rule].from_parameters(self.parameters)

    def write(self, folder: Path) -> None:
        """Put it into a folder."""
        text = json.dumps({"version": VERSION, **dataclasses.asdict(self)}, indent=1)
        (folder / ENSEMBLE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> EnsembleSpec:
        """What `write` wrote.

        Raises:
            ModelFolderError: for a file of another form.
        """
        path = folder / ENSEMBLE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("version") != VERSION:
                raise ValueError(f"expected version {VERSION}")
            members = [Member(**member) for member in values.pop("members")]
            found = cls(members=members, **values)
            if found.rule in COMBINERS:
                found.combiner  # noqa: B018 - refuses parameters that are none
            elif found.rule not in (TOKEN_MEAN, BEST_OF_N):
                raise ValueError(f"unknown rule {found.rule!r}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFolderError(
                f"{path}: is no ensemble as this version writes it ({error}); make it anew with `mobula ensemble`"
            ) from error
        if not members:
            raise ModelFolderError(
                f"{path}: names no members; expected at least one: make it anew with `mobula ensemble`"
            )
        return found
