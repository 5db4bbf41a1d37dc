"""What docs/data-sources.md shows is so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config import DataConfig
from trainers.data.shapes import LEARNT, SHAPES, detect, read_row

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "data-sources.md").read_text()
ROWS = re.findall(r"^\| (\w+) \| `(\{.*\})` \| (\w*) ?\|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("snippet", re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_the_settings_shown_are_taken(snippet: str) -> None:
    settings: dict[str, Any] = yaml.safe_load(snippet)["data"]
    assert DataConfig(**settings).sources("train")


def test_every_shape_is_shown() -> None:
    assert {shape for shape, _, _ in ROWS} == set(SHAPES)


@pytest.mark.parametrize(("shape", "row", "objective"), ROWS)
def test_the_rows_shown_are_of_their_shape_and_learnt_as_said(shape: str, row: str, objective: str) -> None:
    classification = shape in ("text_label", "multi_label")
    config, values = DataConfig(train="unused"), json.loads(row)
    assert detect(values, config, classification) == shape
    assert read_row(values, config, classification, to_learn=False)
    assert [name for name, shapes in LEARNT.items() if shape in shapes] == ([objective] if objective else [])
