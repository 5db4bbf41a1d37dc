"""What a stage is. A stage is one file: a class here, its settings in cluster/config/stages/, a line in `STAGES`."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cluster.config.stages import StageConfig
from cluster.storage import Storage
from trainers.data.record import Record

if TYPE_CHECKING:
    import ray.data

__all__ = ["AnyStage", "DatasetStage", "RowStage", "StageContext"]

C = TypeVar("C", bound=StageConfig)


@dataclasses.dataclass(frozen=True)
class StageContext:
    """What a stage may know beside its settings.

    Attributes:
        seed: `data.seed`; whatever a stage draws depends on it and on the row, never on the order of rows or tasks.
        classification: a class is learnt, so rows are `{"text", "label"}`.
        number: of the stage in the list, from 0, so that two stages of a kind draw differently.
        scratch: a folder that every task of the run reaches, deleted when the rows are written.
    """

    seed: int = 0
    classification: bool = False
    number: int = 0
    scratch: Storage | None = None


class _Stage(ABC, Generic[C]):
    version = 1
    """Goes into the fingerprint of the prepared rows: raised when the same row would come out differently."""

    def __init__(self, config: C, context: StageContext) -> None:
        self.config, self.context = config, context

    @classmethod
    def inputs(cls, config: C) -> Any:
        """What decides the outcome beside settings and version, such as the hash of a file that `config` names."""
        del config
        return None


class RowStage(_Stage[C]):
    """Looks at some rows at a time, wherever Ray Data runs it, as often as there are processes.

    A stage is built once in a process and used for many batches, so a model that it needs is loaded in `__init__`.
    """

    batch_size = 256

    @abstractmethod
    def __call__(self, records: list[Record]) -> list[Record]:
        """Change rows in place, `reject` some, note what was found, or return more rows than were given.

        Only rows of `config.splits` that no earlier stage rejected are given. Rows that are left out of what is
        returned would be lost without a trace: reject them instead.
        """


class DatasetStage(_Stage[C]):
    """Looks at all rows together: what needs a shuffle, a count or a second pass.

    `apply` gets every row, also rejected ones and those of other splits, as blocks of `trainers.data.record.schema()`,
    and hands on a dataset with the same columns. It must stream: no process may hold all rows' text.
    """

    @abstractmethod
    def apply(self, dataset: ray.data.Dataset) -> ray.data.Dataset:
        """The dataset after this stage, lazy where possible."""

    def wants(self, record: Record) -> bool:
        """Whether a row is this stage's to look at."""
        return record.rejected is None and record.split in self.config.splits


AnyStage = RowStage[Any] | DatasetStage[Any]
