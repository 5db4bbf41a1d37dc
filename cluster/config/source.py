"""Entries of `data.train`, `data.validation` and `data.test`: where rows lie, and how those of one place are read."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from cluster.config.base import Config

ShapeName = Literal[
    "auto",
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "text",
    "pretokenised",
    "text_label",
    "multi_label",
    "token_classification",
    "preference",
    "unpaired",
    "stepwise",
    "prompt_only",
    "embedding",
]
Role = Literal["system", "developer", "user", "assistant", "tool", "function_call"]


class Columns(Config):
    """Names of the columns to read when they differ from the usual ones."""

    text: str | None = None
    """Column with the text of a classification or plain-text row."""
    label: str | None = None
    """Column with the class of a classification row (a list of them for `multi_label`), or with the thumb up or down of an
    `unpaired` row."""
    messages: str | None = None
    """Column with the conversation."""
    prompt: str | None = None
    """Column with the prompt (prompt/completion rows) or instruction (alpaca rows)."""
    completion: str | None = None
    """Column with the answer."""
    input: str | None = None
    """Column with what is put below the instruction of an alpaca row."""
    history: str | None = None
    """Column with earlier exchanges of an alpaca row, as pairs of question and answer."""
    system: str | None = None
    """Column with the system message."""
    tools: str | None = None
    """Column with the tools of a conversation."""
    chosen: str | None = None
    """Column with the better answer of a preference row."""
    rejected: str | None = None
    """Column with the worse answer of a preference row."""
    anchor: str | None = None
    """Column with the first text of an embedding row."""
    positive: str | None = None
    """Column with the text that belongs to the first."""
    negative: str | None = None
    """Column with a text that does not."""
    tokens: str | None = None
    """Column with the words of a token classification row."""
    tags: str | None = None
    """Column with the class of each word."""
    role: str | None = None
    """Key of a message with its role. Default: `role` or `from`."""
    content: str | None = None
    """Key of a message with its text. Default: `content` or `value`."""
    roles: dict[str, Role] = Field(default_factory=dict)
    """What unusual roles in messages stand for, such as `{customer: user}`."""


class _Source(Config, ABC):
    """What entries of every kind may say."""

    name: str | None = None
    """What it is called in counts and messages; in a `dataset_info.json`, the data set that is meant."""
    shape: ShapeName | None = None
    """What its rows look like. Default: `data.shape`."""
    columns: Columns | None = None
    """Columns to read, in place of `data.columns`."""
    max_rows: int | None = Field(default=None, ge=1)
    """Read at most so many rows of it. Default: `data.max_rows`."""
    weight: float = Field(default=1.0, gt=0.0)
    """How often its rows are drawn beside those of the other sources; needs `data.mix`, so only sources of `train` have one."""
    license: str | None = None
    """Licence of its rows. It travels with each row as the column `license`, unless the row has one of its own."""
    consent: str | None = None
    """What the people in its rows agreed to. It travels with each row as the column `consent`."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where its rows lie, in the user's words."""

    @property
    def label(self) -> str:
        """What it is called in counts."""
        return self.name or self.place


class FileSource(_Source):
    """Files, a folder, a glob, a URL, a data set of the Hub, or one that a `dataset_info.json` describes."""

    path: str = Field(min_length=1)
    """File, folder, glob, URL, Hub id or `dataset_info.json`, as a plain string would name it."""
    split: str | None = None
    """Split of a `datasets` folder or Hub data set. Default: the one of that role."""
    subset: str | None = None
    """Configuration of a Hub data set that has several."""

    @property
    def place(self) -> str:
        return self.path


class SqlSource(_Source):
    """The rows that a query to a database returns, read in pages."""

    sql: str = Field(min_length=1)
    """A query whose result has named columns. Give it an `ORDER BY`, so that the rows come in the same order again."""
    url_variable: str
    """Environment variable with the database's URL as SQLAlchemy writes it (`postgresql://user:password@host/name`), so
    that no password stands in a file. It must be set wherever Ray's workers run."""

    @property
    def place(self) -> str:
        return f"${self.url_variable}"

    @field_validator("url_variable")
    @classmethod
    def url_variable_is_a_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(
                "url_variable must be an environment variable that holds the URL, such as DATABASE_URL, and not the URL "
                "itself: it may hold a password"
            )
        return name


def _kind_of_entry(value: Any) -> str:
    if isinstance(value, SqlSource) or (isinstance(value, dict) and "sql" in value):
        return "database"
    return "file" if isinstance(value, FileSource | dict) else "text"


def _kind_of_entries(value: Any) -> str:
    return "list" if isinstance(value, list) else "entry"


Entry = Annotated[
    Annotated[str, Tag("text"), Field(min_length=1)]
    | Annotated[FileSource, Tag("file")]
    | Annotated[SqlSource, Tag("database")],
    Discriminator(_kind_of_entry),
]
"""One source: what is read from one place."""
Entries = Annotated[
    Annotated[Entry, Tag("entry")] | Annotated[list[Entry], Tag("list"), Field(min_length=1)],
    Discriminator(_kind_of_entries),
]
"""One or several sources."""
AnySource = FileSource | SqlSource


def as_sources(entries: str | AnySource | Sequence[str | AnySource] | None) -> list[AnySource]:
    """Entries in their long form."""
    if entries is None:
        return []
    listed = [entries] if isinstance(entries, str | FileSource | SqlSource) else entries
    return [FileSource(path=entry) if isinstance(entry, str) else entry for entry in listed]
