"""A mix of stages as one entry."""

import collections

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster.config.stages import Stage
from tests.trainers.data.stages.augment.rows import labelled, made, run, texts

SHOUT = {"kind": "noise", "delete": 0, "swap": 0, "typos": 0, "format": 0, "case": 1.0}
SWAP = {"kind": "noise", "delete": 0, "typos": 0, "swap": 1.0}
ROWS = [f"row number {number}" for number in range(300)]


@pytest.fixture
def renamed(tmp_path):
    """A stage that turns `row` into `line`."""
    (tmp_path / "words.csv").write_text("word,synonyms\nrow,line\n")
    return {"kind": "synonyms", "thesaurus": str(tmp_path / "words.csv"), "rate": 1.0}


def policy(rows, **settings):
    return made(run(rows, kind="policy", **settings))


def test_one_stage_makes_each_copy_drawn_by_the_shares(renamed):
    rows = policy(labelled(*ROWS), stages=[{**renamed, "share": 0.75}, {**SWAP, "share": 0.25}])
    makers = collections.Counter(row.notes["augmented"] for row in rows)
    assert set(makers) == {"synonyms", "noise"} and 190 < makers["synonyms"] < 260
    assert all(row.text().startswith("line number") == (row.notes["augmented"] == "synonyms") for row in rows)


def test_some_stages_act_in_their_order_each_with_its_probability(renamed):
    rows = policy(labelled(*ROWS), choose="some", stages=[{**renamed, "share": 0.5}, {**SWAP, "share": 0.5}])
    makers = collections.Counter(row.notes["augmented"] for row in rows)
    assert set(makers) == {"synonyms", "noise", "synonyms+noise"}
    assert len(rows) > 280


def test_all_stages_make_each_copy(renamed):
    [row] = policy(labelled("row one"), choose="all", stages=[renamed, SWAP])
    assert (row.text(), row.notes["augmented"]) == ("one line", "synonyms+noise")


def test_a_stage_inside_keeps_to_its_classes(renamed):
    rows = labelled("row one", label="card") + labelled("row two", label="refund")
    found = policy(rows, stages=[{**renamed, "labels": ["card"]}, {**SWAP, "labels": ["card"]}])
    assert [row.label for row in found] == ["card"]


def test_copies_count_for_the_policy_as_a_whole(renamed):
    assert sorted(texts(policy(labelled("row one"), copies=2, stages=[renamed, SWAP]))) == ["line one", "one row"]
    assert sorted(texts(policy(labelled("row"), copies=5, stages=[renamed, SHOUT]))) == ["ROW", "Row", "line"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stages": [{**SWAP, "copies": 2}]}, "set it on the policy"),
        ({"stages": [{**SWAP, "share": 0.5}], "choose": "all"}, "use choose: some"),
        ({"stages": []}, "at least 1 item"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(Stage).validate_python({"kind": "policy", **settings})
