"""Claims about looking as often as one likes."""

import numpy as np
import pytest

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistics import BoundedSequence, MeanSequence, SequentialTest, ShareSequence
from trainers.evaluation.statistics.sequential import mixture_radius, share_evidence

LEVEL, NUM_STREAMS, LENGTH = 0.05, 2000, 1000
CHANCE = 3 * np.sqrt(LEVEL * (1 - LEVEL) / NUM_STREAMS)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_shares_keep_their_level_though_looked_at_after_every_value(rate):
    hits = (np.random.default_rng(0).random((NUM_STREAMS, LENGTH)) < rate).cumsum(1)
    evidence = share_evidence(hits, np.arange(1, LENGTH + 1), rate)
    assert (evidence.max(1) >= -np.log(LEVEL)).mean() <= LEVEL + CHANCE


def test_means_keep_their_level_though_looked_at_after_every_value():
    values = np.random.default_rng(0).exponential(size=(NUM_STREAMS, LENGTH)) - 1
    count = np.arange(1, LENGTH + 1)
    mean = values.cumsum(1) / count
    spread = np.sqrt((values**2).cumsum(1) / count - mean**2)
    missed = np.abs(mean) > spread * mixture_radius(count, 0.95, 500)
    assert missed[:, 49:].any(1).mean() <= LEVEL + CHANCE


def test_bets_keep_their_level_though_looked_at_all_the_time():
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(500):
        stream, left_out = BoundedSequence(points=21), False
        for part in np.split(generator.beta(0.5, 0.5, 300), 30):
            stream.update(part)
            left_out |= bool(stream.excluded()[10])
        missed += left_out
    assert missed / 500 <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 500)


def test_an_ordinary_interval_would_not_have():
    values = np.random.default_rng(0).normal(size=(NUM_STREAMS, LENGTH))
    count = np.arange(1, LENGTH + 1)
    missed = np.abs(values.cumsum(1) / count) > 1.96 / np.sqrt(count)
    assert missed[:, 49:].any(1).mean() > 0.3


@pytest.mark.parametrize(
    ("stream", "draw"),
    [
        (ShareSequence, lambda generator: (generator.random(3000) < 0.3).astype(float)),
        (BoundedSequence, lambda generator: generator.beta(3, 7, 3000)),
        (MeanSequence, lambda generator: generator.normal(0.3, 1, 3000)),
    ],
)
def test_intervals_hold_the_truth_and_close_in_on_it(stream, draw):
    values = draw(np.random.default_rng(1))
    one, other = stream(), stream()
    at_once = one.update(values)
    for part in np.split(values, 60):
        bit_by_bit = other.update(part)
    assert (at_once.low, at_once.high) == pytest.approx((bit_by_bit.low, bit_by_bit.high), abs=1e-6)
    assert 0.3 in at_once
    assert at_once.high - at_once.low < 0.15


def test_little_says_little():
    assert (ShareSequence().interval.low, ShareSequence().interval.high) == (0, 1)
    assert ShareSequence().update([1.0, 1.0]).low < 0.2
    assert BoundedSequence().update([]).high == 1
    assert MeanSequence().update(np.ones(10)).high == np.inf


def test_a_share_that_was_always_right_has_an_upper_bound_of_one():
    found = ShareSequence().update(np.ones(100))
    assert found.high == 1 and found.low > 0.9


def compared(second_rate, *, canary=0.1, n=6000, seed=0, **how):
    """A canary that is looked at after every hundred requests."""
    generator = np.random.default_rng(seed)
    test = SequentialTest(**how)
    for _ in range(n // 100):
        to_second = generator.random(100) < canary
        liked = (generator.random(100) < np.where(to_second, second_rate, 0.8)).astype(float)
        result = test.update(liked[~to_second], liked[to_second])
    return result


def test_a_canary_that_is_worse_is_found_out_early():
    found = compared(0.5)
    assert found.decision == "worse"
    assert found.n_decided < 2000
    assert found.n_first + found.n_second == 6000
    assert -0.3 in found.interval


def test_a_canary_that_is_better_is_found_out_too():
    assert compared(0.97, canary=0.5).decision == "better"


def test_a_canary_within_the_margin_is_not_worse():
    assert compared(0.8, canary=0.5, margin=0.15).decision == "not worse"


def test_lower_may_be_better():
    assert compared(0.5, higher_is_better=False).decision == "better"


def test_two_that_are_alike_are_told_apart_in_at_most_five_percent():
    decided = [compared(0.8, n=1500, seed=seed).decision != "undecided" for seed in range(100)]
    assert np.mean(decided) <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 100)


def test_latencies_need_no_bounds():
    generator = np.random.default_rng(0)
    test = SequentialTest(bounds=None, higher_is_better=False, margin=0.1)
    result = test.update(generator.gamma(2, 0.5, 3000), generator.gamma(2, 0.75, 3000))
    assert result.decision == "worse"


def test_values_wait_for_their_counterpart():
    test = SequentialTest()
    assert test.update([1.0, 0.0]).n_first == 0
    assert (test.update([], [1.0]).n_first, test.result.n_second) == (2, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ShareSequence().update([0.5]),
        lambda: BoundedSequence().update([1.5]),
        lambda: MeanSequence().update([np.nan]),
        lambda: SequentialTest().update([2.0], [0.0]),
        lambda: SequentialTest().update([np.nan]),
    ],
)
def test_values_that_do_not_belong_are_refused(call):
    with pytest.raises(DataError):
        call()


@pytest.mark.parametrize("call", [lambda: BoundedSequence(1, 0), lambda: SequentialTest(margin=-1)])
def test_settings_that_cannot_be_are_refused(call):
    with pytest.raises(ConfigError):
        call()
