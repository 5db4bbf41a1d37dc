"""Augmented rows count as the schedule says, and nothing else changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cluster.config import TrainConfig
from cluster.config.train import PlateauSchedule, ProgressSchedule
from trainers.checkpoint import Position
from trainers.data.collate import ClassificationCollate
from trainers.data.feed import Feed
from trainers.data.made_rows import MadeRows, made_share
from trainers.data.plan import BatchPlan
from trainers.data.store import Prepared
from trainers.hooks import Evaluate

LABELS = ["card", "rate"]


@pytest.fixture
def doubled(prepared: Callable[..., Prepared], write_rows: Callable[..., str]) -> Prepared:
    """Twenty texts, each with one noisy copy."""
    rows = [{"text": f"my question about {LABELS[n % 2]} number {n}", "label": LABELS[n % 2]} for n in range(20)]
    stages = [{"kind": "noise", "swap": 0.4, "copies": 1}]
    return prepared(write_rows(rows), objective="classification", stages=stages)


def table_of(prepared: Prepared) -> Any:
    train = prepared.splits["train"]
    return train.read(range(train.num_sequences))


def flat(table: Any, name: str) -> np.ndarray:
    return np.array([value for row in table[name].to_pylist() for value in row])


def test_copies_are_known_as_made_and_originals_are_not(doubled: Prepared) -> None:
    assert flat(table_of(doubled), "row_made").tolist() == [False, True] * 20


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_only_copies_are_taken_out_and_those_of_a_small_share_stay_in_a_larger_one(
    doubled: Prepared, share: float
) -> None:
    table, made_rows = table_of(doubled), MadeRows(seed=5)
    numbers = np.arange(table.num_rows)
    made = flat(table, "row_made")
    weights = flat(made_rows.keep(table, 0, numbers, share), "row_weights")
    more = flat(made_rows.keep(table, 0, numbers, share + 0.2), "row_weights")
    assert (weights[~made] == 1.0).all()
    assert weights[made].sum() <= more[made].sum()
    assert ((weights == 1.0) <= (more == 1.0)).all()
    assert share > 0.0 or not weights[made].any()


def test_another_epoch_draws_other_copies(doubled: Prepared) -> None:
    table, made_rows = table_of(doubled), MadeRows(seed=5)
    first, second = (flat(made_rows.keep(table, epoch, np.arange(40), 0.5), "row_weights") for epoch in (0, 1))
    assert (first != second).any()


def test_a_feed_asks_for_the_share_of_the_step_it_is_about_to_give(doubled: Prepared) -> None:
    split = doubled.splits["train"]
    plan = BatchPlan(split.lengths, 8, 8, seed=0, bucketed=True)
    asked: list[int] = []

    def thin(table: Any, step: int, indices: np.ndarray) -> Any:
        asked.append(step)
        return MadeRows(0).keep(table, 0, indices, 0.0 if step < 2 else 1.0)

    batches = Feed(split, plan, ClassificationCollate(0), thin=thin).batches(0, 4)
    loss_carried = [float(step[0]["weights"].sum()) if "weights" in step[0] else 8.0 for step in batches]
    assert asked == [0, 1, 2, 3]
    assert max(loss_carried[:2]) < 8.0 and loss_carried[2:] == [8.0, 8.0]


def test_a_schedule_over_progress_draws_straight_lines_between_its_points() -> None:
    schedule = ProgressSchedule(points=[(0.2, 0.0), (0.6, 1.0)])
    assert [made_share(schedule, at, 0) for at in (0.0, 0.2, 0.4, 1.0)] == pytest.approx([0.0, 0.0, 0.5, 1.0])
    assert made_share(None, 0.0, 0) == 1.0


def test_a_plateau_schedule_steps_towards_its_end_and_stays_there() -> None:
    rising, falling = PlateauSchedule(step=0.4), PlateauSchedule(start=1.0, step=-0.5, end=0.2)
    assert [made_share(rising, 0.5, stalls) for stalls in range(4)] == pytest.approx([0.0, 0.4, 0.8, 1.0])
    assert [made_share(falling, 0.5, stalls) for stalls in range(3)] == pytest.approx([1.0, 0.5, 0.2])


def test_a_validation_loss_that_no_longer_falls_counts_as_a_stall() -> None:
    train = TrainConfig(augmentation_schedule=PlateauSchedule(patience=2))
    run = SimpleNamespace(position=Position(), config=SimpleNamespace(train=train), step=1, should_stop=False)
    for loss in (1.0, 1.1, 1.2, 0.9, 1.0, 1.0):
        Evaluate._judge(run, loss)  # type: ignore[arg-type]
    assert run.position.stalls == 2
    assert dataclasses.asdict(run.position)["stalls"] == 2


@pytest.mark.parametrize(
    "schedule",
    [
        {"kind": "progress", "points": [[0.5, 0], [0.2, 1]]},
        {"kind": "progress", "points": [[0, 2]]},
        {"kind": "plateau", "start": 0.0, "step": -0.1, "end": 1.0},
        {"kind": "plateau", "step": 0.0},
    ],
)
def test_a_schedule_that_leads_nowhere_is_refused(schedule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"expected|does not lead"):
        TrainConfig.model_validate({"augmentation_schedule": schedule})
