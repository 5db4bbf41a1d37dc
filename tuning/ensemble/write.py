"""Writes the model folder of an ensemble: members, `ensemble.json`, tokenizer, and where all of it comes from."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cluster.config import RunConfig
from cluster.config.load import dump_config
from cluster.storage import Storage
from trainers.data.template import rendering_fingerprint
from trainers.ensembles.folder import folder_fingerprint, weight_bytes
from trainers.ensembles.spec import EnsembleSpec, Member
from trainers.evaluation.protocol.seen import SEEN_ROWS
from trainers.folder import ModelFolder
from trainers.modelcard import CARD, markdown_table, shown
from tuning.ensemble.members import Candidate

MODEL, MEMBERS = "model", "members"
_OF_FIRST = ("config.json", "generation_config.json", "chat_template.jinja")
"""Files of the first member that say how long texts may be and how answers end."""


def write_ensemble(
    run: Storage,
    config: RunConfig,
    candidates: Sequence[Candidate],
    spec_of: Mapping[str, Any],
    *,
    copy: bool,
    members: Mapping[str, Mapping[str, Any]],
) -> str:
    """Write the folder into the ensemble's run directory, in place of what is there.

    Args:
        spec_of: fields of `EnsembleSpec` beside the members.
        copy: members' files into the folder; else it names where they lie.
        members: further fields of each `Member`, by its name.

    Returns:
        Path or URL of the folder.
    """
    with tempfile.TemporaryDirectory(prefix="mobula-ensemble-") as temporary:
        folder, first = Path(temporary), candidates[0].folder
        made, copied = [], {}
        for candidate in candidates:
            path = candidate.folder.path
            place = candidate.place if "://" in candidate.place else str(path.absolute())
            if copy and path not in copied:
                copied[path] = f"{MEMBERS}/{candidate.name}"
                shutil.copytree(path, folder / copied[path], ignore=shutil.ignore_patterns("optimizer*"))
            known = {"weight_bytes": weight_bytes(candidate.folder)} | dict(members.get(candidate.name, {}))
            fingerprint = folder_fingerprint(candidate.folder)
            made.append(Member(candidate.name, copied.get(path, place), fingerprint, **known))
        EnsembleSpec(kind=first.kind, members=made, **spec_of).write(folder)
        first.tokenizer().save_pretrained(folder)
        of_first = Path(first.base) if first.base and Path(first.base).is_dir() else first.path
        for name in _OF_FIRST:
            if (of_first / name).exists() and not (folder / name).exists():
                shutil.copy(of_first / name, folder / name)
        finish(folder, config, candidates, first)
        run.upload_folder(folder, MODEL)
    return run.place(MODEL)


def finish(folder: Path, config: RunConfig, candidates: Sequence[Candidate], first: ModelFolder) -> None:
    """What every folder of an ensemble or a merged model says: its run.yaml, where it comes from, what it has seen."""
    (folder / "run.yaml").write_text(dump_config(config))
    (folder / "lineage.json").write_text(json.dumps(lineage(config, candidates, first), indent=2) + "\n")
    seen: dict[str, list[np.ndarray]] = {}
    known = [candidate.folder.path / SEEN_ROWS for candidate in candidates]
    if all(path.exists() for path in known):  # else nobody can say what the ensemble has not seen
        for path in known:
            with np.load(path, allow_pickle=False) as one:
                for split in one.files:
                    seen.setdefault(split, []).append(one[split])
        arrays: dict[str, Any] = {split: np.unique(np.concatenate(found)) for split, found in seen.items()}
        np.savez(folder / SEEN_ROWS, **arrays)


def lineage(config: RunConfig, candidates: Sequence[Candidate], first: ModelFolder) -> dict[str, Any]:
    """Where an ensemble comes from: its members and theirs."""
    origins = [candidate.folder.lineage for candidate in candidates]
    return {
        "name": config.name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parent": None,
        "members": [
            {
                "name": candidate.name,
                "place": candidate.place,
                "fingerprint": folder_fingerprint(candidate.folder),
                **{key: origin.get(key) for key in ("name", "step", "parent", "seed", "created_at") if key in origin},
            }
            for candidate, origin in zip(candidates, origins, strict=True)
        ],
        "data": first.lineage.get("data", {}),
        "labels": first.labels,
        "rendering": rendering_fingerprint(first.tokenizer()),
        "code": first.lineage.get("code", {}),
        "environment": first.lineage.get("environment", {}),
    }


def card(config: RunConfig, report: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The README of an ensemble's folder."""
    settings = config.model_dump(mode="json")["ensemble"] or {}
    rows = [
        [
            str(one["name"]),
            shown(one.get("weight")),
            shown(one.get("validation_accuracy")),
            shown(one.get("validation_loss")),
        ]
        for one in report["members"]
    ]
    cost = {name: shown(value) for name, value in report["cost"].items()}
    parts = [
        "---\nlibrary_name: transformers\ntags:\n- mobula\n- ensemble\n---",
        f"# {config.name}",
        f"{report['words']} Made by `mobula ensemble`; members and weights were chosen on validation rows only.",
        "## Scores",
        markdown_table(["metric", "value"], [[f"`{name}`", shown(value)] for name, value in metrics.items()]),
        "\n".join(f"- {sentence}" for sentence in report["sentences"]),
        "## Members",
        markdown_table(["member", "weight", "validation accuracy", "validation loss"], rows),
        "## Cost",
        markdown_table(["", "value"], [[name.replace("_", " "), value] for name, value in cost.items()]),
        "## How to use it",
        "```bash\nmobula serve PATH_OF_THIS_FOLDER\nmobula evaluate PATH_OF_THIS_FOLDER --data YOUR_FILE.jsonl\n```",
        "## Settings",
        f"```json\n{json.dumps(settings, indent=2)}\n```",
        "## Limits",
        "The scores hold for data like that named above. Try it on your own before you rely on it.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_figures(place: str, config: RunConfig, report: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """Put the scores and the card into a folder that was written."""
    storage = Storage.open(place)
    storage.write_text("metrics.json", json.dumps(dict(metrics), indent=2) + "\n")
    storage.write_text(CARD, card(config, report, metrics))
