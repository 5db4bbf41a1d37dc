"""Claims about answers of others, joined with references by a user."""

import json

import pytest

from cluster.config import MetricSpec
from cluster.exceptions import DataError
from trainers.evaluation.joined import joined
from trainers.evaluation.metrics import measure


@pytest.fixture
def write(tmp_path):
    def write(name: str, *rows: dict) -> str:
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)) + "\n")
        return str(tmp_path / name)

    return write


def test_files_are_joined_in_order_or_by_a_column(write):
    wanted = write("r.jsonl", {"id": 1, "reference": "a", "topic": "x"}, {"id": 2, "reference": "b"})
    given = write("p.jsonl", {"id": 2, "output": "b"}, {"id": 1, "output": "a"})
    scores = {
        key: measure(joined(given, wanted, key=key), [MetricSpec(name="exact_match")])["exact_match"].value
        for key in (None, "id")
    }
    assert scores == {None: 0.0, "id": 1.0}
    assert joined(given, wanted, key="id").predictions[0].columns == {"id": 1, "topic": "x"}


def test_files_of_different_length_are_refused_with_both_lengths(write):
    wanted = write("r.jsonl", {"reference": "a"}, {"reference": "b"})
    given = write("p.jsonl", {"output": "a"})
    with pytest.raises(DataError, match=r"p\.jsonl has 1 rows and .*r\.jsonl has 2; expected one prediction for each"):
        joined(given, wanted)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": 1, "output": "a"}, {"id": 1, "output": "b"}], "found id '1' 2 times"),
        ([{"id": 1, "output": "a"}], r"p\.jsonl: lacks id '2' \(1 in all\)"),
        ([{"id": number, "output": "a"} for number in (1, 2, 3)], r"r\.jsonl: lacks id '3'"),
        ([{"id": 1, "answer": "a"}, {"id": 2, "answer": "a"}], "found id, answer; expected a row with output"),
    ],
)
def test_rows_that_do_not_belong_together_are_named(write, rows, said):
    wanted = write("r.jsonl", {"id": 1, "reference": "a"}, {"id": 2, "reference": "b"})
    with pytest.raises(DataError, match=said):
        joined(write("p.jsonl", *rows), wanted, key="id")
