"""Claims about slices by column, language and expression."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.result import Prediction
from trainers.evaluation.slices import MOST_VALUES, NO_VALUE, OTHERS, slice_values

ROWS = [
    Prediction("x:1", "yes", "no", prompt="Where is my parcel?", columns={"channel": "mail", "amount": 5}),
    Prediction(
        "x:2", "no", "no", prompt="Wo ist mein Paket geblieben, bitte?", columns={"channel": "chat", "amount": 50}
    ),
    Prediction("x:3", "no", "no", prompt="short", columns={"amount": None}),
]


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("channel", ["mail", "chat", NO_VALUE]),
        ("len(prompt) > 18", ["yes", "yes", "no"]),
        ("channel == 'mail'", ["yes", "no", NO_VALUE]),
        ("channel in ('mail', 'phone') and amount < 10", ["yes", "no", NO_VALUE]),
        ("amount // 10 * 10", ["0", "50", NO_VALUE]),
        ("words(prompt)", ["4", "6", "1"]),
        ("not starts(lower(prompt), 'wo')", ["yes", "no", "yes"]),
        ("1 < len(reference) <= 2", ["no", "yes", "yes"]),
        ("output", ["no", "no", "no"]),
        ("-amount > -10 or reference == 'yes'", ["yes", "no", NO_VALUE]),
    ],
)
def test_expressions_are_computed_from_columns_and_texts(expression, values):
    assert slice_values(expression, ROWS) == values


def test_language_is_told_from_the_text_unless_a_column_says_it():
    long = [
        Prediction("x:1", "a", "b", prompt="I would like to know where my new card is, since it has not come yet."),
        Prediction(
            "x:2", "a", "b", prompt="Ich möchte gern wissen, wo meine neue Karte bleibt, sie ist noch nicht da."
        ),
    ]
    assert slice_values("language", long) == ["en", "de"]
    assert slice_values("language == 'de'", long) == ["no", "yes"]
    told = [Prediction("x:1", "a", "b", prompt="Hallo", columns={"language": "nds"})]
    assert slice_values("language", told) == ["nds"]


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "prompt.upper()",
        "(lambda: 1)()",
        "[x for x in prompt]",
        "2 ** 10",
        "open('/etc/passwd')",
        "prompt[0]",
        "len(prompt, key=1)",
        "f'{prompt}'",
        "x := 1",
        "import os",
        "~amount",
        "(" * 500,
    ],
)
def test_nothing_but_what_is_allowed_is_computed(expression):
    with pytest.raises(ConfigError, match="the slice"):
        slice_values(expression, ROWS)


@given(st.text(max_size=30))
def test_no_text_brings_more_than_a_sentence(text):
    try:
        assert len(slice_values(text, ROWS)) == len(ROWS)
    except (ConfigError, DataError) as error:
        assert "slice" in str(error)


def test_unknown_columns_and_values_that_do_not_suit_are_named():
    with pytest.raises(DataError, match=r"names 'sauce', which no row has; columns are amount, channel"):
        slice_values("sauce == 'mail'", ROWS)
    with pytest.raises(DataError, match=r"x:1: the slice 'channel > 3' cannot be computed"):
        slice_values("channel > 3", ROWS)


def test_texts_cannot_be_made_to_fill_memory():
    with pytest.raises(DataError, match="cannot be computed"):
        slice_values("prompt * 1000000000", ROWS)


def test_of_very_many_values_the_rare_ones_are_put_together():
    rows = [Prediction(f"x:{n}", "a", "b", columns={"user": max(n, 10)}) for n in range(3 * MOST_VALUES)]
    values = slice_values("user", rows)
    assert len(set(values)) == MOST_VALUES and values.count("10") == 11 and values.count(OTHERS) > MOST_VALUES
