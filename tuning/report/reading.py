"""Reads a study from its folder, whether it has ended or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import yaml

from cluster.config import RunConfig
from cluster.config.load import load_config
from cluster.config.tune import TuneConfig
from cluster.exceptions import ConfigError, RunConflict
from cluster.runs import Record, RunDirectory
from cluster.storage import Storage
from tuning.report.facts import Objective, StudyFacts, TrialFacts
from tuning.study import FILE, STUDY, TRIALS, TrialOutcome


@dataclasses.dataclass(frozen=True)
class StudyFolder:
    """The folder of a study and the file it was run with."""

    storage: Storage
    config: RunConfig

    @classmethod
    def find(cls, place: str, overrides: Sequence[str] = ()) -> StudyFolder:
        """The study that a run.yaml describes, or that lies in a folder.

        Raises:
            ConfigError: for a folder without a study, or a file without a `tune:` section.
            RunConflict: if the study of the file was not begun.
        """
        if Path(place).is_file() or place.endswith((".yaml", ".yml")):
            config = load_config(place, overrides)
            storage = Storage.open(config.cluster.storage_path).child(config.name)
            if config.tune is None:
                raise ConfigError(f"{place}: found no `tune:` section; expected one, or the folder of a study")
            if not storage.exists(TRIALS):
                raise RunConflict(f"{storage.url}: nothing was tried yet; run `mobula tune {place}` first")
            return cls(storage, config)
        storage = Storage.open(place)
        if not storage.exists(FILE):
            raise ConfigError(
                f"{place}: found no {FILE}; expected a run.yaml, or the folder of a study: <cluster.storage_path>/<name>"
            )
        if overrides:
            raise ConfigError(
                f"found {overrides[0]} with the folder of a study; keys can be changed of a run.yaml only"
            )
        return cls(storage, RunConfig.model_validate(yaml.safe_load(storage.read_text(FILE))))

    @property
    def settings(self) -> TuneConfig:
        assert self.config.tune is not None
        return self.config.tune

    def facts(self, metrics: Sequence[str] = ()) -> StudyFacts:
        """All that the folder tells.

        Args:
            metrics: further things to judge trials by, beside what the study ranks by.
        """
        main = Objective(self.settings.metric, self.settings.maximises)
        others = [Objective.named(name) for name in dict.fromkeys(metrics) if name != main.name]
        trials = sorted(self._trials(), key=lambda trial: (trial.finished_at, trial.started_at, trial.name))
        outcome = self.storage.read_json(STUDY) if self.storage.exists(STUDY) else {}
        return StudyFacts(
            self.config.name,
            self.settings.space,
            [main, *others],
            trials,
            self._num_validation_rows(),
            outcome.get("published", {}),
        )

    def _trials(self) -> list[TrialFacts]:
        folder, found = self.storage.child(TRIALS), []
        for name in folder.list():
            if not folder.exists(f"{name}/record.json"):
                continue
            record = Record(**folder.read_json(f"{name}/record.json"))
            if record.state != "running":
                rows = RunDirectory(folder.child(name), self.config).metrics()
                found.append(
                    TrialFacts(TrialOutcome.of(name, record), record.started_at, record.finished_at or "", rows)
                )
        return found

    def _num_validation_rows(self) -> int | None:
        """Of any trial that has counted its data; those of one study share their validation rows."""
        folder = self.storage.child(TRIALS)
        for name in folder.list():
            if folder.exists(f"{name}/record.json"):
                data = folder.read_json(f"{name}/record.json")["details"].get("data", {})
                if "validation" in data:
                    return int(data["validation"]["rows"])
        return None
