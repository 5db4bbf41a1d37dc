"""Which language a row is in."""

import csv

import pytest
from pydantic import ValidationError

from cluster.config.stages import parse_stages
from cluster.exceptions import ConfigError
from tests.trainers.data.stages.clean.rows import chat, one, run
from trainers.data.stages.clean.language import Language

SENTENCES = {
    "en": ["I would like to open a new account with your bank.", "Please reset my password, I can no longer log in."],
    "de": ["Ich möchte ein neues Konto eröffnen.", "Das Wetter ist heute sehr schön in Berlin."],
    "fr": ["Je voudrais ouvrir un nouveau compte bancaire.", "Comment puis-je activer ma carte ?"],
    "es": ["Quisiera abrir una cuenta nueva en su banco.", "El tiempo es muy bueno hoy en Madrid."],
    "pl": ["Chciałbym otworzyć nowe konto w państwa banku."],
    "ru": ["Я хотел бы открыть новый счёт в вашем банке."],
    "zh": ["我想在贵行开一个新账户，请问需要准备哪些材料和手续？"],
    "ar": ["أود فتح حساب جديد في مصرفكم من فضلكم."],
}


def test_sentences_are_noted_with_their_language():
    rows = [(language, text) for language, texts in SENTENCES.items() for text in texts]
    records = run(*[text for _, text in rows], kind="language")
    assert [record.notes["language"] for record in records] == [language for language, _ in rows]
    assert all(record.rejected is None and record.notes["language_confidence"] >= 0.6 for record in records)


def test_rows_in_other_languages_are_rejected():
    german, french = run(SENTENCES["de"][0], SENTENCES["fr"][0], kind="language", keep=["en", "de"])
    assert german.rejected is None
    assert french.rejected.startswith("language: language fr is not among those to keep (confidence 0.")


def test_short_and_doubtful_texts_are_undetermined_and_kept():
    records = run("OK", "4111 1111 1111 1111 https://example.com", "je suis", kind="language", keep=["en"])
    assert [(record.notes, record.rejected) for record in records] == [({"language": "und"}, None)] * 3
    assert one(SENTENCES["fr"][0], kind="language", keep=["en"], min_confidence=1.0).rejected is None


def test_code_has_no_language():
    answer = (
        "```python\n" + "return sorted(values, key=len)\n" * 20 + "```\nDas ist die kürzeste Lösung für deine Frage."
    )
    assert one(chat(answer, "Wie sortiere ich das?"), kind="language").notes["language"] == "de"


def test_a_language_that_the_model_does_not_know_is_refused_before_anything_runs():
    [config] = parse_stages([{"kind": "language", "keep": ["english"]}])
    with pytest.raises(ConfigError, match="english is none of the languages that can be told apart"):
        Language.inputs(config)
    with pytest.raises(ValidationError, match="keep names de, which candidates does not"):
        parse_stages([{"kind": "language", "keep": ["de"], "candidates": ["en", "fr"]}])


def test_real_questions_are_english(shared_data):
    with (shared_data / "banking77" / "test.csv").open() as file:
        records = run(*[row["text"] for row in csv.DictReader(file)], kind="language", keep=["en"])
    assert [record.row for record in records if record.rejected] == []
    assert sum(record.notes["language"] == "en" for record in records) > 0.95 * len(records)
