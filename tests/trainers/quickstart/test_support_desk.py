"""Claims about the generated messages of the quickstart."""

import json
import re
from collections import Counter

import pytest

from trainers.quickstart.phrases import INTENTS, PRODUCTS, URGENCY
from trainers.quickstart.support_desk import read_rows, write_files

SIZES = {"train": 1500, "validation": 50, "test": 200, "unseen": 100}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("desk"), **SIZES)


def messages(path) -> list[str]:
    return [row["messages"][1]["content"] for row in read_rows(path)]


def bare(message: str) -> str:
    return re.sub(r"\W+", " ", message).strip().lower()


def test_the_same_seed_writes_the_same_bytes(files, tmp_path):
    again = write_files(tmp_path, **SIZES)
    assert all(
        getattr(files, name).read_bytes() == getattr(again, name).read_bytes()
        for name in ("train", "validation", "test", "unseen")
    )


def test_another_seed_writes_other_messages(files, tmp_path):
    other = write_files(tmp_path, **SIZES, seed=1)
    assert not {*map(bare, messages(files.test))} & {*map(bare, messages(other.test))}


def test_held_out_messages_occur_in_no_other_file_whatever_their_casing(files):
    texts = [
        bare(text) for path in (files.train, files.validation, files.test, files.unseen) for text in messages(path)
    ]
    assert len(texts) == sum(SIZES.values())
    assert max(Counter(texts).values()) == 1


def test_sentence_patterns_of_the_unseen_slice_are_in_no_training_row():
    for table in (INTENTS, URGENCY):
        for name, patterns in table.items():
            assert not ({*patterns.seen} & {*patterns.unseen}) - {""}, name


def test_answers_are_compact_json_with_known_values(files):
    for path in (files.train, files.test, files.unseen):
        for row in read_rows(path):
            text = row["messages"][2]["content"]
            answer = json.loads(text)
            assert text == json.dumps(answer, separators=(",", ":"))
            assert list(answer) == ["intent", "product", "urgency"]
            assert answer["intent"] in INTENTS
            assert answer["product"] in PRODUCTS
            assert answer["urgency"] in URGENCY


def test_no_answer_is_so_common_that_guessing_pays(files):
    answers = Counter(row["messages"][2]["content"] for row in read_rows(files.test))
    assert answers.most_common(1)[0][1] / SIZES["test"] < 0.05


def test_every_intent_product_and_urgency_is_trained_on(files):
    answers = [json.loads(row["messages"][2]["content"]) for row in read_rows(files.train)]
    for field, table in (("intent", INTENTS), ("product", PRODUCTS), ("urgency", URGENCY)):
        assert {answer[field] for answer in answers} == {*table}
