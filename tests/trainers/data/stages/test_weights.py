"""How much rows count in the loss."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.exceptions import DataError
from tests.trainers.data.stages.whole_data import run_here, texts
from trainers.data.record import Record

ROWS = [("a", "often"), ("b", "often"), ("c", "often"), ("d", "rarely")]


def weights(by: dict[str, Any], records: list[Record] | None = None) -> list[float]:
    after = run_here({"kind": "weights", "by": by}, records or texts(*ROWS))
    return [record.row["weight"] for record in after]


def test_by_inverse_frequency_classes_count_alike() -> None:
    assert weights({}) == pytest.approx([4 / 6, 4 / 6, 4 / 6, 2.0])


def test_effective_numbers_are_between_equal_weights_and_inverse_frequency() -> None:
    assert weights({"kind": "effective_number", "beta": 0.0}) == pytest.approx([1.0] * 4)
    half = [1 - 0.5, 1 - 0.5**3]
    ratio = half[1] / half[0]
    found = weights({"kind": "effective_number", "beta": 0.5})
    assert found[3] / found[0] == pytest.approx(ratio)
    assert sum(found) == pytest.approx(4)
    assert weights({"kind": "effective_number", "beta": 0.999999}) == pytest.approx(weights({}), rel=1e-3)


def test_given_weights_and_what_is_not_named_weighs_one() -> None:
    assert weights({"kind": "given", "weights": {"rarely": 2.5}}) == [1.0, 1.0, 1.0, 2.5]
    with pytest.raises(DataError, match="names label 'never', which no training row has"):
        weights({"kind": "given", "weights": {"never": 2.0}})


def test_a_column_weighs_each_row_and_multiplies_what_it_weighs_already() -> None:
    records = texts("a", "b")
    records[0].columns, records[1].columns = {"trust": 0.5}, {"trust": "2"}
    records[1].row["weight"] = 3.0
    assert weights({"kind": "column", "column": "trust"}, records) == [0.5, 6.0]
    records[1].columns["trust"] = -1
    with pytest.raises(DataError, match="train:2: trust is '-1', which is no number of at least 0"):
        weights({"kind": "column", "column": "trust"}, records)


def test_rows_that_are_measured_on_are_not_weighted() -> None:
    [*_, row] = run_here({"kind": "weights"}, [*texts(*ROWS), *texts(("e", "often"), split="test")])
    assert "weight" not in row.row and row.changes == []
