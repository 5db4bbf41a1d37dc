"""Names swapped and facts said, from tables."""

import pytest

from tests.trainers.data.stages.augment.rows import chat, labelled, made, run, texts
from trainers.data.stages.augment.entities import Names


@pytest.fixture
def cities(tmp_path):
    (tmp_path / "cities.csv").write_text("entity,type\nParis,city\nNew York,city\nVISA,card\nMastercard,card\n")
    return {"kind": "entity_swap", "table": str(tmp_path / "cities.csv")}


@pytest.fixture
def facts(tmp_path):
    rows = '{"entity": "Paris", "fact": "Paris is in France."}\n{"entity": "VISA", "fact": "VISA is a card scheme."}\n'
    (tmp_path / "facts.jsonl").write_text(rows)
    return {"kind": "facts", "table": str(tmp_path / "facts.jsonl")}


def test_names_are_found_as_whole_words_the_longest_first():
    names = Names(["York", "New York", "C++"])
    assert [(one.name, one.start, one.end) for one in names.find("new  york, Yorkshire, york and C++.")] == [
        ("New York", 0, 9),
        ("York", 22, 26),
        ("C++", 31, 34),
    ]


def test_a_name_is_swapped_for_another_of_its_type_everywhere_in_the_row(cities):
    rows = made(run(labelled("My visa is lost in Paris. Paris is big."), **cities))
    assert texts(rows) == ["My Mastercard is lost in New York. New York is big."]


def test_a_name_that_the_answer_says_stays_unless_answers_are_changed_too(cities):
    row = chat("Where is Paris?", "Paris is in France.")
    assert not made(run([row], **cities))
    [swapped] = made(run([row], **cities, roles=["user", "assistant"]))
    assert swapped.texts() == ["Where is New York?", "New York is in France."]


def test_a_name_is_not_swapped_for_one_that_is_there_already(cities):
    assert not made(run(labelled("from Paris to New York"), **cities))


def test_facts_are_said_beside_the_text_that_mentions_their_entity(facts):
    rows = labelled("a trip to paris", "a trip to Rome")
    assert texts(made(run(rows, **facts))) == ["a trip to paris Paris is in France."]
    assert texts(made(run(rows, **facts, position="before", separator="\n"))) == [
        "Paris is in France.\na trip to paris"
    ]


def test_no_more_facts_than_asked_for_and_none_twice(facts):
    both = labelled("VISA in Paris")
    assert len(made(run(both, **facts, copies=2))) == 2
    [row] = made(run(both, **facts, most=5))
    assert all(row.text().count(fact) == 1 for fact in ("Paris is in France.", "VISA is a card scheme."))
    assert not made(run(labelled("Paris is in France."), **facts))
