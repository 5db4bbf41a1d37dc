"""What a worker gets to train on, and how long it waits for it."""

import dataclasses
import itertools
import threading
import time

import numpy as np
import pytest

from trainers.data import feed as feed_module
from trainers.data.collate import CausalCollate, ClassificationCollate
from trainers.data.encode import IGNORED
from trainers.data.feed import Feed
from trainers.data.plan import BatchPlan

from .conftest import chat


def split_of(prepared, write_rows, count=50, **data):
    return prepared(
        write_rows([chat(f"Question {n}?", f"Answer {n}" * (n % 4 + 1)) for n in range(count)]), **data
    ).splits["train"]


def rows_in(batch) -> list[tuple[int, ...]]:
    """Rows of a packed batch, told apart by where positions restart; padding left out."""
    rows = []
    for ids, positions, labels in zip(batch["input_ids"], batch["position_ids"], batch["labels"], strict=True):
        starts = [*np.flatnonzero(positions.numpy() == 0).tolist(), len(ids)]
        pieces = [slice(start, end) for start, end in itertools.pairwise(starts)]
        rows += [tuple(ids[piece].tolist()) for piece in pieces if (labels[piece] != IGNORED).any()]
        assert all(labels[piece][0] == IGNORED for piece in pieces)
        assert all(positions[piece].tolist() == list(range(piece.stop - piece.start)) for piece in pieces)
    return rows


@pytest.fixture(params=["read by the worker", "read through Ray Data", "read through several pipelines"])
def way(request, monkeypatch):
    """The two ways that sequences take to a worker."""
    if request.param != "read by the worker":
        monkeypatch.setattr(feed_module, "HEAD_STEPS", 1)
    if request.param == "read through several pipelines":
        monkeypatch.setattr(feed_module, "PIPELINE_SEQUENCES", 7)
        monkeypatch.setattr(feed_module, "TASK_SEQUENCES", 3)


@pytest.mark.usefixtures("way")
def test_two_workers_see_every_row_once_per_epoch(prepared, write_rows, tokenizer):
    split = split_of(prepared, write_rows)
    plan = BatchPlan(split.lengths, 8, 2, seed=3)
    feeds = [Feed(split, plan, CausalCollate(tokenizer.pad_token_id), rank, 2) for rank in range(2)]
    steps = plan.steps_per_epoch
    per_worker = [list(feed.batches(0, 2 * steps)) for feed in feeds]
    for epoch in range(2):
        rows = [
            row
            for worker in per_worker
            for step in worker[epoch * steps : (epoch + 1) * steps]
            for micro in step
            for row in rows_in(micro)
        ]
        assert len(rows) == len(set(rows)) == 50
    assert all(len(step) == 2 for worker in per_worker for step in worker)


@pytest.mark.usefixtures("way")
def test_a_feed_that_starts_later_gives_what_it_would_have_given(prepared, write_rows, tokenizer):
    split = split_of(prepared, write_rows)
    plan = BatchPlan(split.lengths, 4, 2, seed=3)
    collate = CausalCollate(tokenizer.pad_token_id)
    whole = list(Feed(split, plan, collate).batches(0, 9))
    resumed = list(Feed(split, plan, collate).batches(4, 9))
    for expected, step in zip(whole[4:], resumed, strict=True):
        for before, after in zip(expected, step, strict=True):
            assert all((before[name] == after[name]).all() for name in before)
    assert list(Feed(split, plan, collate).batches(4, 4)) == []


def test_a_worker_without_rows_in_a_short_step_gets_a_batch_without_loss(prepared, write_rows, tokenizer):
    split = split_of(prepared, write_rows, count=5, packing=False)
    plan = BatchPlan(split.lengths, 4, 1, seed=0)
    collate = CausalCollate(tokenizer.pad_token_id)
    last = [next(Feed(split, plan, collate, rank, 2).batches(1, 2)) for rank in (0, 1)]
    assert [len(step) for step in last] == [2, 2]
    assert sum((micro["labels"] != IGNORED).any().item() for step in last for micro in step) == 1
    assert all(
        (micro["input_ids"].shape[1] % 8, micro["input_ids"].shape[0]) == (0, 1) for step in last for micro in step
    )


