"""Every sequence once per epoch, whoever trains on it."""

import numpy as np
import pytest

from trainers.data.packing import pack
from trainers.data.plan import BatchPlan

CASES = [(size, total, bucketed) for size in (1, 7, 64, 333) for total in (4, 12, 32) for bucketed in (False, True)]


def random_lengths(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(1, 500, size)


@pytest.mark.parametrize(("size", "total", "bucketed"), CASES)
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_every_sequence_once_per_epoch_for_any_worker_count(size, total, bucketed, num_workers):
    plan = BatchPlan(random_lengths(size), total, total // 4, seed=1, bucketed=bucketed)
    for epoch in range(2):
        seen = []
        for step in range(plan.steps_per_epoch):
            shares = [plan.share(epoch, step, rank, num_workers) for rank in range(num_workers)]
            batch = [index for share in shares for micro in share for index in micro]
            assert sorted(batch) == sorted(plan.indices(epoch, step))
            assert len({len(share) for share in shares}) == 1
            assert all(len(micro) <= plan.micro_batch_size for share in shares for micro in share)
            seen += batch
        assert sorted(seen) == list(range(size))


@pytest.mark.parametrize("bucketed", [False, True])
def test_only_the_last_step_of_an_epoch_may_be_short(bucketed):
    plan = BatchPlan(random_lengths(333), 32, 8, seed=1, bucketed=bucketed)
    sizes = [len(plan.indices(0, step)) for step in range(plan.steps_per_epoch)]
    assert sizes == [32] * 10 + [13]


def test_the_order_is_a_function_of_seed_and_epoch():
    lengths = random_lengths(100)

    def order(seed: int, epoch: int) -> list[int]:
        plan = BatchPlan(lengths, 8, 4, seed)
        return [int(index) for step in range(plan.steps_per_epoch) for index in plan.indices(epoch, step)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_without_shuffling_the_rows_come_as_they_lie_in_every_epoch():
    plan = BatchPlan(random_lengths(100), 8, 4, seed=3, bucketed=True, shuffle=False)
    for epoch in (0, 1):
        steps = [sorted(int(index) for index in plan.indices(epoch, step)) for step in range(plan.steps_per_epoch)]
        assert [index for step in steps for index in step] == list(range(100))


def test_buckets_save_padding_and_stay_random():
    lengths = random_lengths(4000)

    def padding(bucketed: bool) -> float:
        plan = BatchPlan(lengths, 16, 16, seed=0, bucketed=bucketed)
        batches = [lengths[plan.indices(0, step)] for step in range(plan.steps_per_epoch)]
        return sum(len(batch) * batch.max() for batch in batches) / lengths.sum() - 1

    assert padding(bucketed=False) > 0.5
    assert padding(bucketed=True) < 0.1
    plan = BatchPlan(lengths, 16, 16, seed=0, bucketed=True)
    means = np.array([lengths[plan.indices(0, step)].mean() for step in range(100)])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3


def test_workers_get_about_as_much_to_compute():
    lengths = random_lengths(4096)
    plan = BatchPlan(lengths, 64, 8, seed=0)
    loads = np.array(
        [[lengths[np.concatenate(plan.share(0, step, rank, 4))].sum() for rank in range(4)] for step in range(64)]
    )
    assert (loads.max(axis=1) / loads.mean(axis=1)).mean() < 1.05


@pytest.mark.parametrize("seed", range(5))
def test_packing_puts_each_row_into_one_sequence_that_has_room(seed):
    lengths = np.random.default_rng(seed).integers(1, 65, 500).tolist()
    groups = pack(lengths, 128)
    assert sorted(row for group in groups for row in group) == list(range(500))
    assert all(sum(lengths[row] for row in group) <= 128 for group in groups)
    assert sum(lengths) / (len(groups) * 128) > 0.98


def test_packing_is_the_same_for_the_same_rows():
    lengths = np.random.default_rng(3).integers(1, 100, 300).tolist()
    assert pack(lengths, 128) == pack(list(lengths), 128)
    assert pack([], 128) == [] and pack([128, 128], 128) == [[0], [1]]
