"""The profile of a data set: counts that add up, findings that name what is wrong, a page that opens offline."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.storage import Storage
from trainers.data.profile import profile_rows
from trainers.data.profile.counts import SplitCounts
from trainers.data.profile.estimates import classifier_curve, coverage_curve, doubtful_labels, topics
from trainers.data.profile.findings import findings, overlap, scores
from trainers.data.profile.page import render
from trainers.data.record import Record

CARD, PARCEL = ("card", "bank", "payment", "pin"), ("parcel", "courier", "street", "door")


def sentence(words: tuple[str, ...], seed: int) -> str:
    """A sentence of a topic, different for every seed."""
    draw = random.Random(seed)
    return " ".join(draw.choice((*words, "please", "my", "the", "help", str(draw.randrange(900)))) for _ in range(12))


def records(count: int, label: str = "card", words: tuple[str, ...] = CARD, start: int = 0) -> list[Record]:
    return [
        Record({"text": sentence(words, start + number), "label": label}, place=f"train.jsonl:{start + number + 1}")
        for number in range(count)
    ]


def counted(rows: list[Record]) -> SplitCounts:
    counts = SplitCounts()
    for row in rows:
        counts.add(row, ("channel",))
    return counts


def test_counts_of_parts_add_up_to_the_counts_of_the_whole() -> None:
    rows = [
        *records(3000),
        Record({"text": " ", "label": "empty"}, columns={"channel": "mail"}, origin="train.jsonl:1"),
    ]
    whole, merged = counted(rows), SplitCounts()
    for start in range(0, len(rows), 700):
        merged.merge(SplitCounts.from_json(counted(rows[start : start + 700]).to_json()))
    assert merged.sampled() == whole.sampled() and len(whole.sampled()) == 2000
    assert sorted(merged.texts) == sorted(whole.texts)
    for name in ("rows", "characters", "words", "empty", "augmented", "labels", "columns", "slices", "vocabulary"):
        assert getattr(merged, name) == getattr(whole, name), name
    assert (whole.empty, whole.augmented, whole.slices["channel"]["mail"]) == (1, 1, 1)


def test_rows_that_say_the_same_are_found_within_and_between_splits() -> None:
    train = [*records(10), Record({"text": "Same   text", "label": "a"}), Record({"text": "same text", "label": "b"})]
    test = [Record({"text": "SAME TEXT", "label": "a"}), Record({"text": "another", "label": "a"})]
    found = overlap({"train": counted(train), "test": counted(test)})
    assert found.leaked == {"test": 1}
    assert found.conflicting == 2
    assert found.repeated["train"] == pytest.approx(1 / 12) and found.repeated["test"] == 0.0


def test_a_linear_model_finds_labels_that_were_swapped() -> None:
    rows = [*records(120), *records(120, "parcel", PARCEL, 1000)]
    texts, labels = [row.row["text"] for row in rows], [row.row["label"] for row in rows]
    labels[7], labels[150] = "parcel", "card"
    assert {one["index"] for one in doubtful_labels(texts, labels)[:2]} == {7, 150}
    assert doubtful_labels(texts[:3], labels[:3]) == []


def test_curves_rise_with_rows_and_topics_are_told_apart() -> None:
    texts = [row.row["text"] for row in (*records(200), *records(200, "parcel", PARCEL, 1000))]
    labels = ["card"] * 200 + ["parcel"] * 200
    curve, coverage = classifier_curve(texts, labels), coverage_curve(texts)
    assert curve is not None and curve.scores[-1] > 0.95
    assert coverage is not None and coverage.rows == sorted(coverage.rows)
    assert coverage.scores == sorted(coverage.scores) and coverage.scores[0] < coverage.scores[-1]
    assert coverage.at_double is None or coverage.at_double >= coverage.scores[-1] - 0.02
    groups = [set(topic.terms[:4]) for topic in topics(texts)]
    assert any(len(group & set(CARD)) >= 2 for group in groups) and any(
        len(group & set(PARCEL)) >= 2 for group in groups
    )
    assert classifier_curve(texts[:5], labels[:5]) is None


def profile_of(**train: Any) -> dict[str, Any]:
    """A profile without faults, but for what is given."""
    split = {
        "rows": 1000,
        "empty": 0,
        "labels": {"a": 500, "b": 500},
        "pii": {},
        "terms": {},
        "languages": {"en": 1000},
    }
    return {
        "rows_read": 1000,
        "unreadable": 0,
        "splits": {"train": split | train, "test": split | {"rows": 100}},
        "overlap": {"repeated": {"train": 0.0}, "conflicting": 0, "leaked": {"test": 0}},
        "near_duplicates": {"train": 0, "test": 0},
        "doubtful_share": 0.0,
    }


def test_a_clean_data_set_has_no_findings_and_full_scores() -> None:
    assert findings(profile_of()) == []
    assert set(scores(profile_of()).values()) == {1.0}


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"rows": 80}, "80 training rows: fewer than 500"),
        ({"labels": {"a": 900, "b": 3}}, "the class b has 3 training rows"),
        ({"labels": {"a": 900, "b": 20}}, "the class a has 45 times the rows of b"),
        ({"labels": {"a": 900}}, "test has labels that no training row has: b"),
        ({"pii": {"email": 4}}, "personal data in training rows .4 x email."),
        ({"terms": {"insult": 2}}, "2 listed slurs or insults"),
        ({"languages": {"en": 800, "de": 200}}, "several languages in training rows .en 800, de 200."),
        ({"truncated_share": 0.2}, r"20.0% of the training rows are longer than data.max_length"),
    ],
)
def test_each_fault_is_named(train: dict[str, Any], said: str) -> None:
    assert any(re.search(said, one.text) for one in findings(profile_of(**train)))


def test_a_leak_is_a_problem_and_comes_first() -> None:
    profile = profile_of(rows=80)
    profile["overlap"]["leaked"] = {"test": 5}
    first, second = findings(profile)
    assert first.level == "problem" and first.text.startswith("5 rows of test occur in the training rows")
    assert second.level == "warning"
    assert scores(profile)["independence"] == pytest.approx(0.95)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> dict[str, Any]:
    """Sixty classified messages with an e-mail address, a repeated row, a leaked row and one that cannot be read."""
    folder = tmp_path_factory.mktemp("profile")
    rows = [one.row | {"channel": "mail"} for one in (*records(30), *records(30, "parcel", PARCEL, 1000))]
    rows[3]["text"] = "Write to jane.doe@example.com about my card please"
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]) + '{"text": "x"}\n')
    (folder / "test.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in (rows[1], rows[40] | {"text": "new words"}))
    )
    config = RunConfig.model_validate(
        {
            "name": "profiled",
            "model": {"kind": "scratch"},
            "data": {"train": str(folder / "train.jsonl"), "test": str(folder / "test.jsonl")},
            "train": {"objective": {"kind": "classification"}},
        }
    )
    return profile_rows(config, Storage.open(folder / "data"), slices=["channel"])


def test_a_data_set_is_described_from_its_files(profile: dict[str, Any]) -> None:
    train = profile["splits"]["train"]
    assert (profile["rows_read"], train["rows"], profile["unreadable"]) == (64, 61, 1)
    assert train["labels"] == {"card": 31, "parcel": 30} and train["slices"]["channel"] == {"mail": 61}
    assert sum(train["pii"].values()) == 1
    assert profile["overlap"]["leaked"] == {"test": 1}
    assert profile["near_duplicates"] == {"train": 2, "test": 0}, "one row twice, and one that is also in test"
    assert [one["level"] for one in profile["findings"]][:2] == ["problem", "problem"]
    assert profile["rejected"][0]["place"].endswith("train.jsonl:62")
    json.dumps(profile)


def test_the_page_opens_offline_and_hides_no_fault(profile: dict[str, Any], tmp_path: Path) -> None:
    page = render(profile)
    assert page.count("<svg") >= 2
    outside = [url for url in re.findall(r"""(?:src|href)=["'](?!#)([^"']+)""", page) if not url.startswith("data:")]
    assert outside == []
    assert "rows of test occur in the training rows" in page
    assert "found the columns" in page, "the reason why a row was left out"
