"""Rows drawn with replacement."""

from __future__ import annotations

import collections

from tests.trainers.data.stages.whole_data import run_here, texts


def times(settings: dict[str, object], number: int = 400, seed: int = 0) -> collections.Counter[str]:
    after = run_here({"kind": "bootstrap", **settings}, texts(*(f"text {at}" for at in range(number))), seed)
    return collections.Counter(record.place for record in after if record.rejected is None)


def test_as_many_rows_are_drawn_as_there_are_and_a_third_stays_out() -> None:
    found = times({})
    assert sum(found.values()) == 400
    assert 0.58 < len(found) / 400 < 0.69  # 1 - 1/e


def test_another_sample_is_another_draw_and_the_same_one_is_the_same() -> None:
    assert times({"sample": 1}) == times({"sample": 1}) != times({"sample": 2})


def test_a_share_draws_fewer() -> None:
    assert sum(times({"share": 0.25}).values()) == 100


def test_what_is_measured_on_stays() -> None:
    rows = [*texts("a", "b", "c"), *texts("d", "e", split="validation")]
    after = run_here({"kind": "bootstrap"}, rows)
    assert [record.place for record in after if record.split == "validation"] == ["validation:1", "validation:2"]
