"""`mobula data` on a real run.yaml, verb by verb."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster import cli

pytestmark = pytest.mark.usefixtures("ray_cluster")
WORDS = ("card", "parcel", "refund", "password", "delivery", "invoice", "account", "street")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classified messages, some of them broken, in a run with stages of every sort."""
    folder = tmp_path_factory.mktemp("data-cli")
    rows: list[dict[str, Any]] = [
        {
            "text": f"My {WORDS[number % 8]} number {number} is  late, please help me with the {WORDS[number % 3]}!",
            "label": WORDS[number % 2],
        }
        for number in range(60)
    ]
    rows += [{"text": "no label at all"}, rows[0]]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "run.yaml").write_text(f"""
name: looked-at
model: {{kind: scratch, hidden_size: 32, num_hidden_layers: 1, vocab_size: 300}}
data:
  train: train.jsonl
  on_error: reject
  max_length: 64
  stages:
    - {{kind: whitespace}}
    - {{kind: exact_duplicates}}
    - {{kind: split, validation: 0.2, test: 0.2}}
    - {{kind: noise, share: 0.5, typos: 0.1}}
train: {{objective: {{kind: classification}}}}
cluster: {{storage_path: {folder}/runs}}
""")
    return folder / "run.yaml"


def answer(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    """What a verb prints as JSON; its exit status must be 0."""
    assert cli.run(["data", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_inspect_shows_a_row_as_it_is_read_changed_and_tokenised(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [row] = answer(capsys, "inspect", config, "--rows", 1)
    steps = dict(row["steps"])
    assert row["place"].endswith("train.jsonl:1")
    assert "is  late" in steps["read"] and "is late" in steps["whitespace"]
    assert steps["split"] == "looks at all rows together; left out here"
    assert "one label to learn" in steps["tokens"]
    [bad] = answer(capsys, "inspect", config, "--rows", 1, "--skip", 60)
    assert "found the columns text" in dict(bad["steps"])["rejected"]


def test_split_counts_rows_and_labels_of_each_split(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "split", config)
    assert set(found["rows"]) == {"train", "validation", "test"}
    kept = {name: sum(found["labels"][name].values()) for name in found["rows"]}
    assert kept == found["rows"]
    stages = {one["stage"]: one for one in found["stages"]}
    assert stages["read"]["rejected"] == 1 and stages["exact_duplicates"]["rejected"] == 1
    assert sum(found["rows"].values()) == 60 + stages["noise"]["added"]


def test_augment_shows_made_rows_beside_their_originals(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = answer(capsys, "augment", config, "--rows", 3)["pairs"]
    assert len(pairs) == 3
    assert all(pair["made"] != pair["original"] and pair["original"].startswith("My ") for pair in pairs)


def test_prepare_leaves_what_train_would_prepare(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trainers.data.store import Prepared

    found = answer(capsys, "prepare", config)
    prepared = Prepared.open(found["url"])
    assert prepared.rows_url == found["rows_url"] == answer(capsys, "split", config)["rows_url"]
    assert {name: split.num_rows for name, split in prepared.splits.items()} == {
        name: found[name]["rows"] for name in ("train", "validation", "test")
    }


def test_audit_names_problems_and_fails_where_that_is_asked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "audit", config)
    assert any("1 rows cannot be used" in one["text"] for one in found["findings"])
    assert 0.9 < found["scores"]["validity"] < 1.0
    assert cli.run(["data", "audit", str(config), "--strict"]) == 2
    assert "problem: 1 rows cannot be used" in capsys.readouterr().out


def test_report_writes_a_page_and_the_same_as_json(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = answer(capsys, "report", config, "--output", tmp_path / "deep" / "page.html")
    profile = json.loads(Path(found["json"]).read_text())
    assert profile["rows_read"] == 62 and profile["splits"]["train"]["tokens"] > 0
    assert "<svg" in Path(found["html"]).read_text()
