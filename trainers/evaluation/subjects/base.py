"""What is scored: a model folder, or a model behind an endpoint. Each turns rows into predictions, window by window."""

from __future__ import annotations

import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cluster.config import DataConfig, EvaluateConfig
from cluster.config.data import AnySource
from trainers.data.sources import Sources, read
from trainers.evaluation.store import EvaluationDirectory, Part, order_of

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """What is to be predicted.

    Attributes:
        sources: where the rows lie.
        data: how they are read.
        evaluate: how they are scored.
        num_rows: rows that are left to predict.
        done: ranks of the rows that are predicted already, sorted, int64.
        directory: where half-done work may be kept; None where nothing is stored.
    """

    sources: Sources
    data: DataConfig
    evaluate: EvaluateConfig
    num_rows: int
    done: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    directory: EvaluationDirectory | None = None

    def rows(self) -> ray.data.Dataset:
        """The rows that are left: columns `file`, `position`, `row` (JSON text)."""
        rows = read(self.sources)
        if self.evaluate.max_rows is not None:
            rows = rows.limit(self.evaluate.max_rows)
        if not len(self.done):
            return rows
        return rows.map_batches(LeftOver(self.done), batch_size=None, batch_format="pyarrow")


class Subject(ABC):
    """A model that is scored.

    Attributes:
        name: as people name it.
        kind: `causal_lm` or `classification`.
        labels: class names in the order of `Prediction.logits`; empty for causal models.
        is_same_next_time: whether equal stamps mean equal answers.
    """

    name: str
    kind: str
    labels: list[str]
    is_same_next_time: ClassVar[bool] = True

    @abstractmethod
    def data_config(self, data: Sequence[str | AnySource]) -> DataConfig:
        """How rows are read."""

    @abstractmethod
    def stamp(self, evaluate: EvaluateConfig) -> Any:
        """What tells this model, and the way its answers are made, from another; ready for JSON."""

    @abstractmethod
    def check(self, job: Job) -> None:
        """Refuse what cannot work before anything runs."""

    @abstractmethod
    def predict(self, job: Job) -> Iterator[Part]:
        """Predictions of the rows that are left, as they are made. Ray must be initialised.

        Raises:
            UserError: for a row that cannot be scored, or a model that is gone; what was handed out before stays good.
        """

    def cost(self) -> dict[str, float]:
        """What the model itself costs: `model_bytes`, `train_s`, `train_tokens`, as far as they are known."""
        return {}


@dataclasses.dataclass(frozen=True, eq=False)
class LeftOver:
    """Keeps the rows that are not done. Runs inside the tasks of Ray Data."""

    done: np.ndarray

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        return block.filter(pa.array(~np.isin(orders(block), self.done)))


def orders(window: pa.Table) -> np.ndarray:
    """Rank of each row of a window with the columns `file` and `position`, int64."""
    files, positions = (window[name].to_numpy() for name in ("file", "position"))
    return np.array(
        [order_of(int(file), int(position)) for file, position in zip(files, positions, strict=True)], np.int64
    )


def count_rows(sources: Sources, most: int | None = None) -> int:
    """How many rows there are; not read further than `most`."""
    every_row = itertools.chain.from_iterable(plan.rows() for plan in sources.plans)
    return sum(1 for _ in itertools.islice(every_row, most))
