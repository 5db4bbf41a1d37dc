"""From files to prepared sequences, streamed through Ray Data: read, shape, template, tokenise, pack, write.

Rows are packed within windows of some thousand, so that no process ever holds more than a window. What is prepared is
kept under a fingerprint of everything that went in; the same data, tokenizer and settings are prepared once.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import io
import json
import logging
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster import exceptions
from cluster.config import Classification, RunConfig
from cluster.config.data import AnySource
from cluster.exceptions import DataError, UserError
from cluster.storage import Storage
from trainers.data.encode import Encoder, Tokens
from trainers.data.packing import pack
from trainers.data.ray_data import quiet_context, rows_of
from trainers.data.sources import Sources, read, staged_sources
from trainers.data.staging import StagedRows, describe_inputs, file_stamps, is_held_out, locate_splits, stage_rows
from trainers.data.store import LENGTHS, MANIFEST, Prepared, sequence_schema, write_sequences

if TYPE_CHECKING:
    import pyarrow as pa
    import ray
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

VERSION = 5
"""Goes into the fingerprint: raised whenever the same input would be prepared differently."""
ROWS_PER_WINDOW = 2048
BLOCK_BYTES = 2 << 20

Counts = dict[str, Any]


def prepare(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, storage: Storage, rows: StagedRows | None = None
) -> Prepared:
    """Prepare the data of a run, or find it prepared.

    Args:
        storage: folder of all prepared data; each set gets a folder named by its fingerprint. Ray must be initialised.
        rows: the rows after the stages of `data.stages`. Default: they are taken through them here.

    Raises:
        DataError: with file and line, for whatever in the data cannot be used.
    """
    if config.data.is_staged:
        rows = rows or stage_rows(config, storage, to_learn=True)
        fingerprint = fingerprint_of(config, tokenizer, rows.fingerprint)
        sources = {split: staged_sources(files, _named(config, split)) for split, files in rows.files.items()}
        config = _after_stages(config)
    else:
        sources = locate_splits(config)
        fingerprint = fingerprint_of(config, tokenizer, file_stamps(sources))
    target = storage.child(fingerprint)
    if not target.exists(MANIFEST):
        known = {
            "inputs": rows.inputs if rows else describe_inputs(sources),
            "rows_url": rows.url if rows else None,
        }
        _Preparation(config, tokenizer, target, fingerprint, known).run(sources)
    prepared = Prepared.open(target.url)
    _log_losses(config, prepared)
    return prepared


def _named(config: RunConfig, split: str) -> list[AnySource]:
    """What the user named as the source of a split; rows that a stage held out are of the training rows."""
    return config.data.sources(split) or config.data.sources("train")


def _after_stages(config: RunConfig) -> RunConfig:
    """The config by which staged rows are prepared: they are counted and split already."""
    return config.model_copy(update={"data": config.data.model_copy(update={"max_rows": None, "val_size": 0.0})})


def fingerprint_of(config: RunConfig, tokenizer: PreTrainedTokenizerBase, rows: Any) -> str:
    """Hash of everything that decides what is prepared: content, not names.

    Args:
        rows: what stands for the content of the rows: stamps of their files, or the fingerprint of staged rows.
    """
    settings = config.data.model_dump(mode="json", exclude={"train", "validation", "test", "stages", "shuffle"})
    objective = config.train.objective.model_dump(mode="json", include={"kind", "train_on_prompt"})
    inputs = [VERSION, settings, rows, objective, tokenizer_hash(tokenizer)]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of what turns messages into tokens: vocabulary, rules, special tokens and chat template."""
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        rules = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
    else:
        rules = tokenizer.get_vocab()
    parts = [rules, tokenizer.chat_template, {key: str(value) for key, value in tokenizer.special_tokens_map.items()}]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _log_losses(config: RunConfig, prepared: Prepared) -> None:
    for split, counts in prepared.report.items():
        if counts["rows_in_train"]:
            logger.warning(
                "%s: %d of %d rows are also training rows, so scores on it will be too good; the stage leak_check names them "
                "and finds near copies as well",
                split,
                counts["rows_in_train"],
                counts["rows"],
            )
        if counts["truncated_rows"] or counts["dropped_rows"]:
            logger.warning(
                "%s: %d of %d rows are longer than data.max_length=%d and were cut (%d tokens); %d of them had no token "
                "to learn left and were dropped",
                split,
                counts["truncated_rows"],
                counts["rows"],
                config.data.max_length,
                counts["truncated_tokens"],
                counts["dropped_rows"],
            )


