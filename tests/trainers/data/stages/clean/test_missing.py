"""Rows with a hole in them."""

import pytest

from tests.trainers.data.stages.clean.rows import chat, one


@pytest.mark.parametrize("answer", ["", "  \n", "N/A", "null", "TODO.", "**TBD**", "[deleted]", "nan", "???",
                                    "Lorem ipsum dolor sit amet, consectetur."])  # fmt: skip
def test_an_answer_that_says_nothing_rejects_the_row(answer):
    rejected = one(chat(answer), kind="missing").rejected
    assert rejected == f"missing: assistant text is missing (it is {answer[:40]!r})"


@pytest.mark.parametrize("answer", ["None", "No.", "-", "...", "0", "A null pointer is one that points to nothing."])
def test_short_answers_that_say_something_stay(answer):
    assert one(chat(answer), kind="missing").rejected is None


def test_an_empty_text_beside_tool_calls_is_none_missing():
    row = chat("")
    row["messages"][1]["tool_calls"] = [{"type": "function", "function": {"name": "weather", "arguments": {}}}]
    assert one(row, kind="missing").rejected is None
    row["messages"][0]["content"] = "N/A"
    assert one(row, kind="missing").rejected == "missing: user text is missing (it is 'N/A')"


def test_labels_and_named_columns_must_hold_something():
    assert one({"text": "Hi", "label": "NaN"}, kind="missing").rejected == "missing: label is missing (it is 'NaN')"
    row = {"text": "Hi", "label": "greeting"}
    assert one(row, kind="missing", columns=["user"]).rejected == "missing: column user is missing (it is not there)"
    assert one(row | {"columns": {"user": float("nan")}}, kind="missing", columns=["user"]).rejected
    assert one(row | {"columns": {"user": 0}}, kind="missing", columns=["user"]).rejected is None


def test_a_rule_fills_what_is_missing():
    fill = {"assistant": "I do not know.", "user_id": "nobody"}
    record = one(chat("n/a"), kind="missing", columns=["user_id"], fill=fill)
    assert record.rejected is None and record.changes == ["missing"]
    assert record.texts()[-1] == "I do not know." and record.columns == {"user_id": "nobody"}


def test_ones_own_placeholders_take_the_place_of_the_usual_ones():
    settings = {"kind": "missing", "placeholders": ["kA"], "contains": []}
    assert one("K.A.", **settings).rejected is None and one("(ka", **settings).rejected is None
    assert one("*ka*", **settings).rejected and one("N/A", **settings).rejected is None
