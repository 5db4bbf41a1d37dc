"""Builds an ensemble: members found or trained, combined by what the validation rows say, reported, registered.

Its run directory `<storage_path>/<name>/` is like that of a training: `run.yaml`, `record.json`, `model/`, `report.html`, and
`ensemble.json` with all figures. Run again, it takes up what is there: trained members and their predictions.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from cluster.config import RunConfig
from cluster.config.ensemble import EnsembleConfig, Folds
from cluster.exceptions import ConfigError
from cluster.registry import Registry
from cluster.runs import Record, RunDirectory
from cluster.session import ray_session
from trainers.evaluation.figures import plain
from tuning.ensemble.make import make
from tuning.ensemble.members import Candidate, found_members, opened
from tuning.ensemble.report import PAGE, REPORT, page, report_of
from tuning.ensemble.workshop import Workshop
from tuning.ensemble.write import write_figures

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EnsembleOutcome:
    """What was built.

    Attributes:
        model_path: its model folder.
        version: in the registry.
        metrics: of it, `eval_...` on the validation rows and `test_...` on the test rows.
        report: all figures.
    """

    name: str
    model_path: str
    version: int
    metrics: dict[str, Any]
    report: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        found: dict[str, Any] = plain(dataclasses.asdict(self))
        return found


def build(config: RunConfig) -> EnsembleOutcome:
    """Build the ensemble that a config describes.

    Raises:
        UserError: for whatever the user can mend: members, rows, a rule that does not suit them.
    """
    settings = config.ensemble or EnsembleConfig()
    name = settings.name or f"{config.name[:53]}-ensemble"
    known = config.model_copy(update={"name": name, "ensemble": settings})
    with ray_session(config.cluster):
        run = RunDirectory.open(known)
        with run.lease():
            begun = Record("running")
            run.write_record(begun)
            try:
                outcome = _build(Workshop(RunDirectory(run.storage, known)), config)
            except BaseException as error:
                run.write_record(begun.failed(f"{type(error).__name__}: {error}"))
                raise
            run.write_record(
                begun.finished(metrics=outcome.metrics, model_path=outcome.model_path, version=outcome.version)
            )
    return outcome


def _build(workshop: Workshop, config: RunConfig) -> EnsembleOutcome:
    made = make(workshop, gathered(workshop, config))
    folder = opened(made.place)
    report, tested = report_of(workshop, made, folder)
    report = plain(report)
    metrics = {f"eval_{name}": value for name, value in report["scores"]["validation"]["ensemble"].items()}
    if tested is not None:
        metrics |= {f"test_{name}": value for name, value in tested.metrics.items()}
    metrics |= {name: value for name, value in report["cost"].items() if value is not None}
    storage = workshop.run.storage
    write_figures(made.place, workshop.run.config, report, metrics)
    storage.write_json(REPORT, report)
    storage.write_text(PAGE, page(report))
    tags = {
        "fingerprint": folder.lineage.get("data", {}).get("fingerprint", ""),
        "run_dir": storage.url,
        "kind": "ensemble",
    }
    numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
    name = workshop.run.config.name
    version = Registry(workshop.storage_path).register(name, made.place, numbers, tags)
    return EnsembleOutcome(name, made.place, version, metrics, report)


def gathered(workshop: Workshop, config: RunConfig) -> Sequence[Candidate]:
    """The members, trained where the settings say so.

    Raises:
        ConfigError: if there are none to be had.
    """
    settings = workshop.settings
    found: list[Candidate] = []
    if settings.train is not None:
        from tuning.ensemble.train import trained_members

        found += trained_members(workshop, config, settings.train)
    is_folds = isinstance(settings.train, Folds)  # its members are what the folds are trained of
    places = [] if is_folds else list(settings.members)
    if not places and settings.train is None and config.tune is not None:
        places = [f"{workshop.storage_path}/{config.name}"]
    if not places and not found:
        raise ConfigError(
            "found no members; expected ensemble.members (run directories, model folders, versions, a study), ensemble.train, "
            "or a `tune` section whose study has ended"
        )
    metric = config.tune.metric if config.tune else None
    return found + found_members(places, workshop.storage_path, settings.top, metric)
