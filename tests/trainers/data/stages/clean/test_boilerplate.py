"""Lines that belong to no text."""

import csv

import pytest
from pydantic import ValidationError

from tests.trainers.data.stages.clean.rows import chat, one, run

ARTICLE = "The harbour was rebuilt after the storm of 1953, and the old crane was moved to the museum."


@pytest.mark.parametrize(
    "line",
    [
        "We use cookies to give you the best experience.",
        "By continuing to use this site you agree to our use of cookies and our privacy policy.",
        "Accept all cookies",
        "Home | About us | Products | Contact",
        "Skip to main content",
        "* Share on Facebook",
        "Subscribe to our newsletter and never miss a post!",
        "© 2021 Harbour Times. All rights reserved.",
        "Unsubscribe",
        "To unsubscribe, click here.",
        "If you no longer wish to receive these emails, write to us.",
        "Sent from my iPhone",
        "Buy now and save 80% https://cheap.example/x",
        "great pills at https://bit.ly/3xYz",
    ],
)
def test_lines_around_a_text_go_and_the_text_stays(line):
    record = one(f"{line}\n{ARTICLE}\n\n{line}", kind="boilerplate")
    assert record.row["text"] == ARTICLE and record.rejected is None


@pytest.mark.parametrize(
    "text",
    [
        "How do I unsubscribe from the newsletter of the shop?",
        "Cookies are small files. A website stores them in your browser.",
        "He asked me to click here, and I did.",
        "Home is where the heart is.",
        "Do you accept card payments, or only cash?",
        "```\nUnsubscribe\n```",
        "See https://example.com/docs for more.",
    ],
)
def test_sentences_about_such_things_stay(text):
    assert one(text, kind="boilerplate").row["text"] == text


def test_a_row_that_was_little_else_is_rejected():
    assert one("Accept all cookies", kind="boilerplate").rejected == (
        "boilerplate: little is left without boilerplate (0 of 18 characters)"
    )
    record = one(chat("Home | About | Contact\nYes."), kind="boilerplate")
    assert record.rejected is None and record.texts()[-1] == "Yes."
    assert one(chat("Home | About | Contact\nYes."), kind="boilerplate", roles=["assistant"]).rejected


def test_patterns_of_ones_own_match_whole_lines():
    record = one(f"Ticket 42 closed\n{ARTICLE} Ticket 42 closed", kind="boilerplate", patterns=[r"ticket \d+ closed"])
    assert record.row["text"] == f"{ARTICLE} Ticket 42 closed"
    settings = {"kind": "boilerplate", "builtin": False, "patterns": ["x"]}
    assert one("Unsubscribe", **settings).row["text"] == "Unsubscribe"
    with pytest.raises(ValidationError, match="is not a regular expression"):
        one("x", kind="boilerplate", patterns=["("])
    with pytest.raises(ValidationError, match="no line would be removed"):
        one("x", kind="boilerplate", builtin=False)


def test_real_questions_hold_none(shared_data):
    with (shared_data / "banking77" / "test.csv").open() as file:
        records = run(*[row["text"] for row in csv.DictReader(file)], kind="boilerplate")
    assert [record for record in records if record.changes or record.rejected] == []
