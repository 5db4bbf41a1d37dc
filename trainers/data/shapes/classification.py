"""Texts with a class, with several, or with one for each word."""

from __future__ import annotations

import dataclasses
from typing import Any

from cluster.config.data import DataConfig
from cluster.exceptions import DataError
from trainers.data.shapes.base import (
    LABEL_COLUMNS,
    TEXT_COLUMNS,
    Row,
    column,
    filled,
    list_of,
    parse_if_json,
    shorten,
)

WORD_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("tags", "ner_tags", "pos_tags", "chunk_tags", "labels")


@dataclasses.dataclass(frozen=True)
class LabelledText:
    """A text and its class."""

    text: str
    label: str


@dataclasses.dataclass(frozen=True)
class MultiLabelText:
    """A text and the classes it belongs to, none or several."""

    text: str
    labels: list[str]


@dataclasses.dataclass(frozen=True)
class TaggedTokens:
    """Words and the class of each."""

    tokens: list[str]
    tags: list[str]


def from_text_label(row: Row, config: DataConfig) -> LabelledText:
    text, label = _text_and_label(row, config)
    return LabelledText(text, _class_name(label))


def from_multi_label(row: Row, config: DataConfig) -> MultiLabelText:
    text, labels = _text_and_label(row, config)
    labels = parse_if_json(labels)
    if not isinstance(labels, list):
        raise DataError(f"the labels are {shorten(labels)}, expected a list of class names or numbers")
    return MultiLabelText(text, [_class_name(label) for label in labels])


def _text_and_label(row: Row, config: DataConfig) -> tuple[str, Any]:
    text = filled(column(row, config.columns.text, TEXT_COLUMNS, "text"), "text")
    return text, column(row, config.columns.label, LABEL_COLUMNS, "label")


def _class_name(label: Any) -> str:
    if isinstance(label, bool):
        label = str(label).lower()
    if not isinstance(label, str | int) or not str(label).strip():
        raise DataError(f"the label is {shorten(label)}, expected a class name or number")
    return str(label).strip()


def from_token_classification(row: Row, config: DataConfig) -> TaggedTokens:
    tokens = list_of(column(row, config.columns.tokens, WORD_COLUMNS, "words"), str, "tokens", "words")
    tags = list_of(column(row, config.columns.tags, TAG_COLUMNS, "classes of the words"), (str, int), "tags", "classes")
    if len(tokens) != len(tags):
        raise DataError(f"found {len(tags)} tags for {len(tokens)} tokens, expected as many")
    return TaggedTokens(tokens, [str(tag) for tag in tags])
