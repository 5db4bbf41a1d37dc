"""Answers that break off."""

import json

import pytest

from tests.trainers.data.stages.clean.rows import chat, one, run

LONG = "The harbour was rebuilt after the storm, and the crane was moved to the museum. " * 3
WHOLE = [
    "Yes",
    "Paris",
    "and",
    f"{LONG}Done.",
    f'{LONG}He said "never."',
    f"{LONG}Enjoy! 🎉",
    f"{LONG}\n#### 72",
    f"{LONG}\n- apples\n- pears and some more of the things that one buys on a market day",
    f"{LONG}\nYours,\nJane Doe",
    f"{LONG}\n```python\nprint(1)\n```",
    f"{LONG}So proud :( of this #PuppyLove",
    "1) buy flour\n2) bake",
]


@pytest.mark.parametrize("answer", WHOLE, ids=lambda text: text[-20:])
def test_an_answer_that_is_whole_stays(answer):
    assert one(chat(answer), kind="truncated").rejected is None


@pytest.mark.parametrize(
    ("answer", "sign"),
    [
        (f"{LONG}\n```python\nprint(1", "a code fence is open"),
        (f"{LONG}This serves as a reminder of", "it ends where more must follow"),
        (f"{LONG}First the flour, then the eggs,", "it ends where more must follow"),
        (f"{LONG}The list (apples, pears and plu", "a bracket is open"),
        (f'{LONG}He called it "the crane of the harb', "a quotation is open"),
        (f"{LONG}Then we reverse the ord", "a long text ends without a punctuation mark"),
    ],
)
def test_an_answer_that_breaks_off_is_rejected_and_the_reason_shows_where(answer, sign):
    rejected = one(chat(answer), kind="truncated").rejected
    assert rejected == f"truncated: {sign} (...{answer[-40:]})".replace("\n", " ")


def test_only_what_is_asked_for_counts():
    broken = chat(f"{LONG}This serves as a reminder of")
    assert one(broken, kind="truncated", checks=["fence", "bracket"]).rejected is None
    noted = one(broken, kind="truncated", action="note")
    assert noted.rejected is None and noted.notes["truncated"].startswith("it ends where more must follow")
    assert one(chat("Fine.", f"{LONG}because of"), kind="truncated").rejected is None


def test_a_rejected_answer_of_a_pair_may_break_off():
    pair = {"prompt": "Say it.", "chosen": f"{LONG}Done.", "rejected": f"{LONG}because of"}
    assert one(pair, kind="truncated").rejected is None
    assert one(pair | {"chosen": pair["rejected"]}, kind="truncated").rejected


def test_real_answers_are_rejected_where_they_do_break_off(shared_data):
    rows = json.loads((shared_data / "llamafactory_demo" / "alpaca_en_demo.json").read_text())
    lost = [record.rejected for record in run(*[chat(row["output"]) for row in rows], kind="truncated")]
    found = [reason for reason in lost if reason]
    assert len(found) < 0.01 * len(rows)
    assert any("reminder of the importance of" in reason for reason in found)
