"""`run.yaml` as a whole."""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from cluster.config.base import Config
from cluster.config.card import CardConfig
from cluster.config.compare import CompareConfig
from cluster.config.data import DataConfig
from cluster.config.ensemble import EnsembleConfig
from cluster.config.evaluate import EvaluateConfig
from cluster.config.gate import GateConfig
from cluster.config.model import ModelConfig
from cluster.config.resources import ClusterConfig
from cluster.config.serve import ServeConfig
from cluster.config.train import TrainConfig
from cluster.config.tune import TuneConfig


class RunConfig(Config):
    """One file: the whole life of a model."""

    name: str = Field(max_length=63)
    """Name of the run and of the model in the registry: letters, digits, `-`, `_` and `.`."""
    model: ModelConfig
    """What is fine-tuned."""
    data: DataConfig
    """What is learnt from."""
    train: TrainConfig = TrainConfig()
    """How it is learnt."""
    tune: TuneConfig | None = None
    """Which settings `mobula tune` searches."""
    ensemble: EnsembleConfig | None = None
    """Which models answer together; `mobula ensemble` builds it."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How the trained model is scored, after training and by `mobula evaluate`."""
    compare: CompareConfig = CompareConfig()
    """How `mobula compare` holds it against others."""
    gate: GateConfig | None = None
    """When it may take the place of the version before it; `mobula compare --gate` decides."""
    card: CardConfig = CardConfig()
    """What the model card says that no run can know."""
    serve: ServeConfig = ServeConfig()
    """How the trained model is served."""
    cluster: ClusterConfig = ClusterConfig()
    """Where it runs."""

    @field_validator("name")
    @classmethod
    def name_fits_paths_and_urls(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError(
                f"name={name!r} must start with a letter or digit and hold only letters, digits, '.', '_', '-'"
            )
        return name

    @model_validator(mode="after")
    def batches_divide_evenly(self) -> Self:
        per_pass = self.train.per_device_train_batch_size * self.cluster.num_workers
        total, accumulation = self.train.global_batch_size, self.train.gradient_accumulation_steps
        if total is None:
            return self
        if total % per_pass:
            raise ValueError(
                f"train.global_batch_size={total} is not a multiple of train.per_device_train_batch_size * "
                f"cluster.num_workers = {self.train.per_device_train_batch_size} * {self.cluster.num_workers} = {per_pass}; "
                "change one of the three"
            )
        if accumulation is not None and per_pass * accumulation != total:
            raise ValueError(
                f"train.gradient_accumulation_steps={accumulation} contradicts train.global_batch_size={total}, which "
                f"needs {total // per_pass}; leave one of the two out"
            )
        return self

    @property
    def accumulation_steps(self) -> int:
        """Forward passes behind one optimizer step on each worker."""
        if self.train.global_batch_size is not None:
            return self.train.global_batch_size // (self.train.per_device_train_batch_size * self.cluster.num_workers)
        return self.train.gradient_accumulation_steps or 1

    @property
    def global_batch_size(self) -> int:
        """Sequences behind one optimizer step, over all workers."""
        return self.accumulation_steps * self.train.per_device_train_batch_size * self.cluster.num_workers
