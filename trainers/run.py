"""One training run as one worker sees it: model, engine, data, and where it stands."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from cluster.config import Classification, RunConfig
from cluster.preflight import free_space_check
from cluster.progress import Row
from cluster.runs import check_lease
from cluster.storage import Storage
from trainers.adaptations import build_adaptation
from trainers.checkpoint import Checkpoint, Checkpoints, Position
from trainers.data.collate import CausalCollate, ClassificationCollate, Collate
from trainers.data.feed import Feed
from trainers.data.made_rows import MadeRows, made_share
from trainers.data.plan import BatchPlan
from trainers.data.store import Prepared, PreparedSplit
from trainers.engine import Engine
from trainers.models import load_model
from trainers.objectives import build_objective
from trainers.objectives.base import Batch
from trainers.selfcheck import GradientWitness, check_parameters_equal, check_workers_meet
from trainers.sharding import cut_while_read, num_elements
from trainers.state import load_optimizer, load_weights

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import ray
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOKENIZER = "tokenizer"
"""Folder of the run directory with the tokenizer that data was prepared with."""


@dataclass(frozen=True)
class Setup:
    """What the driver hands to every worker."""

    config: RunConfig
    run_url: str
    prepared_url: str
    lease: str
    """Token under which the driver holds the run directory; workers write only while it does."""
    mailbox: ray.actor.ActorHandle | None = None
    stop_after: int | None = None
    """Leave after this step as if killed between two steps: for tests of resuming."""


def total_steps(config: RunConfig, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    return config.train.max_steps or max(1, math.ceil(config.train.num_train_epochs * steps_per_epoch))


def training_plan(config: RunConfig, split: PreparedSplit) -> BatchPlan:
    """Which sequences make up which step; rows that are not packed are bucketed by length instead."""
    bucketed = split.classification or not config.data.packing
    return BatchPlan(
        split.lengths,
        config.global_batch_size,
        config.train.per_device_train_batch_size,
        config.train.seed,
        bucketed=bucketed,
        shuffle=config.data.shuffle,
    )


def evaluation_plan(config: RunConfig, split: PreparedSplit, num_workers: int) -> BatchPlan:
    """Every sequence of a split once, in batches of similar length."""
    size = config.train.per_device_eval_batch_size
    return BatchPlan(split.lengths, size * num_workers, size, seed=0, bucketed=True)


def bytes_to_write(model: PreTrainedModel, config: RunConfig) -> int:
    """Disk that a run needs: float32 weights and two moments in every kept checkpoint, and the model folder."""
    moving = sum(num_elements(part) for part in model.parameters() if part.requires_grad)
    kept = config.train.save_total_limit + 2  # the best one, and the next one while it is written
    return 12 * moving * kept + 4 * sum(num_elements(part) for part in model.parameters())


def build_collate(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Collate:
    """What makes tensors of prepared sequences."""
    classifies = isinstance(config.train.objective, Classification)
    return (ClassificationCollate if classifies else CausalCollate)(tokenizer.pad_token_id)


@dataclass
class Window:
    """Sums since the last logged row."""

    loss: torch.Tensor | float = 0.0
    units: float = 0.0
    tokens: int = 0
    steps: int = 0
    began_s: float = field(default_factory=time.perf_counter)
    waited_s: float = 0.0


class Run:
    """A worker's share of a run. Built the same on every worker; every method but `tell` and `close` is collective."""

    engine: Engine
    witness: GradientWitness | None = None

    def __init__(self, setup: Setup, rank: int, num_workers: int) -> None:
        from transformers import AutoTokenizer

        self.setup, self.config = setup, setup.config
        self.rank, self.num_workers = rank, num_workers
        self.storage = Storage.open(setup.run_url)
        self.prepared = Prepared.open(setup.prepared_url)
        self.tokenizer = AutoTokenizer.from_pretrained(self.storage.local_folder(TOKENIZER))
        self.objective = build_objective(self.config)
        self.collate = build_collate(self.config, self.tokenizer)
        self.plan = training_plan(self.config, self.prepared.splits["train"])
        self.total_steps = total_steps(self.config, self.plan.steps_per_epoch)
        self.made_rows = MadeRows(self.config.train.seed)
        self.feed = Feed(self.prepared.splits["train"], self.plan, self.collate, rank, num_workers, thin=self._thin)
        self.checkpoints = Checkpoints(self.storage.child("checkpoints"), self.prepared.fingerprint)
        self.position = Position()
        self.should_stop = False
        self.window = Window()
        self.log: list[Row] = []
        self._posted: Any = None

    @classmethod
    def restore_or_start(cls, setup: Setup, rank: int, num_workers: int) -> Run:
        """Continue from the newest complete checkpoint, or start from the model's own weights."""
        run = cls(setup, rank, num_workers)
        checkpoint = run._newest_checkpoint()
        with cut_while_read(run.config, num_workers):
            model = load_model(run.config, run.tokenizer, run.prepared.labels)
        torch.manual_seed(run.config.train.seed * 1000 + rank)  # dropout differs between workers
        model = build_adaptation(run.config).apply(model)
        run.objective.prepare(model)
        if rank == 0:
            free_space_check(run.storage, bytes_to_write(model, run.config))
        if checkpoint is not None:
            load_weights(model, checkpoint.tensors)
        run.engine = Engine(model, run.config, num_workers, run.total_steps)
        check_workers_meet(num_workers, run.engine.device)
        check_parameters_equal(run.engine)
        run.witness = None if checkpoint else GradientWitness(run.engine)
        if checkpoint is not None:
            run._continue_from(checkpoint)
        run._post("begin", run.log)
        return run

    def _newest_checkpoint(self) -> Checkpoint | None:
        """The newest complete checkpoint. Rank 0 reads it through to be sure; the others take its word. Collective."""
        found = self.checkpoints.latest() if self.rank == 0 else None
        step = [found.position.step if found else None]
        dist.broadcast_object_list(step)
        if self.rank == 0 or step[0] is None:
            return found
        return self.checkpoints.load(step[0])

    def _continue_from(self, checkpoint: Checkpoint) -> None:
        self.position, self.log = checkpoint.position, checkpoint.log
        load_optimizer(self.engine, checkpoint.tensors, self.position.step)
        if checkpoint.num_workers == self.num_workers:
            set_random_state({name: checkpoint.tensors[f"{name}/{self.rank}"] for name in random_state()})

    @property
    def step(self) -> int:
        return self.position.step

    @property
    def epoch(self) -> float:
        return self.step / self.plan.steps_per_epoch

    @property
    def made_share(self) -> float:
        """Share of the augmented rows that carry loss at the next step."""
        return made_share(self.config.train.augmentation_schedule, self.step / self.total_steps, self.position.stalls)

    def _thin(self, table: pa.Table, step: int, indices: np.ndarray) -> pa.Table:
        return self.made_rows.keep(table, step // self.plan.steps_per_epoch, indices, self.made_share)

    @property
    def is_over(self) -> bool:
        return self.should_stop or self.step >= self.total_steps

    def leave_out(self, rest_s: float) -> None:
        """Let a rest between two steps count neither as training time nor in rates."""
        self.window.began_s += rest_s
        self.position = self.position.at(train_s=self.position.train_s - rest_s)

    def remaining_batches(self) -> Generator[list[Batch], None, None]:
        """The micro-batches of each step that is still to be taken."""
        if self.position.stopped_early or self.step >= self.total_steps:
            return
        self.window = Window()
        began = time.perf_counter()
        for micro_batches in self.feed.batches(self.step, self.total_steps):
            yield micro_batches
            now = time.perf_counter()
            self.position = self.position.at(train_s=self.position.train_s + now - began)
            began = now
            if self.should_stop:
                return

    def train_step(self, micro_batches: list[Batch]) -> None:
        """Forward, backward and update over one global batch."""
        self.engine.set_learning_rate(self.step)
        units = self._sum_over_workers(sum(self.objective.num_units(batch) for batch in micro_batches))
        for batch in micro_batches:
            on_device = {name: tensor.to(self.engine.device, non_blocking=True) for name, tensor in batch.items()}
            loss, _ = self.objective.loss_sum(self.engine.deepspeed, on_device)
            self.engine.backward(loss, units)
            self.window.loss = self.window.loss + loss.detach()
        if self.witness is not None:
            self.witness.check()
            self.witness = None
        self._count(units)

    def _count(self, units: float) -> None:
        indices = self.plan.indices(*divmod(self.step, self.plan.steps_per_epoch))
        tokens = int(self.plan.lengths[indices].sum())
        self.position = self.position.at(step=self.step + 1, tokens=self.position.tokens + tokens)
        self.window.units += units
        self.window.tokens += tokens
        self.window.steps += 1

    def _sum_over_workers(self, number: float) -> float:
        if self.num_workers == 1:
            return number
        total = torch.tensor([number], dtype=torch.float64, device=self.engine.device)
        dist.all_reduce(total)
        return float(total)

    def evaluate(self, split: str) -> dict[str, float]:
        """Score a prepared split with the weights as they are: loss and what the objective adds."""
        data = self.prepared.splits[split]
        plan = evaluation_plan(self.config, data, self.num_workers)
        feed = Feed(data, plan, self.collate, self.rank, self.num_workers)
        self.engine.module.eval()
        sums: dict[str, torch.Tensor] = {}
        units = 0.0
        with torch.no_grad():
            for micro_batches in feed.batches(0, plan.steps_per_epoch):
                for batch in micro_batches:
                    units += self.objective.num_units(batch)
                    on_device = {name: tensor.to(self.engine.device) for name, tensor in batch.items()}
                    _, found = self.objective.loss_sum(self.engine.deepspeed, on_device)
                    for name, value in found.items():
                        sums[name] = sums.get(name, 0.0) + value.double()
        self.engine.module.train()
        names = sorted(sums)
        counted = torch.tensor(units, dtype=torch.float64, device=self.engine.device)
        packed = torch.stack([*(sums[name] for name in names), counted])
        dist.all_reduce(packed)
        *totals, all_units = packed.tolist()
        return self.objective.summarise(dict(zip(names, totals, strict=True)), all_units)

    def save(self) -> None:
        """Write a checkpoint of this step and delete those that are no longer needed."""
        check_lease(self.storage, self.setup.lease)
        self.checkpoints.save(self.engine, self.rank, self.position, random_state(), self.log)
        if self.rank == 0:
            self.checkpoints.prune(self.config.train.save_total_limit, self.position.best_step)

    def tell(self, row: Row) -> None:
        """Add a row to the metrics, and send it to the driver without waiting for it."""
        self.log.append({"step": self.step, "epoch": self.epoch, "total_steps": self.total_steps, **row})
        self._post("put", self.log[-1])

    def _post(self, method: str, content: Any) -> None:
        if self.rank == 0 and self.setup.mailbox is not None:
            self._posted = getattr(self.setup.mailbox, method).remote(content)

    def close(self) -> None:
        """Wait until the driver's mailbox holds all that was told."""
        import ray

        if self._posted is not None:
            ray.get(self._posted)


def random_state() -> dict[str, torch.Tensor]:
    """State of the generators that dropout draws from."""
    state = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["random/cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    """Put the generators back to what `random_state` returned."""
    torch.set_rng_state(state["random/cpu"])
    if "random/cuda" in state:
        torch.cuda.set_rng_state(state["random/cuda"])
