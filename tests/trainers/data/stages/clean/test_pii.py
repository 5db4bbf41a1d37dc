"""Personal data and secrets."""

import csv
import json
import sys

import pytest
from pydantic import ValidationError

from cluster.config.stages import parse_stages
from cluster.exceptions import ConfigError
from tests.trainers.data.stages.clean.rows import changed, chat, one, run
from trainers.data.stages import StageContext
from trainers.data.stages.clean import presidio
from trainers.data.stages.clean.pii import Pii

FOUND = [
    ("Write to jane.doe+news@mail.example.co.uk.", "Write to <EMAIL>."),
    ("Call +1 (415) 555-0132 or 0171 2345678", "Call <PHONE> or <PHONE>"),
    ("Call 415-555-2671, or +49 30 901820!", "Call <PHONE>, or <PHONE>!"),
    ("My card 4111 1111 1111 1111 was stolen", "My card <CREDIT_CARD> was stolen"),
    ("IBAN DE89 3704 0044 0532 0130 00, please", "IBAN <IBAN>, please"),
    ("GB29NWBK60161331926819", "<IBAN>"),
    ("from 192.168.10.7 and 2001:db8::ff00:42:8329", "from <IP_ADDRESS> and <IP_ADDRESS>"),
    ("SSN 536-90-4399.", "SSN <US_SSN>."),
    ("git clone https://jane:s3cret@git.example.com/x", "git clone <URL_CREDENTIALS>"),
    ("key=sk-proj-abcdefghij0123456789ABCD", "key=<API_KEY>"),
    ("AKIAIOSFODNN7EXAMPLE", "<API_KEY>"),
]
HARMLESS = [
    "4111 1111 1111 1112 has a wrong check digit",
    "DE89 3704 0044 0532 0130 01 is wrong as well",
    "in 2019-2020 he earned 1,234,567 dollars, on 2021-03-04 10:30:45",
    "4000/2000 = 2, 360-270 = 90, 0.75-0.25-0.10 = 0.40, 16128-3294",
    "version 1.2.3.4, std::vector, a::b, 127.0.0.1, section 1.1.1.1",
    "me @home, price@5, https://example.com/x:80/@y",
    "order 12345678, 20 000 000 people, ISBN 978-3-16-148410-0",
]


@pytest.mark.parametrize(("text", "masked"), FOUND)
def test_what_is_personal_or_secret_is_masked_by_its_kind(text, masked):
    assert changed(text, kind="pii") == masked


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text):
    record = one(text, kind="pii")
    assert record.row["text"] == text and record.notes == {}


def test_counts_by_kind_are_noted_and_no_value_survives_in_what_is_kept():
    row = chat("Sent to jane@example.com, a@b.org", "I am at +1 415-555-0132") | {
        "columns": {"user": "jane@example.com"}
    }
    for action in ("mask", "reject"):
        record = one(row, kind="pii", action=action)
        assert record.notes["pii"] == {"phone": 1, "email": 3}
        kept = json.dumps([record.row, record.columns, record.before, record.notes, record.rejected])
        assert not any(value in kept for value in ("jane", "a@b", "555"))
    assert record.rejected == "pii: personal data or secrets (1 phone, 3 email)"


def test_what_an_earlier_stage_kept_of_the_row_is_masked_too():
    [record] = run("mail  jane@example.com", kind="whitespace")
    assert "jane" in record.before
    [config] = parse_stages([{"kind": "pii"}])
    Pii(config, StageContext())([record])
    assert json.loads(record.before) == {"text": "mail  <EMAIL>"}


def test_a_hash_is_the_same_for_a_value_and_another_with_another_seed():
    first, second = run("jane@example.com", "Jane@Example.com, joe@example.com", kind="pii", mask="hash")
    mask = first.row["text"]
    assert mask.startswith("<EMAIL_") and second.row["text"].startswith(f"{mask}, <EMAIL_")
    assert second.row["text"] != f"{mask}, {mask}"
    [other] = run("jane@example.com", kind="pii", mask="hash", context=StageContext(seed=4))
    assert other.row["text"] != mask


def test_notes_alone_change_nothing_and_kinds_columns_and_roles_can_be_chosen():
    record = one("jane@example.com", kind="pii", action="note")
    assert record.row["text"] == "jane@example.com" and record.notes["pii"] == {"email": 1} and not record.changes
    assert one("jane@example.com", kind="pii", kinds=["phone"]).notes == {}
    row = {"text": "Hi", "columns": {"user": "jane@example.com"}}
    assert one(row, kind="pii", columns=False).columns == {"user": "jane@example.com"}
    assert one(chat("a@b.org", "c@d.org"), kind="pii", roles=["user"]).texts() == ["<EMAIL>", "a@b.org"]


def test_real_questions_and_sums_hold_almost_none(shared_data):
    with (shared_data / "banking77" / "train.csv").open() as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    problems = [json.loads(line) for line in (shared_data / "gsm8k" / "test.jsonl").open()]
    texts = [*questions, *(f"{row['question']}\n{row['answer']}" for row in problems)]
    assert [record.row for record in run(*texts, kind="pii", action="note") if record.notes] == []


# -- Presidio -------------------------------------------------------------------------------------


def test_presidio_finds_more_kinds_without_a_model():
    pytest.importorskip("presidio_analyzer", reason="Presidio is not installed")
    text = "My wallet is 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ, my number QQ 12 34 56 C, my mail a@b.org"
    assert changed(text, kind="pii") == text.replace("a@b.org", "<EMAIL>")
    assert "<CRYPTO>" in changed(text, kind="pii", presidio={})


def test_names_are_found_by_a_model_of_spacy(tmp_path):
    pytest.importorskip("presidio_analyzer", reason="Presidio is not installed")
    import spacy

    model = spacy.blank("en")
    model.add_pipe("entity_ruler").add_patterns(
        [{"label": "PERSON", "pattern": "Jane Doe"}, {"label": "GPE", "pattern": "Rome"}]
    )
    model.to_disk(tmp_path / "names")
    presidio = {"spacy_model": str(tmp_path / "names"), "entities": ["PERSON", "LOCATION"]}
    assert changed("Jane Doe of Rome", kind="pii", presidio=presidio) == "<PERSON> of <LOCATION>"
    with pytest.raises(ValidationError, match="PERSON: found by a language model only; set spacy_model"):
        parse_stages([{"kind": "pii", "presidio": {"entities": ["PERSON"]}}])


@pytest.mark.parametrize(
    ("presidio", "said"),
    [
        ({"entities": ["SHOE_SIZE"]}, "names SHOE_SIZE, which nothing finds"),
        ({"spacy_model": "nowhere"}, "is not installed"),
    ],
)
def test_what_presidio_does_not_have_is_refused_before_anything_runs(presidio, said):
    pytest.importorskip("presidio_analyzer", reason="Presidio is not installed")
    [config] = parse_stages([{"kind": "pii", "presidio": presidio}])
    with pytest.raises(ConfigError, match=said):
        Pii.inputs(config)


def test_without_presidio_its_use_is_refused_and_the_patterns_work(monkeypatch):
    presidio._load.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    [config] = parse_stages([{"kind": "pii", "presidio": {}}])
    with pytest.raises(ConfigError, match=r"Presidio is not installed .*pip install presidio-analyzer"):
        Pii.inputs(config)
    assert changed("a@b.org", kind="pii") == "<EMAIL>"
