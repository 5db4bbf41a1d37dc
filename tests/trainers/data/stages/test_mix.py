"""Sources are drawn by weight, the same way every time, until the stated end."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.config import RunConfig
from cluster.exceptions import DataError
from cluster.storage import Storage
from trainers.data.staging import StagedRows, stage_rows

pytestmark = pytest.mark.usefixtures("ray_cluster")
SIZES = {"small": 30, "large": 300}


@pytest.fixture
def sources(tmp_path: Path) -> list[dict[str, Any]]:
    for name, size in SIZES.items():
        rows = [{"text": f"{name} {number:03d} {'x' * 30}"} for number in range(size)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        {"path": str(tmp_path / "small.jsonl"), "weight": 3.0, "name": "small"},
        {"path": str(tmp_path / "large.jsonl"), "name": "large"},
    ]


def config_of(train: Any, mix: dict[str, Any] | None, **data: Any) -> RunConfig:
    return RunConfig.model_validate(
        {"name": "mixed", "model": {"kind": "scratch"}, "data": {"train": train, "mix": mix, **data}}
    )


def staged(folder: Path, train: Any, mix: dict[str, Any], **data: Any) -> StagedRows:
    return stage_rows(config_of(train, mix, **data), Storage.open(folder / f"storage-{len(list(folder.iterdir()))}"))


def drawn(rows: StagedRows) -> list[tuple[str, int]]:
    """Source and number of each training row, in order."""
    words = [record.row["text"].split() for record in rows.records("train")]
    return [(source, int(number)) for source, number, _ in words]


def test_a_mix_ends_with_the_last_row_of_the_first_source_that_runs_out(tmp_path: Path, sources: list[Any]) -> None:
    rows = staged(tmp_path, sources, {"stop": "first_exhausted"})
    order = drawn(rows)
    assert [number for source, number in order if source == "small"] == list(range(30)), "each once, in its order"
    large = [number for source, number in order if source == "large"]
    assert large == list(range(len(large))) and 3 <= len(large) <= 25, "about one of three"
    assert order[-1] == ("small", 29) and order != sorted(order, reverse=True)
    assert rows.report["mix"] == [
        {"source": "small", "rows": 30, "drawn": 30},
        {"source": "large", "rows": 300, "drawn": len(large)},
    ]
    [_, counts] = rows.report["stages"]
    assert counts["reasons"] == {"not drawn before the mix stopped": 300 - len(large)} and counts["added"] == 0
    again = staged(tmp_path, sources, {"stop": "first_exhausted"})
    assert drawn(again) == order, "the same draws every time"
    assert drawn(staged(tmp_path, sources, {"stop": "first_exhausted"}, seed=1)) != order


def test_small_sources_start_again_until_all_have_given_their_last(tmp_path: Path, sources: list[Any]) -> None:
    held_out = str(tmp_path / "small.jsonl")
    rows = staged(tmp_path, sources, {"stop": "all_exhausted"}, validation=held_out)
    order = drawn(rows)
    assert [number for source, number in order if source == "large"] == list(range(300))
    small = [number for source, number in order if source == "small"]
    assert small == [place % 30 for place in range(len(small))] and 700 <= len(small) <= 1100
    copies = [record for record in rows.records("train") if record.origin is not None]
    assert len(copies) == len(small) - 30 and all(copy.origin == copy.place for copy in copies)
    assert rows.report["stages"][-1]["added"] == len(copies)
    validation = [record.row["text"].split()[1] for record in rows.records("validation")]
    assert validation == [f"{number:03d}" for number in range(30)], "what is measured on stays as it is"


def test_a_mix_may_end_after_so_many_tokens(tmp_path: Path, sources: list[Any]) -> None:
    rows = staged(tmp_path, sources, {"stop": "tokens", "tokens": 1000})
    assert len(drawn(rows)) == 100, "rows of 40 bytes count as 10 tokens"


def test_a_source_without_a_usable_row_cannot_be_mixed(tmp_path: Path, sources: list[Any]) -> None:
    (tmp_path / "empty.jsonl").write_text('{"foo": 1}\n')
    with pytest.raises(DataError, match=r"broken: has no row to be mixed; remove it from data.train"):
        staged(
            tmp_path,
            [*sources, {"path": str(tmp_path / "empty.jsonl"), "name": "broken"}],
            {"stop": "all_exhausted"},
            on_error="reject",
        )


@pytest.mark.parametrize(
    ("train", "mix", "sentence"),
    [
        (["a", "b"], {"stop": "tokens"}, "give tokens with stop: tokens only"),
        (["a", "b"], {"tokens": 5}, "give tokens with stop: tokens only"),
        ("a", {}, "mix needs at least two sources"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(train: Any, mix: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        config_of(train, mix)
