"""Understanding a study: one HTML page and a JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from cluster.storage import Storage
from tuning.report.facts import StudyFacts
from tuning.report.understand import Understanding, understand

REPORT, FIGURES = "report.html", "report.json"

__all__ = ["FIGURES", "REPORT", "StudyFacts", "Understanding", "understand", "write_report"]


def write_report(storage: Storage, study: StudyFacts, values: Mapping[str, np.ndarray] | None = None) -> Understanding:
    """Write `report.html` and `report.json` to the folder of a study.

    Args:
        values: one value a row of some trials, on the same validation rows.

    Raises:
        ConfigError: if no trial has a score.
    """
    from tuning.report.page import render

    found = understand(study, values)
    storage.write_text(FIGURES, json.dumps(found.summary(), indent=2, ensure_ascii=False, default=str) + "\n")
    storage.write_text(REPORT, render(found))
    return found