def test_texts_are_padded_and_masked(prepared, write_rows, tokenizer):
    rows = [{"text": "order " * (number + 1), "label": "ab"[number % 2]} for number in range(6)]
    split = prepared(write_rows(rows), objective="classification").splits["train"]
    plan = BatchPlan(split.lengths, 4, 4, seed=0, bucketed=True)
    batches = [step[0] for step in Feed(split, plan, ClassificationCollate(tokenizer.pad_token_id)).batches(0, 2)]
    assert sorted(label for batch in batches for label in batch["labels"].tolist()) == [0, 0, 0, 1, 1, 1]
    assert sum(int(batch["attention_mask"].sum()) for batch in batches) == split.num_tokens
    for batch in batches:
        assert (batch["input_ids"][batch["attention_mask"] == 0] == tokenizer.pad_token_id).all()
    empty = ClassificationCollate(tokenizer.pad_token_id)(split.read([]))
    assert empty["labels"].tolist() == [IGNORED] and empty["attention_mask"].sum() == 1


def test_tasks_run_where_workers_hold_every_cpu(prepared, write_rows, tokenizer):
    """As in training: the actors that train reserve all CPUs, and the feed inside them must still be fed."""
    import ray

    split = split_of(prepared, write_rows)
    plan = BatchPlan(split.lengths, 8, 4, seed=0)
    collate = CausalCollate(tokenizer.pad_token_id)
    steps = feed_module.HEAD_STEPS + 20

    @ray.remote
    def train(rank: int) -> int:
        return sum(1 for _ in Feed(split, plan, collate, rank, 2).batches(0, steps))

    every = ray.cluster_resources()["CPU"] / 2
    counts = ray.get([train.options(num_cpus=every).remote(rank) for rank in range(2)], timeout=120)
    assert counts == [steps] * 2


def test_data_is_there_before_the_step_needs_it(prepared, write_rows, tokenizer):
    split = split_of(prepared, write_rows)
    plan = BatchPlan(split.lengths, 8, 4, seed=0)
    feed = Feed(split, plan, CausalCollate(tokenizer.pad_token_id))
    batches = feed.batches(0, feed_module.HEAD_STEPS + 40)
    for _ in itertools.islice(batches, feed_module.HEAD_STEPS + 1):  # from here on through Ray Data
        pass
    first, began = feed.wait_s, time.perf_counter()
    for _ in batches:
        time.sleep(0.05)
    assert (feed.wait_s - first) / (time.perf_counter() - began) < 0.1  # 2 % on a machine that does nothing else


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_a_global_batch_does_not_depend_on_the_worker_count(prepared, write_rows, tokenizer, num_workers):
    split = split_of(prepared, write_rows, count=20)
    plan = BatchPlan(split.lengths, 4, 1, seed=0)
    feeds = [Feed(split, plan, CausalCollate(tokenizer.pad_token_id), rank, num_workers) for rank in range(num_workers)]
    steps = [step for feed in feeds for step in feed.batches(0, 1)]
    tokens = sum(int((micro["labels"] != IGNORED).sum()) for step in steps for micro in step)
    assert tokens == sum(split.counts[2][index] for index in plan.indices(0, 0))


def test_what_goes_wrong_while_reading_reaches_the_training_step(prepared, write_rows, tokenizer):
    split = split_of(prepared, write_rows)
    gone = dataclasses.replace(split, files=tuple(dataclasses.replace(file, name="gone.arrow") for file in split.files))
    plan = BatchPlan(split.lengths, 4, 4, seed=0)
    with pytest.raises(Exception, match=r"gone\.arrow"):
        list(feed_module._Ahead(Feed(gone, plan, CausalCollate(tokenizer.pad_token_id))._through_ray_data(0, 2)))


def test_an_abandoned_feed_ends_its_thread(prepared, write_rows, tokenizer, monkeypatch):
    monkeypatch.setattr(feed_module, "HEAD_STEPS", 1)
    split = split_of(prepared, write_rows)
    plan = BatchPlan(split.lengths, 2, 2, seed=0)
    batches = Feed(split, plan, CausalCollate(tokenizer.pad_token_id)).batches(0, plan.steps_per_epoch)
    next(batches)
    batches.close()
    deadline = time.monotonic() + 30
    while any(thread.name == "feed" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