class _Preparation:
    """One attempt to prepare a data set. Several may run at once; the first to write the manifest wins."""

    def __init__(
        self,
        config: RunConfig,
        tokenizer: PreTrainedTokenizerBase,
        storage: Storage,
        fingerprint: str,
        known: dict[str, Any],
    ) -> None:
        self.config, self.tokenizer, self.storage, self.fingerprint = config, tokenizer, storage, fingerprint
        self.known = known
        self.classification = isinstance(config.train.objective, Classification)
        self.attempt = f"part-{uuid.uuid4().hex[:8]}"
        self.labels: list[str] = []
        self.learnt = np.empty(0, np.uint64)

    def run(self, sources: dict[str, Sources]) -> None:
        try:
            self._write_manifest({split: self._prepare_split(split, found) for split, found in self._jobs(sources)})
        except BaseException:
            self.storage.delete(self.attempt)
            raise

    def _jobs(self, sources: dict[str, Sources]) -> list[tuple[str, Sources]]:
        """Training rows first: the others are checked against their labels."""
        if self.config.data.val_size:
            sources = {"train": sources["train"], "validation": sources["train"], **sources}
        return sorted(sources.items(), key=lambda job: job[0] != "train")

    def _prepare_split(self, split: str, sources: Sources) -> Counts:
        """Run the pipeline of one split and write its lengths; what the manifest says of it."""
        outcome = _Outcome()
        for window in self._windows(split, sources):
            outcome.add(window)
        self._check_rows(split, sources, outcome.counts)
        self._learn_labels(split, outcome.labels)
        self._count_leaks(split, outcome)
        folder = self.storage.child(self.attempt, split)
        folder.write_bytes(LENGTHS, outcome.lengths_file())
        return outcome.summary(f"{self.attempt}/{split}")

    def _windows(self, split: str, sources: Sources) -> Iterator[dict[str, Any]]:
        """Run the pipeline of one split; what each window reports, in order."""
        import ray

        data, objective = self.config.data, self.config.train.objective
        encoder = Encoder(
            sources,
            data,
            self.tokenizer,
            classification=self.classification,
            train_on_prompt=getattr(objective, "train_on_prompt", False),
            known_labels=frozenset(self.labels) if self.labels and not self._is_held_out_of_train(split) else None,
        )
        window = Window(
            encoder=ray.put(encoder),
            storage=self.storage.child(self.attempt, split),
            packing=data.packing and not self.classification,
            val_size=data.val_size if split in ("train", "validation") else 0.0,
            held_out=split == "validation",
        )
        with quiet_context(max_block_bytes=BLOCK_BYTES):
            pipeline = read(sources).map_batches(
                window, batch_size=ROWS_PER_WINDOW, batch_format="pyarrow", zero_copy_batch=True
            )
        return rows_of(pipeline)

    def _is_held_out_of_train(self, split: str) -> bool:
        return split != "train" and not self.config.data.sources(split)

    def _check_rows(self, split: str, sources: Sources, counts: collections.Counter[str]) -> None:
        data, names = self.config.data, ", ".join(dict.fromkeys(file.source for file in sources.files))
        if counts["rows"] > counts["dropped_rows"]:
            return
        if counts["dropped_rows"]:
            raise DataError(
                f"{names}: none of the {counts['rows']} rows has a token to learn within data.max_length="
                f"{data.max_length}; raise data.max_length or shorten the prompts"
            )
        if data.val_size and split in ("train", "validation"):
            raise DataError(
                f"{names}: data.val_size={data.val_size} leaves no rows for {split}; give more rows or another val_size"
            )
        raise DataError(f"{names}: found no rows; expected at least one")

    def _count_leaks(self, split: str, outcome: _Outcome) -> None:
        """Rows to measure on that were learnt from, token by token. Holds eight bytes of each training row."""
        hashes = np.concatenate(outcome.hashes)
        if split == "train":
            self.learnt = np.unique(hashes)
        else:
            outcome.counts["rows_in_train"] = int(np.isin(hashes, self.learnt).sum())

    def _learn_labels(self, split: str, labels: set[str]) -> None:
        if split != "train" and not labels <= set(self.labels):
            unseen = ", ".join(sorted(labels - set(self.labels)))
            logger.warning("labels only in held-out rows, never trained on: %s", unseen)
        merged = labels | set(self.labels)
        self.labels = sorted(merged, key=int) if all(label.isdecimal() for label in merged) else sorted(merged)

    def _write_manifest(self, splits: dict[str, Counts]) -> None:
        if self.storage.exists(MANIFEST):  # another run prepared the same meanwhile
            self.storage.delete(self.attempt)
            return
        manifest = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "classification": self.classification,
            "labels": self.labels,
            "splits": {name: split["manifest"] for name, split in splits.items()},
            "report": {name: split["report"] for name, split in splits.items()},
            **self.known,
        }
        self.storage.write_json(MANIFEST, manifest)


