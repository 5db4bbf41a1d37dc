"""Rows that say nearly the same as another."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.trainers.data.stages.whole_data import rejected, run, run_here, texts
from trainers.data.minhash import rows_per_band, shingles, signatures, similar_pairs, similarity
from trainers.data.record import Record
from trainers.data.stages.exact_duplicates import NOTHING
from trainers.data.stages.near_duplicates import choose

NEAR = {"kind": "near_duplicates", "threshold": 0.6}
ONE = "How do I find my new card, which was sent last week?"
LIKE_ONE = "How do I find my new card, which was sent last month?"
OTHER = "Why was I charged a fee for the transfer to my account?"


@pytest.mark.usefixtures("ray_cluster")
def test_the_first_of_rows_that_are_nearly_the_same_stays_and_is_named(tmp_path: Path) -> None:
    rows = [*texts(ONE, OTHER, LIKE_ONE, "", "", "ok"), *texts(OTHER + "!", split="test")]
    found = rejected(run(NEAR, rows, tmp_path))
    assert list(found) == ["train:2", "train:3"]
    assert found["train:2"].startswith("near_duplicates: nearly repeats a test row (test:1, similarity 0.9")
    assert found["train:3"].startswith("near_duplicates: nearly repeats a train row (train:1, similarity 0.8")


def test_labels_that_differ_are_noted_or_keep_rows_apart() -> None:
    rows = texts((ONE, "arrival"), (LIKE_ONE, "delivery"))
    after = run_here(NEAR, rows)
    assert [record.notes.get("conflict") for record in after] == ["train:2", "train:1"]
    assert after[1].rejected is not None
    assert not rejected(run_here(NEAR | {"different_labels": "keep"}, rows))


def test_the_texts_to_compare_can_be_chosen() -> None:
    rows = [
        Record({"messages": [{"role": "user", "content": ONE}, {"role": "assistant", "content": answer}]}, place=answer)
        for answer in ("It is on its way, and should be with you by tomorrow.", "No idea.")
    ]
    assert not rejected(run_here(NEAR, rows))
    assert list(rejected(run_here(NEAR | {"roles": ["user"]}, rows))) == ["No idea."]


def test_no_row_goes_for_being_near_a_row_that_went() -> None:
    signed = np.zeros((3, 100), np.uint8)
    signed[1, :25] = 1
    signed[2, :50] = 1  # near row 1, which is near row 0, from which it is far
    pairs = similar_pairs(signed, 0.7)
    kept, similar = choose(signed, pairs, np.ones(3, bool), 0.7)
    assert kept.tolist() == [NOTHING, 0, NOTHING]
    assert similar[1] == pytest.approx(0.75, abs=0.01)


def test_the_bands_find_pairs_at_the_threshold() -> None:
    for threshold in (0.5, 0.7, 0.8, 0.95, 1.0):
        wide = rows_per_band(threshold, 128)
        assert 1 - (1 - threshold**wide) ** (128 // wide) >= 0.98


def test_signatures_estimate_the_share_of_common_shingles() -> None:
    random = np.random.default_rng(0)
    sets = [{str(number) for number in random.choice(150, 100, replace=False)} for _ in range(400)]
    signed = signatures(sets, 128, seed=3)
    exact = np.array([len(one & other) / len(one | other) for one, other in itertools.pairwise(sets)])
    error = similarity(signed, np.arange(399), np.arange(1, 400)) - exact
    assert abs(error.mean()) < 0.01 and error.std() < 0.045


def test_few_real_near_duplicates_are_missed_and_few_are_invented(shared_data: Path) -> None:
    """Against the exact similarity of all pairs of 1,500 rows of BANKING77."""
    with (shared_data / "banking77" / "train.csv").open(newline="") as file:
        sentences = [row["text"] for row in itertools.islice(csv.DictReader(file), 1500)]
    sets = [shingles(sentence, "characters", 5, ("case", "whitespace")) for sentence in sentences]
    exact = {
        (later, earlier): len(sets[later] & sets[earlier]) / len(sets[later] | sets[earlier])
        for later in range(len(sets))
        for earlier in range(later)
        if 2 * min(len(sets[later]), len(sets[earlier])) >= max(len(sets[later]), len(sets[earlier]))
    }
    later, earlier, _ = similar_pairs(signatures(sets, 128, seed=0), 0.6)
    found = set(zip(later.tolist(), earlier.tolist(), strict=True))
    clear = {pair for pair, similar in exact.items() if similar >= 0.7}
    assert len(clear) > 20
    assert len(clear & found) >= 0.95 * len(clear)
    assert all(exact[pair] > 0.45 for pair in found)
