"""docs/data-stages.md shows stages that would run."""

import re
from pathlib import Path

import pytest
import yaml

from cluster.config.stages import parse_stages

PAGE = (Path(__file__).parents[4] / "docs" / "data-stages.md").read_text()


@pytest.mark.parametrize("snippet", re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_a_snippet_is_a_list_of_stages(snippet):
    assert parse_stages(yaml.safe_load(snippet))