class _Outcome:
    """What the windows of one split amount to."""

    def __init__(self) -> None:
        self.files: list[tuple[str, dict[str, Any], np.ndarray]] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.rows_of_source: collections.Counter[str] = collections.Counter()
        self.labels: set[str] = set()
        self.hashes: list[np.ndarray] = []

    def add(self, window: dict[str, Any]) -> None:
        """Take in what one window reports; a mistake of the user that it found is raised here."""
        stats = json.loads(window["stats"])
        if "error" in stats:
            raise getattr(exceptions, stats["error"])(stats["message"])
        if stats["file"]["num_sequences"]:
            counts = np.frombuffer(window["counts"], np.int32).reshape(3, -1)
            self.files.append((window["order"], stats["file"], counts))
        self.counts.update(stats["counts"])
        self.rows_of_source.update(stats["rows_of_source"])
        self.labels.update(stats["labels"])
        self.hashes.append(np.frombuffer(window["hashes"], np.uint64))

    @functools.cached_property
    def sequence_counts(self) -> np.ndarray:
        """Tokens, rows and loss tokens of every sequence, in the order of the rows they came from."""
        self.files.sort(key=lambda file: file[0])
        return np.concatenate([counts for _, _, counts in self.files], axis=1)

    def lengths_file(self) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, self.sequence_counts, allow_pickle=False)
        return buffer.getvalue()

    def summary(self, folder: str) -> Counts:
        tokens, rows, loss_tokens = (int(total) for total in self.sequence_counts.sum(axis=1, dtype=np.int64))
        sequences = self.sequence_counts.shape[1]
        totals = {"num_sequences": sequences, "num_rows": rows, "num_tokens": tokens, "num_loss_tokens": loss_tokens}
        report = {
            **{
                key: self.counts[key]
                for key in ("rows", "truncated_rows", "truncated_tokens", "dropped_rows", "rows_in_train")
            },
            **{"sequences": sequences, "tokens": tokens, "loss_tokens": loss_tokens},
            "rows_of_source": dict(self.rows_of_source),
        }
        files = [file for _, file, _ in self.files]
        return {"manifest": {"folder": folder, "files": files, **totals}, "report": report}


@functools.lru_cache(maxsize=2)
def fetch_encoder(encoder: ray.ObjectRef) -> Encoder:
    """The encoder, unpacked once in each worker process: a large tokenizer takes a while."""
    import ray

    return ray.get(encoder)


