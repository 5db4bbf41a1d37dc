"""Understanding a study: one HTML page, a JSON beside it, and the same in MLflow."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cluster.storage import Storage

if TYPE_CHECKING:
    from tuning.report.facts import StudyFacts
    from tuning.report.reading import StudyFolder
    from tuning.report.understand import Understanding

logger = logging.getLogger(__name__)

REPORT, FIGURES = "report.html", "report.json"


def write_report(storage: Storage, study: StudyFacts, values: Mapping[str, np.ndarray] | None = None) -> Understanding:
    """Write `report.html` and `report.json` to the folder of a study.

    Args:
        values: one value a row of some trials, on the same validation rows.

    Raises:
        ConfigError: if no trial has a score.
    """
    from tuning.report.page import render
    from tuning.report.understand import understand

    found = understand(study, values)
    storage.write_text(FIGURES, json.dumps(found.summary(), indent=2, ensure_ascii=False, default=str) + "\n")
    storage.write_text(REPORT, render(found))
    return found


def conclude_study(folder: StudyFolder) -> None:
    """Write the report of a study that has just ended, and record it in MLflow. Never fails: the study has succeeded."""
    from tuning.report.answers import known_values
    from tuning.report.tracking import record_study

    try:
        study = folder.facts()
        write_report(folder.storage, study, known_values(folder, study))
    except Exception as error:  # the winner is registered by now; `mobula tune report` says what is wrong
        logger.warning("the report was not written (%s); `mobula tune report` tries again", error)
        return
    files = {name: folder.storage.place(name) for name in (REPORT, FIGURES) if folder.storage.is_local}
    record_study(folder.config.cluster.storage_path, folder.config, study, files)
