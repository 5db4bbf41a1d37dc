"""Rules of thumb for texts worth learning from."""

import json

import pytest

from tests.trainers.data.stages.clean.rows import chat, one, run
from trainers.data.stages.clean.quality import DOCUMENT, Thresholds, judge_text

ARTICLE = (
    "The harbour of the town was rebuilt after the great storm, and the old crane that stood on its pier was moved to "
    "the museum. Visitors can see it there from April to October, together with a model of the ships that it used to "
    "load. The museum asks for a small fee, which goes to the school of crafts next door and its pupils."
)
LOOP = "I will be there. " * 20


def failed(text, **settings):
    return one(text, kind="quality", action="note", **settings).notes["quality"]["failed"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Too short a text for a document, and for the rules that go with it.", "words"),
        (ARTICLE.replace(" ", ""), "words"),
        (" ".join("ab c de" for _ in range(30)), "word_length"),
        (ARTICLE.replace("the", "# the"), "symbols"),
        (ARTICLE + " 12 13 14 15 16 17" * 5, "alphabetic_words"),
        ("harbour crane pier museum April October fee school crafts " * 6, "stop_words"),
        ("\n".join(f"- {line}" for line in ARTICLE.split(". ")), "bullet_lines"),
        (ARTICLE.replace(",", "...\n").replace(". ", "...\n"), "ellipsis_lines"),
        (ARTICLE.replace(" and", "\nand").replace(" t", "\nt"), "short_lines"),
        (ARTICLE.replace(".", "").replace(",", "\n"), "line_endings"),
        ("\n".join([ARTICLE, ARTICLE]), "repeated_lines"),
        (f"{ARTICLE} {LOOP}", "top_ngram"),
        (f"{ARTICLE} {ARTICLE}", "repeated_ngrams"),
    ],
)
def test_each_rule_finds_what_it_is_for(text, rule):
    assert rule in failed(text)
    assert rule not in failed(text, skip=[rule])


def test_prose_passes_every_rule_and_scores_one():
    record = one(ARTICLE, kind="quality")
    assert record.rejected is None and record.notes["quality"] == {"score": 1.0, "failed": []}


def test_the_reason_names_the_rule_and_what_was_found():
    record = one("Far too short.", kind="quality")
    assert record.rejected == "quality: quality rule words (3 words)"
    assert record.notes["quality"] == {"score": 0.75, "failed": ["words", "stop_words", "short_lines"]}


@pytest.mark.parametrize("answer", ["Yes.", "42", "- milk\n- eggs\n- flour", "2 + 2 = 4\n4 * 3 = 12\n#### 12", "好的，没问题。",
                                    "```python\nx = 1\nx = 1\nx = 1\nx = 1\n```"])  # fmt: skip
def test_short_answers_lists_sums_and_code_are_fine_in_a_chat(answer):
    assert one(chat(answer), kind="quality").rejected is None


def test_an_answer_that_loops_is_not_fine_even_in_a_chat():
    assert one(chat(LOOP), kind="quality").rejected == "quality: quality rule top_ngram ('i will be there.' 20 times)"
    assert one(chat("Fine.", LOOP), kind="quality").rejected is None
    assert one(chat("Fine.", LOOP), kind="quality", roles=["user"]).rejected


def test_rows_with_a_label_are_judged_as_chat_unless_a_preset_says_otherwise():
    row = {"text": "Where is my card?", "label": "card_arrival"}
    assert one(row, kind="quality").rejected is None
    assert one(row, kind="quality", preset="document").rejected
    assert one(row, kind="quality", min_words=5).rejected == "quality: quality rule words (4 words)"


def test_stop_words_are_those_of_the_language_that_was_noted():
    german = "Der Hafen der Stadt wurde nach dem Sturm neu gebaut, und der alte Kran kam in das Museum am Markt. " * 2
    assert "stop_words" in failed(german)
    assert "stop_words" not in judge_text(german, Thresholds(**DOCUMENT), "de")
    assert "stop_words" not in judge_text(german, Thresholds(**DOCUMENT), "und")


def test_text_without_spaces_between_words_is_judged_by_its_lines_only():
    assert failed("我想在贵行开一个新账户，请问需要准备哪些材料和手续？" * 3) == []


def test_most_real_answers_and_problems_pass(shared_data):
    rows = json.loads((shared_data / "llamafactory_demo" / "alpaca_en_demo.json").read_text())
    problems = [json.loads(line) for line in (shared_data / "gsm8k" / "test.jsonl").open()]
    answers = [row["output"] for row in rows] + [row["answer"] for row in problems]
    lost = [record.rejected for record in run(*map(chat, answers), kind="quality") if record.rejected]
    assert len(lost) < 0.005 * len(answers)
