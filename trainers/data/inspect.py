"""Single rows on their way, in this process: as read, after each stage, rendered, and which tokens carry loss."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cluster.config import Classification, RunConfig
from cluster.exceptions import DataError
from trainers.data.encode import IGNORED, Encoder, Tokens
from trainers.data.formats import staged_row
from trainers.data.record import Record, to_json
from trainers.data.sources import Sources
from trainers.data.stages import RowStage, StageContext, build_stage
from trainers.data.staging import Ingest, locate_splits, run_stage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Step = tuple[str, str]


def inspect_rows(config: RunConfig, split: str, count: int, skip: int = 0) -> Iterator[dict[str, Any]]:
    """What happens to the first rows of a split.

    Yields:
        `place`, and `steps`: pairs of a name (`read`, `shape`, a stage, `rendered`, `tokens`) and what is seen there.

    Raises:
        DataError: if the split has no source.
    """
    from trainers.tokenizer import tokenizer_for

    sources = locate_splits(config)
    if split not in sources:
        raise DataError(f"data.{split} is not set, so there is no row to show; expected one of {', '.join(sources)}")
    classification = isinstance(config.train.objective, Classification)
    tolerant = config.model_copy(
        update={"data": config.data.model_copy(update={"on_error": "reject", "val_size": 0.0})}
    )
    ingest = Ingest(split, sources[split], tolerant, classification)
    tokenizer = tokenizer_for(config)
    rows = itertools.chain.from_iterable(plan.rows() for plan in sources[split].plans)
    for file, position, text in itertools.islice(rows, skip, skip + count):
        record = ingest.record((file, position), text)
        yield {"place": sources[split].where(file, position), "steps": list(_steps(config, text, record, tokenizer))}


def _steps(config: RunConfig, text: str, record: Record, tokenizer: PreTrainedTokenizerBase) -> Iterator[Step]:
    yield "read", text
    if record.rejected is not None:
        yield "rejected", record.rejected
        return
    yield "as learnt", to_json(record.row)
    records = [record]
    for number, stage_config in enumerate(config.data.stages):
        stage = build_stage(stage_config, StageContext(config.data.seed, _classifies(config), number))
        if not isinstance(stage, RowStage):
            yield stage_config.name, "looks at all rows together; left out here"
            continue
        before = [to_json(one.row) for one in records]
        records = run_stage(stage, records)
        yield from _after(stage_config.name, records, before)
        records = [one for one in records if one.rejected is None]
    for one in records:
        yield from _as_tokens(config, one, tokenizer)


def _classifies(config: RunConfig) -> bool:
    return isinstance(config.train.objective, Classification)


def _after(name: str, records: list[Record], before: list[str]) -> Iterator[Step]:
    """What a stage did to rows; nothing where it did nothing."""
    for one in records:
        if one.rejected is not None:
            yield name, f"left out: {one.rejected.partition(': ')[2]}"
        elif to_json(one.row) not in before:
            yield name, to_json(one.row)
        if one.notes:
            yield f"{name} notes", to_json(one.notes)


def _as_tokens(config: RunConfig, record: Record, tokenizer: PreTrainedTokenizerBase) -> Iterator[Step]:
    import pyarrow as pa

    encoder = Encoder(Sources((), ()), config.data, tokenizer, classification=_classifies(config))
    block = pa.table({"file": [0], "position": [0], "row": [staged_row(to_json(record.row), record.place, "{}")]})
    try:
        [row] = encoder(block)
    except DataError as error:
        yield "tokens", f"none: {error}"
        return
    yield "rendered", _marked(row, tokenizer)
    learnt = row.num_learnt
    carried = "one label to learn" if _classifies(config) else f"{learnt} carry loss (between >> and <<)"
    cut = f", {row.cut} more were cut off by data.max_length={config.data.max_length}" if row.cut else ""
    yield "tokens", f"{len(row.ids)}; {carried}{cut}"


def _marked(row: Tokens, tokenizer: PreTrainedTokenizerBase) -> str:
    """The row as the model sees it, with marks around what carries loss."""
    labels = row.labels.tolist() or [IGNORED] * len(row.ids)
    parts = []
    for carries, group in itertools.groupby(
        zip(row.ids.tolist(), labels, strict=True), key=lambda pair: pair[1] != IGNORED
    ):
        text = str(tokenizer.decode([token for token, _ in group]))
        parts.append(f">>{text}<<" if carries else text)
    return "".join(parts).replace("\n", "\\n")
