"""From rows to tokens: what one row contributes, cut to the longest sequence, with its losses counted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.config.data import Columns, DataConfig
from cluster.exceptions import DataError
from trainers.data.formats import COLUMNS, MADE, PLACE, fault_of
from trainers.data.shapes import Conversation, Example, LabelledText, PromptCompletion, Text, TokenIds, read_row
from trainers.data.sources import Sources
from trainers.data.template import Rendered, render_many, render_with_spans, tokenize_rendered

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

TEXT_AT_ONCE = 1 << 20
"""Bytes of rows that are tokenised together."""
IGNORED = -100
"""Label of a token that carries no loss."""


@dataclasses.dataclass(frozen=True)
class ParsedRow:
    """One row as it was read.

    Attributes:
        example: what there is to learn from it.
        columns: its other columns, and what its source says of every row.
        place: the file and line that it was first read from, where stages made a file of it since.
    """

    example: Example
    columns: dict[str, Any]
    place: str | None = None


def parse(
    sources: Sources, place: tuple[int, int], row: str, config: DataConfig, classification: bool = False
) -> Example:
    """What there is to learn from one row, given as JSON text.

    Args:
        place: file and position, to name it in errors.

    Raises:
        DataError: with file and line, what was found and what was expected.
    """
    return parse_row(sources, place, row, config, classification).example


def parse_row(
    sources: Sources,
    place: tuple[int, int],
    row: str,
    config: DataConfig,
    classification: bool = False,
    *,
    to_learn: bool = True,
) -> ParsedRow:
    """One row, given as JSON text, with all that is known of it.

    Args:
        place: file and position, to name it in errors.
        to_learn: refuse shapes that no objective learns from.

    Raises:
        DataError: with file and line, what was found and what was expected.
    """
    origin: str | None = None
    try:
        value = load_row(row)
        config, columns = sources.settings(place[0], config), sources.tags(place[0])
        if isinstance(value, dict) and PLACE in value:
            origin, config = value.pop(PLACE), as_staged(config)
            columns |= value.pop(COLUMNS, {})
            value.pop(MADE, None)
        example, rest = read_row(value, config, classification, to_learn)
    except DataError as error:
        raise DataError(f"{origin or sources.where(*place)}: {error}") from error
    return ParsedRow(example, columns | rest, origin)


def load_row(row: str) -> Any:
    """The value that a row holds as JSON text.

    Raises:
        DataError: if it is not JSON, or JSON that cannot be handed on.
    """
    if unread := fault_of(row):
        raise DataError(unread[0])
    try:
        value = json.loads(row)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON ({error.msg} at column {error.colno}): found {_shorten(row)}; expected one JSON object per line"
        ) from error
    except (RecursionError, ValueError) as error:  # a thousand brackets; a number of five thousand digits
        raise DataError(f"JSON that cannot be read ({error}): found {_shorten(row)}; leave the row out") from error
    if "\\ud" in row or "\\uD" in row:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise DataError(
                f"holds {half}, half of a character that is written as two (a surrogate); write it out whole"
            ) from error
    return value


def as_staged(config: DataConfig) -> DataConfig:
    """The settings by which rows are read that went through the stages: they are in canonical form."""
    return config.model_copy(update={"shape": "auto", "columns": Columns(), "system": None})


def _said_by_stages(row: str) -> dict[str, Any]:
    """What stages say of a row's part in the loss; columns of these names in the user's own file say nothing."""
    if not row.startswith(f'{{"{PLACE}"') or not ('"weight"' in row or f'"{MADE}"' in row):
        return {}
    value = json.loads(row)
    return {"weight": float(value.get("weight", 1.0)), "is_made": MADE in value}


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _parts_of(block: pa.Table) -> Iterator[pa.Table]:
    """Slices of a block with little text in each: tokens take a hundred times the room of their text until they are cut."""
    import pyarrow.compute as pc

    start, size = 0, 0
    for row, length in enumerate(pc.binary_length(block["row"]).to_pylist()):
        if size and size + length > TEXT_AT_ONCE:
            yield block.slice(start, row - start)
            start, size = row, 0
        size += length
    yield block.slice(start)


@dataclasses.dataclass(frozen=True)
class Tokens:
    """One row as the model sees it.

    Attributes:
        ids: token ids, at most `max_length`.
        labels: the ids that carry loss, `IGNORED` elsewhere; empty for classification.
        label: the class, for classification.
        cut: tokens cut off at the end.
        weight: of the row in the loss; a stage gives it.
        is_made: augmentation made it of another row.
    """

    ids: np.ndarray
    labels: np.ndarray
    label: str = ""
    cut: int = 0
    weight: float = 1.0
    is_made: bool = False

    @property
    def is_lost(self) -> bool:
        """Nothing to learn is left of it."""
        return bool(self.labels.size) and not self.num_learnt

    @property
    def num_learnt(self) -> int:
        """Tokens that carry loss."""
        return int(np.count_nonzero(self.labels != IGNORED))


class Encoder:
    """Turns blocks of raw rows into blocks of tokens; runs inside the tasks of Ray Data."""

    def __init__(
        self,
        sources: Sources,
        config: DataConfig,
        tokenizer: PreTrainedTokenizerBase,
        *,
        classification: bool = False,
        train_on_prompt: bool = False,
        known_labels: frozenset[str] | None = None,
    ) -> None:
        self.sources, self.config, self.tokenizer = sources, config, tokenizer
        self.classification, self.train_on_prompt = classification, train_on_prompt
        self.known_labels = known_labels

    def __call__(self, block: pa.Table) -> list[Tokens]:
        """Tokens of each row of a block with the columns `file`, `position` and `row`."""
        return [tokens for part in _parts_of(block) for tokens in self._weighted(part)]

    def _weighted(self, block: pa.Table) -> list[Tokens]:
        said = map(_said_by_stages, block["row"].to_pylist())
        return [
            dataclasses.replace(row, **known) if known else row
            for row, known in zip(self._encode(block), said, strict=True)
        ]

    def _encode(self, block: pa.Table) -> list[Tokens]:
        places = list(zip(block["file"].to_pylist(), block["position"].to_pylist(), strict=True))
        examples = [
            parse(self.sources, place, row, self.config, self.classification)
            for place, row in zip(places, block["row"].to_pylist(), strict=True)
        ]
        if self.classification:
            self._check_labels(places, examples)
            return self._labelled([example for example in examples if isinstance(example, LabelledText)])
        rendered = self._render(places, examples)
        conversations = iter(tokenize_rendered(self.tokenizer, rendered))
        return [
            self._cut(*(next(conversations) if isinstance(example, Conversation) else self._plain(place, example)))
            for place, example in zip(places, examples, strict=True)
        ]

    def _check_labels(self, places: list[tuple[int, int]], examples: list[Example]) -> None:
        for place, example in zip(places, examples, strict=True):
            assert isinstance(example, LabelledText)
            if self.known_labels is not None and example.label not in self.known_labels:
                known = sorted(self.known_labels)
                raise DataError(
                    f"{self.sources.where(*place)}: the label {example.label!r} is in no training row; expected one of "
                    f"{len(known)} labels ({', '.join(known[:8])}{', ...' if len(known) > 8 else ''}). "
                    "Correct the label or add training rows with it"
                )

    def _labelled(self, examples: list[LabelledText]) -> list[Tokens]:
        """Cut by the tokenizer itself, which keeps the special tokens at both ends."""
        texts, longest = [example.text for example in examples], self.config.max_length
        whole = self.tokenizer(texts, verbose=False)["input_ids"]
        long = [index for index, ids in enumerate(whole) if len(ids) > longest]
        cut = self.tokenizer([texts[index] for index in long], truncation=True, max_length=longest) if long else None
        shortened = dict(zip(long, cut["input_ids"], strict=True)) if cut is not None else {}
        return [
            Tokens(
                _array(shortened.get(index, ids)), _array([]), example.label, len(ids) - len(shortened.get(index, ids))
            )
            for index, (ids, example) in enumerate(zip(whole, examples, strict=True))
        ]

    def _render(self, places: list[tuple[int, int]], examples: list[Example]) -> list[Rendered]:
        """The conversations among the examples as text; if one is refused, each again by itself, to name its place."""
        chats = [(place, one) for place, one in zip(places, examples, strict=True) if isinstance(one, Conversation)]
        try:
            return render_many(self.tokenizer, [(chat.messages, chat.tools) for _, chat in chats])
        except DataError:
            return [self._render_one(place, chat) for place, chat in chats]

    def _render_one(self, place: tuple[int, int], chat: Conversation) -> Rendered:
        try:
            return render_with_spans(self.tokenizer, chat.messages, chat.tools)
        except DataError as error:
            raise DataError(f"{self.sources.where(*place)}: {error}") from error

    def _plain(self, place: tuple[int, int], example: Any) -> tuple[list[int], list[int]]:
        """Ids and loss mask of what needs no template."""
        if isinstance(example, TokenIds):
            return self._given(place, example)
        assert isinstance(example, Text | PromptCompletion)
        given = example.text if isinstance(example, Text) else example.prompt
        ids = self._with_bos(given)
        mask = [int(isinstance(example, Text))] * len(ids)
        if isinstance(example, PromptCompletion):
            answer = self.tokenizer(example.completion, add_special_tokens=False, verbose=False)["input_ids"]
            ids, mask = ids + answer, mask + [1] * len(answer)
        return [*ids, self.tokenizer.eos_token_id], [*mask, 1]

    def _given(self, place: tuple[int, int], example: TokenIds) -> tuple[list[int], list[int]]:
        """Ids and loss mask of a row that was tokenised elsewhere; an id that the model lacks would fail much later."""
        ids, labels = example.input_ids, example.labels or example.input_ids
        unknown = next((one for one in ids if not 0 <= one < len(self.tokenizer)), None)
        if unknown is not None:
            raise DataError(
                f"{self.sources.where(*place)}: the token id {unknown} is not one of the tokenizer's {len(self.tokenizer)}; "
                "tokenise the rows with the tokenizer of model.name_or_path"
            )
        wrong = next((index for index, one in enumerate(labels) if one not in (IGNORED, ids[index])), None)
        if wrong is not None:
            raise DataError(
                f"{self.sources.where(*place)}: labels[{wrong}] is {labels[wrong]} and input_ids[{wrong}] is {ids[wrong]}; "
                f"expected the same id, or {IGNORED} where there is nothing to learn"
            )
        return ids, [int(label != IGNORED) for label in labels]

    def _with_bos(self, text: str) -> list[int]:
        """As an endpoint tokenises a prompt, less an end token that some tokenizers add."""
        ids = list(self.tokenizer(text, verbose=False)["input_ids"])
        while ids and ids[-1] == self.tokenizer.eos_token_id and not text.endswith(str(self.tokenizer.eos_token)):
            ids.pop()
        return ids

    def _cut(self, ids: Sequence[int], mask: Sequence[int] | np.ndarray) -> Tokens:
        longest = self.config.max_length
        kept = _array(ids[:longest])
        carries = np.ones(len(kept), bool) if self.train_on_prompt else np.array(mask[:longest], bool)
        carries[:1] = False  # the first token of a row is never predicted: nothing comes before it
        return Tokens(kept, np.where(carries, kept, IGNORED), cut=max(len(ids) - longest, 0))


def _array(ids: Sequence[int]) -> np.ndarray:
    return np.array(ids, np.int32)
