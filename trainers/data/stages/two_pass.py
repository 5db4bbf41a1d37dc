"""Stages that need to know something of every row before they can say what becomes of any.

The first pass lays the rows down in files of the scratch folder and keeps a few numbers of each; the second takes them
up again with what was decided. So no process holds the rows, what lies before the stage runs once, and a row is known
by its number, whatever stages before it did to places and order.
"""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cluster import exceptions
from cluster.config.stages import StageConfig
from cluster.exceptions import DataError, UserError
from cluster.storage import Storage
from trainers.data.content import hash_text
from trainers.data.ray_data import quiet_context, rows_of
from trainers.data.record import Record, failure, from_table, schema, to_json, to_table
from trainers.data.stages.base import DatasetStage

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

__all__ = ["SPLITS", "Facts", "Spool", "TwoPassStage", "carry_out", "hash_values", "split_codes", "value_of"]

ROWS_PER_FILE = 4096
SPLITS = ("test", "validation", "train")
"""By whose word counts: of two rows that are the same, the one of the earlier split stays."""

C = TypeVar("C", bound=StageConfig)
Facts = dict[str, np.ndarray]
"""Numbers known of rows, by name: arrays with an entry per row, or longer ones whose share of each row is known."""


class TwoPassStage(DatasetStage[C]):
    """A whole-data stage that looks at its rows one by one, decides over the numbers found, and looks again."""

    def lacks(self, record: Record) -> str | None:
        """Why a row cannot be looked at, such as a column it does not have; None if it can."""
        del record
        return None

    @abstractmethod
    def look(self, records: list[Record]) -> Facts:
        """What has to be known of some rows. Runs inside the tasks of Ray Data."""

    @abstractmethod
    def decide(self, facts: Facts, spool: Spool) -> Mapping[str, Any]:
        """What becomes of the rows, from what is known of all of them: columns with one entry per row."""

    @abstractmethod
    def carry_out(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        """One row with what was decided on it, and rows derived from it. Runs inside the tasks of Ray Data."""

    def apply(self, dataset: ray.data.Dataset) -> ray.data.Dataset:
        assert self.context.scratch is not None, "a stage that goes over all rows twice needs a scratch folder"
        spool = Spool.lay_down(dataset, self.context.scratch.child(self.config.kind), self)
        if not spool.rows:
            return spool.take_up(None, _Unchanged())
        return self.second_pass(spool, self.decide(spool.facts, spool))

    def second_pass(self, spool: Spool, decisions: Mapping[str, Any]) -> ray.data.Dataset:
        """The rows again, with what was decided carried out."""
        return spool.take_up(decisions, _CarryOut(self))

    def lay(self, records: list[Record]) -> tuple[list[bool], Facts]:
        """Which rows are this stage's to look at, and what is known of those."""
        for record in records:
            if self.wants(record) and (reason := self.lacks(record)):
                if self.config.on_error == "fail":
                    raise DataError(
                        f"{record.place}: {reason}, which the stage {self.config.name} needs; mend the row, or set "
                        "on_error: reject to leave such rows out"
                    )
                record.reject(f"{self.config.name}: {reason}")
        mine = [self.wants(record) for record in records]
        looked_at = list(itertools.compress(records, mine))
        return mine, self.look(looked_at) if looked_at else {}


@dataclasses.dataclass(frozen=True)
class _CarryOut:
    """Carries out what a stage decided over the rows of a file."""

    stage: TwoPassStage[Any]

    def __call__(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        return carry_out(self.stage, record, decision)


def carry_out(stage: TwoPassStage[Any], record: Record, decision: dict[str, Any]) -> list[Record]:
    """Carry out what a stage decided on a row, and write onto the row, and those made from it, what was done."""
    name, before = stage.config.name, to_json(record.row)
    found = stage.carry_out(record, decision)
    for one in found:
        if one is record:
            one.note_change(name, before)
        else:
            one.changes = [name]
    return found


class _Unchanged:
    def __call__(self, record: Record, decision: dict[str, Any]) -> list[Record]:
        raise AssertionError("no row was this stage's to look at")


@dataclasses.dataclass(frozen=True)
class _File:
    """Rows in the scratch folder: how many, and how many of them are the stage's to look at."""

    name: str
    rows: int
    mine: int


@dataclasses.dataclass
class Spool:
    """Rows laid down in files, with what is known of those that the stage looks at.

    A row is known by its number among those, in the order of the dataset.
    """

    storage: Storage
    files: list[_File]
    facts: Facts

    @classmethod
    def lay_down(cls, dataset: ray.data.Dataset, storage: Storage, stage: TwoPassStage[Any]) -> Spool:
        """Run the dataset into files.

        Raises:
            UserError: what a stage before this one, or this one, found wrong.
        """
        files, parts = [], []
        with quiet_context():
            results = dataset.map_batches(
                _LayDown(storage, stage), batch_size=ROWS_PER_FILE, batch_format="pyarrow", zero_copy_batch=True
            )
        for result in rows_of(results):
            if result["error"]:
                kind, message = pickle.loads(result["error"])
                raise getattr(exceptions, kind)(message)
            files.append(_File(result["name"], result["rows"], result["mine"]))
            if result["mine"]:
                parts.append(pickle.loads(result["facts"]))
        names = parts[0] if parts else ()
        return cls(storage, files, {name: np.concatenate([part[name] for part in parts]) for name in names})

    @property
    def rows(self) -> int:
        """How many rows the stage looks at."""
        return sum(file.mine for file in self.files)

    def places(self, numbers: Iterable[int]) -> dict[int, str]:
        """Where rows were read from, by their numbers."""
        return {number: place for number, (place,) in self._columns(numbers, "place").items()}

    def records(self, numbers: Iterable[int]) -> dict[int, Record]:
        """Rows by their numbers: for a few of them."""
        import pyarrow as pa

        found = self._columns(numbers, *schema().names)
        rows = [dict(zip(schema().names, values, strict=True)) for values in found.values()]
        return dict(zip(found, from_table(pa.Table.from_pylist(rows, schema=schema())), strict=True))

    def _columns(self, numbers: Iterable[int], *names: str) -> dict[int, tuple[Any, ...]]:
        """Some columns of some rows, by their numbers; one file is read at a time."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import parquet

        found: dict[int, tuple[Any, ...]] = {}
        wanted, first = np.unique(np.fromiter(numbers, np.int64)), 0
        for file in self.files:
            here = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, first + file.mine)]
            if here.size:
                table = parquet.read_table(self.storage.open_input(file.name), columns=[*names, "mine"])
                table = table.filter(pc.field("mine")).select(names).take(pa.array(here - first))
                rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
                found.update(zip(here.tolist(), rows, strict=True))
            first += file.mine
        return found

    def take_up(
        self,
        decisions: Mapping[str, Any] | None,
        carry_out: Callable[[Record, dict[str, Any]], list[Record]],
        column: str | None = None,
    ) -> ray.data.Dataset:
        """The rows again, in their order, each with what was decided on it.

        Args:
            column: one of the decisions, a number, to be added to the rows as a column. Rows that the stage does not look at
                get negative numbers that rise in their order.
        """
        import pyarrow as pa
        import ray.data

        decided = pa.table(dict(decisions or {}))
        assert decisions is None or decided.num_rows == self.rows, "one decision per row"
        blocks, first, before_end = [], 0, -sum(file.rows for file in self.files)
        for file in self.files:
            part = pa.array([pickle.dumps(decided.slice(first, file.mine).to_pylist())], pa.large_binary())
            blocks.append(pa.table({"name": [file.name], "decisions": part, "before_end": [before_end]}))
            first, before_end = first + file.mine, before_end + file.rows
        if not blocks:
            return ray.data.from_arrow(schema().empty_table())
        take = _TakeUp(self.storage, carry_out, column)
        with quiet_context():
            return ray.data.from_arrow(blocks).map_batches(take, batch_size=1, batch_format="pyarrow")


@dataclasses.dataclass(frozen=True)
class _LayDown:
    """Writes a block of records to a file; what is known of it as one row. Runs inside the tasks of Ray Data."""

    storage: Storage
    stage: TwoPassStage[Any]

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        try:
            result = self._process(from_table(block))
        except UserError as error:
            result = {"name": "", "rows": 0, "mine": 0, "facts": b"", "error": _pack(error)}
        types = {"name": pa.string(), "rows": pa.int64(), "mine": pa.int64()}
        binary = pa.large_binary()
        return pa.table({name: pa.array([value], types.get(name, binary)) for name, value in result.items()})

    def _process(self, records: list[Record]) -> dict[str, Any]:
        import pyarrow as pa
        from pyarrow import parquet

        for record in records:
            if mistake := record.failure():
                raise mistake
        mine, facts = self.stage.lay(records)
        name = f"{uuid.uuid4().hex}.parquet"
        with self.storage.open_output(name) as stream:
            table = to_table(records).append_column("mine", pa.array(mine, pa.bool_()))
            parquet.write_table(table, stream, compression="zstd")
        return {"name": name, "rows": len(records), "mine": sum(mine), "facts": pickle.dumps(facts), "error": b""}


def _pack(error: UserError) -> bytes:
    return pickle.dumps((type(error).__name__, str(error)))


@dataclasses.dataclass(frozen=True)
class _TakeUp:
    """Reads a file of records and carries out what was decided. Runs inside the tasks of Ray Data."""

    storage: Storage
    carry_out: Callable[[Record, dict[str, Any]], list[Record]]
    column: str | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        [name], [packed] = block["name"].to_pylist(), block["decisions"].to_pylist()
        try:
            found, numbers = self._process(name, iter(pickle.loads(packed)), block["before_end"][0].as_py())
        except UserError as error:
            found, numbers = [failure(error)], [-1]
        table = to_table(found)
        return table if self.column is None else table.append_column(self.column, pa.array(numbers, pa.int64()))

    def _process(self, name: str, decisions: Any, before_end: int) -> tuple[list[Record], list[int]]:
        from pyarrow import parquet

        table = parquet.read_table(self.storage.open_input(name))
        found: list[Record] = []
        numbers: list[int] = []
        for row, (record, mine) in enumerate(zip(from_table(table), table["mine"].to_pylist(), strict=True)):
            decision = next(decisions) if mine else {}
            made = self.carry_out(record, decision) if mine else [record]
            found += made
            numbers += [decision.get(self.column, before_end + row)] * len(made)
        return found, numbers


def value_of(record: Record, column: str) -> Any:
    """What a row has under a name: among its other columns, its notes, or in itself; None if nothing."""
    for holder in (record.columns, record.notes, record.row):
        if holder.get(column) is not None:
            return holder[column]
    return None


def split_codes(records: Sequence[Record]) -> np.ndarray:
    """The split of each row, as its place in `SPLITS`."""
    return np.array([SPLITS.index(record.split) for record in records], np.int8)


def hash_values(records: Sequence[Record], column: str) -> np.ndarray:
    """A 64-bit number for what each row has in a column."""
    return np.frombuffer(b"".join(hash_text(str(value_of(record, column)))[:8] for record in records), np.uint64)
