"""The datasheet of a model folder: what its model learnt from, in the sections of Gebru et al. 2021 (arXiv 1803.09010)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.config import RunConfig
from trainers.data.staging import StagedRows
from trainers.tables_md import markdown_table, shown

if TYPE_CHECKING:
    from trainers.data.store import Prepared

DATASHEET = "DATASHEET.md"


def datasheet(config: RunConfig, prepared: Prepared) -> str:
    """The datasheet of the data that a run learnt from, as Markdown."""
    rows = StagedRows.open(prepared.rows_url) if prepared.rows_url else None
    parts = [
        f"# Data of {config.name}",
        f"Fingerprint of the prepared data: `{prepared.fingerprint}`. `mobula data report run.yaml` writes a page about the "
        "rows with their lengths, labels, languages, personal data and a sample to read.",
        "## Composition",
        _composition(prepared),
        "## Sources and licences",
        _sources(config),
        "## Files",
        _files(prepared),
        "## Cleaning, selection and augmentation",
        _stages(config, rows),
        "## Uses and limits",
        "The data says what its sources say, with their biases. Nothing here was checked by people unless the run's author "
        "says so. Personal data is only found by the stages named above, and none of them finds all of it.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _composition(prepared: Prepared) -> str:
    names = ("rows", "tokens", "loss_tokens", "truncated_rows", "dropped_rows")
    counted = markdown_table(
        ["split", *(name.replace("_", " ") for name in names)],
        [[split, *(shown(one.get(name)) for name in names)] for split, one in prepared.report.items()],
    )
    labels = f"\n\n{len(prepared.labels)} labels: {', '.join(prepared.labels)}." if prepared.labels else ""
    return counted + labels


def _sources(config: RunConfig) -> str:
    rows = [
        [split, source.label, source.license or "not stated", source.consent or "not stated"]
        for split in ("train", "validation", "test")
        for source in config.data.sources(split)
    ]
    return markdown_table(["split", "source", "licence", "consent"], rows)


def _files(prepared: Prepared) -> str:
    rows = [
        [split, one["name"].rpartition("/")[2], shown(one["bytes"]), f"`{one['hash']}`"]
        for split, files in prepared.inputs.items()
        for one in files
    ]
    return markdown_table(["split", "file", "bytes", "content hash"], rows)


def _stages(config: RunConfig, rows: StagedRows | None) -> str:
    if rows is None:
        return "None: rows were tokenised as they are."
    counted = rows.report["stages"]
    listed = markdown_table(
        ["stage", "left out", "changed", "added"],
        [[one["stage"], *(shown(one[key]) for key in ("rejected", "changed", "added"))] for one in counted],
    )
    reasons = [f"- {one['stage']}: {count} rows, {why}" for one in counted for why, count in one["reasons"].items()]
    settings = [
        f"- `{_plain(stage.model_dump(mode='json', exclude_defaults=True) | {'kind': stage.kind})}`"
        for stage in config.data.stages
    ]
    parts = [
        listed,
        "Why rows were left out:\n\n" + "\n".join(reasons) if reasons else "",
        "Settings:\n\n" + "\n".join(settings),
    ]
    return "\n\n".join(part for part in parts if part)


def _plain(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in settings.items())
