"""Random mistakes."""

import pytest
from pydantic import ValidationError

from cluster.config.stages.augment import NoiseStage
from tests.trainers.data.stages.augment.rows import QUESTIONS, labelled, made, run, texts
from trainers.data.stages.augment.noise import NEIGHBOURS

NONE = {"kind": "noise", "delete": 0, "swap": 0, "typos": 0}


def copies(text: str, count: int = 20, **rates: float) -> list[str]:
    return texts(made(run(labelled(text), **{**NONE, **rates}, copies=count)))


def test_deleted_words_are_gone_and_the_rest_keeps_its_order():
    for copy in copies(QUESTIONS[0], delete=0.3):
        left = iter(QUESTIONS[0].split())
        assert all(word in left for word in copy.split())
        assert copy == copy.strip()


def test_the_rate_is_the_share_of_words_that_go():
    text = " ".join(f"w{number}" for number in range(2000))
    [copy] = copies(text, 1, delete=0.1)
    assert 1740 < len(copy.split()) < 1860


def test_swapped_and_inserted_words_are_those_of_the_text():
    for copy in copies("one two\nthree four", swap=0.5):
        assert sorted(copy.split()) == ["four", "one", "three", "two"] and "\n" in copy
    for copy in copies("one two three", insert=0.5):
        assert set(copy.split()) == {"one", "two", "three"} and len(copy.split()) > 3


def test_negations_are_neither_deleted_nor_misspelt():
    text = "I have not paid and don't want to, never."
    for copy in copies(text, delete=0.6, typos=0.5):
        assert {"not", "don't", "never."} <= set(copy.split())


def test_typing_errors_are_neighbouring_keys_and_spare_digits():
    assert set(NEIGHBOURS["g"]) == set("fhtyvb") and set(NEIGHBOURS["q"]) == set("wa")
    for copy in copies("Pay 1234567890 now", typos=0.4):
        assert copy.split()[1] == "1234567890"


def test_scanning_errors_are_characters_that_look_alike():
    assert "8ill 1s" in {copy for copy in copies("Bill ls", ocr=0.5)}


def test_a_truncated_text_begins_as_the_text_did():
    for copy in copies(QUESTIONS[2], 3, truncate=1.0):
        assert QUESTIONS[2].startswith(copy) and len(copy.split()) >= len(QUESTIONS[2].split()) // 2


def test_case_and_format_change_no_letters():
    found = copies("Hello, where is it?", 8, case=0.7, format=0.7)
    assert len(found) > 4
    assert {"".join(filter(str.isalpha, copy.lower())) for copy in found} == {"hellowhereisit"}


def test_no_rate_at_all_is_refused():
    with pytest.raises(ValidationError, match="nothing would be changed"):
        NoiseStage(delete=0, swap=0, typos=0)
