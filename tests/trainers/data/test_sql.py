"""Queries: read in pages, their database's URL in the environment."""

import json
import sqlite3
from pathlib import Path

import pytest

from cluster.config import DataConfig
from cluster.config.data import SqlSource
from cluster.exceptions import DataError
from trainers.data.readers import sql
from trainers.data.shapes import LabelledText
from trainers.data.sources import examples, locate

VARIABLE = "TEST_SUPPORT_DATABASE"
QUERY = "SELECT id, body AS text, topic AS label FROM tickets WHERE body LIKE '%:ticket%' ORDER BY id"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of 2,500 tickets, its URL in the environment."""
    path = tmp_path / "support.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tickets (id INTEGER, body TEXT, topic TEXT, due DATE)")
        rows = [(number, f"a :ticket {number}", "late", "2026-01-01") for number in range(2500)]
        connection.executemany("INSERT INTO tickets VALUES (?, ?, ?, ?)", rows)
    monkeypatch.setenv(VARIABLE, f"sqlite:///{path}")
    return path


def source(query: str = QUERY) -> SqlSource:
    return SqlSource(sql=query, url_variable=VARIABLE, name="tickets")


def test_rows_of_a_query_are_read_in_pages(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROWS_PER_PAGE", 7)
    read = list(examples(source(), DataConfig(train="unused"), "train", classification=True))
    assert len(read) == 2500 and read[-1] == LabelledText("a :ticket 2499", "late")
    found = locate(source())
    file, position, row = next(found.plans[0].rows())
    assert found.where(file, position) == "tickets: row 1" and json.loads(row)["id"] == 0


def test_the_stamp_follows_the_rows_and_not_their_order(database: Path) -> None:
    stamp = locate(source()).files[0].stamp
    assert locate(source(QUERY + " DESC")).files[0].stamp == stamp
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE tickets SET topic = 'lost' WHERE id = 7")
    assert locate(source()).files[0].stamp != stamp


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("SELECT absent FROM tickets", r"tickets: the query failed \(no such column: absent\); check it and \$TEST_"),
        ("SELECT * FROM tickets WHERE id < 0", "tickets: the query returns no rows"),
        ("SELEC", "tickets: the query failed .*syntax error"),
    ],
)
def test_a_query_without_rows_is_one_sentence(database: Path, query: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        locate(source(query))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (None, "the environment variable TEST_SUPPORT_DATABASE is not set; set it to the database's URL"),
        ("me:secret", "the query failed|Could not parse"),
        ("nosuch://me:secret@host/name", "the query failed|driver"),
        ("sqlite:////none/at/all.db", "the query failed .unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_sentence_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str | None, sentence: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if url:
        monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(DataError, match=sentence) as caught:
        locate(source())
    assert "secret" not in str(caught.value)
