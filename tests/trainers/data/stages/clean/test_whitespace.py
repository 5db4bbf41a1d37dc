"""What takes room and is not seen."""

import pytest

from tests.trainers.data.stages.clean.rows import changed, one


def tidied(text: str, **settings) -> str:
    return changed(text, kind="whitespace", **settings)


@pytest.mark.parametrize(
    ("untidy", "tidy"),
    [
        ("two  words\t here ", "two words here"),
        (" one space before", "one space before"),
        ("bell\x07 and\x00 nothing", "bell and nothing"),
        ("Windows\r\nold Mac\rline\u2028separator", "Windows\nold Mac\nline\nseparator"),
        ("\ufeffzero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        ("no\u00a0break\u2009thin", "no break thin"),
        ("jo\u200diner", "joiner"),
        ("a\n\n\n\n\nb\n", "a\n\n\nb"),
    ],
)
def test_what_is_not_seen_goes(untidy, tidy):
    assert tidied(untidy) == tidy


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    return  x  # spaced\n\n\tif x:",
        "See:\n```python\na  =  1\n\n\n\n\nb = 2\n```\nDone.",
        "    indented at the start",
        "a family \U0001f468\u200d\U0001f469\u200d\U0001f467 of emoji",
        "می\u200cخواهم",  # Persian needs the non-joiner
        "a poem\n\nin two parts",
    ],
)
def test_what_is_meant_as_it_stands_stays(text):
    record = one(text, kind="whitespace")
    assert record.row["text"] == text and record.changes == []


def test_indentation_and_blank_lines_go_when_asked():
    assert tidied("a\n    b  c\n\nd", keep_indentation=False, max_blank_lines=0) == "a\nb c\nd"