@dataclasses.dataclass(frozen=True)
class Window:
    """One window of rows: tokenised, packed, written to one file. Runs inside the tasks of Ray Data."""

    encoder: ray.ObjectRef
    storage: Storage
    packing: bool
    val_size: float
    held_out: bool

    def __call__(self, block: pa.Table) -> dict[str, list[Any]]:
        """What the driver has to know of the window, as one row.

        A user's mistake is part of it: Ray Data wraps what a function raises, and loses the original on the way.
        """
        try:
            return self._process(block)
        except UserError as error:
            stats = {"error": type(error).__name__, "message": str(error)}
            return {"order": [""], "stats": [json.dumps(stats)], "counts": [b""], "hashes": [b""]}

    def _process(self, block: pa.Table) -> dict[str, list[Any]]:
        import pyarrow as pa

        encoder = fetch_encoder(self.encoder)
        if self.val_size:
            wanted = [is_held_out(row.as_py(), self.val_size) == self.held_out for row in block["row"]]
            block = block.filter(pa.array(wanted, pa.bool_()))
        if not block.num_rows:
            return {"order": [], "stats": [], "counts": [], "hashes": []}
        order = f"{block['file'][0].as_py():08d}-{block['position'][0].as_py():014d}"
        rows = encoder(block)
        kept = [row for row in rows if not row.is_lost]
        groups = pack([len(row.ids) for row in kept], encoder.config.max_length) if self.packing else None
        sequences = [[kept[index] for index in group] for group in groups] if groups else [[row] for row in kept]
        stats = {
            "file": self._write(order, sequences, encoder.classification),
            "counts": _counts(rows, kept),
            "rows_of_source": collections.Counter(
                encoder.sources.files[file].source for file in block["file"].to_pylist()
            ),
            "labels": sorted({row.label for row in kept}) if encoder.classification else [],
        }
        return {
            "order": [order],
            "stats": [json.dumps(stats)],
            "counts": [_sequence_counts(sequences).tobytes()],
            "hashes": [b"".join(_token_hash(row) for row in kept)],
        }

    def _write(self, order: str, sequences: list[list[Tokens]], classification: bool) -> dict[str, Any]:
        import pyarrow as pa

        schema, name = sequence_schema(classification), f"{order}.arrow"
        if not sequences:
            return {"name": name, "num_sequences": 0, "rows_per_batch": 1}
        columns: list[list[Any]] = [[np.concatenate([row.ids for row in group]) for group in sequences]]
        if classification:
            columns.append([group[0].label for group in sequences])
        else:
            columns.append([np.concatenate([row.labels for row in group]) for group in sequences])
            columns.append([[len(row.ids) for row in group] for group in sequences])
        columns.append([[row.weight for row in group] for group in sequences])
        columns.append([[row.is_made for row in group] for group in sequences])
        arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
        rows_per_batch = write_sequences(self.storage, name, pa.table(arrays, schema))
        return {"name": name, "num_sequences": len(sequences), "rows_per_batch": rows_per_batch}


def _counts(rows: list[Tokens], kept: list[Tokens]) -> dict[str, int]:
    cut = [row.cut for row in rows if row.cut]
    return {
        "rows": len(rows),
        "truncated_rows": len(cut),
        "truncated_tokens": sum(cut),
        "dropped_rows": len(rows) - len(kept),
    }


def _token_hash(row: Tokens) -> bytes:
    """Eight bytes that stand for what the model sees of a row."""
    return hashlib.blake2b(row.ids.tobytes(), digest_size=8).digest()


def _sequence_counts(sequences: list[list[Tokens]]) -> np.ndarray:
    """Tokens, rows and loss tokens of each sequence."""
    tokens = [sum(len(row.ids) for row in group) for group in sequences]
    loss = [sum(row.num_learnt for row in group) for group in sequences]
    rows = [len(group) for group in sequences]
    loss = [own or count for own, count in zip(loss, rows, strict=True)]  # a classified text is one thing to learn
    return np.asarray([tokens, rows, loss], dtype=np.int32).reshape(3, -1)
