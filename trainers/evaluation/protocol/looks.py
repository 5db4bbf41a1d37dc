"""Who looked at which test set, when and with what: a set that was looked at often tells less and less.

One small file for each look, so that several processes never write the same one: `evaluations/looks/<rows>/<time>.json`.
"""

from __future__ import annotations

import dataclasses
import getpass
import socket
import uuid
from typing import Any

from cluster.runs import now
from cluster.storage import Storage
from trainers.evaluation.result import EvaluationResult
from trainers.evaluation.store import EVALUATIONS

LOOKS = "looks"
SHOWN = 20
MANY_MODELS = 10
"""Models scored on one set from which on the best of them is likely the luckiest too."""


@dataclasses.dataclass(frozen=True)
class Look:
    """One scoring of a model on some rows.

    Attributes:
        who: user and machine.
        when: UTC in ISO 8601.
        subject: the model, as it was named.
        model: hash that tells it from other models.
        purpose: `training` (at the end of a run), `evaluate`, `suite`, `fold`, `compare`, ...
        data: names of the files.
        n: rows.
        is_cached: the figures of an earlier look were shown again.
    """

    who: str
    when: str
    subject: str
    model: str
    purpose: str
    data: list[str]
    n: int
    is_cached: bool = False


def record_look(storage_path: str, result: EvaluationResult, model: str, purpose: str, is_cached: bool) -> None:
    """Write down that a model was scored on these rows."""
    look = Look(_who(), now(), result.subject, model, purpose, result.data, result.n, is_cached)
    name = f"{look.when.replace(':', '')}-{uuid.uuid4().hex[:8]}.json"
    _folder(storage_path, result.data_fingerprint).write_json(name, dataclasses.asdict(look))


def looks_at(storage_path: str, data_fingerprint: str) -> list[Look]:
    """Every look at these rows, the first one first."""
    folder = _folder(storage_path, data_fingerprint)
    return [Look(**folder.read_json(name)) for name in folder.list()]


def describe_looks(looks: list[Look]) -> dict[str, Any]:
    """Looks as a section of a result: how many, with how many models, the latest, and what follows from it."""
    fresh = [look for look in looks if not look.is_cached]
    models = len({look.model for look in fresh})
    said = f"these rows were scored {_times(len(fresh))} with {models} model{'s' if models != 1 else ''}"
    if models >= MANY_MODELS:
        said += "; whoever picks the best of so many picks luck as well: confirm it on rows that nobody has looked at"
    latest = [dataclasses.asdict(look) for look in looks[-SHOWN:]]
    return {"count": len(fresh), "models": models, "sentence": said, "looks": latest}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _folder(storage_path: str, data_fingerprint: str) -> Storage:
    return Storage.open(storage_path).child(EVALUATIONS, LOOKS, data_fingerprint)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
