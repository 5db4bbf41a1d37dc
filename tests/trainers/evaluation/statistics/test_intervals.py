"""Claims about intervals of one metric."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistic import Sums, Whole
from trainers.evaluation.statistics import bootstrap, interval_for, student_t, wilson
from trainers.evaluation.statistics.intervals import Resampled

from .generated import labelled, macro_f1


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.6, 0.99))
@settings(max_examples=50, deadline=None)
def test_wilson_is_that_of_statsmodels(counts, confidence):
    found = wilson(*counts, confidence)
    assert (found.low, found.high) == pytest.approx(proportion_confint(*counts, 1 - confidence, "wilson"), abs=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
@settings(max_examples=50, deadline=None)
def test_t_is_that_of_scipy(values):
    found = student_t(np.array(values))
    assert found.low <= np.mean(values) + 1e-9 and found.high >= np.mean(values) - 1e-9
    if np.std(values) > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_is_that_of_scipy(method, seed):
    values = np.random.default_rng(seed).exponential(size=60)
    found = bootstrap(Sums.mean(values), method=method, widen=False, num_resamples=40_000)
    expected = stats.bootstrap((values,), np.mean, method=method, n_resamples=40_000, rng=seed).confidence_interval
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03 * width)


def test_the_corrections_of_bca_are_those_of_scipy():
    values = np.random.default_rng(0).lognormal(size=80)
    spread = values.mean() - (values.sum() - values) / 79
    expected = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)
    found = Resampled.of([Sums.mean(values)], 1000, None, 0)
    assert found.acceleration == pytest.approx(-expected) or found.acceleration == pytest.approx(expected)
    assert found.bias == pytest.approx(stats.norm.ppf((found.samples < values.mean()).mean()), abs=0.01)


def test_a_small_sample_gets_an_interval_as_wide_as_students():
    values = stats.norm.ppf((np.arange(10) + 0.5) / 10)
    found, expected = bootstrap(Sums.mean(values), num_resamples=50_000), student_t(values)
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.05)


def test_shares_get_wilson_means_bca_and_whole_rows_percentiles():
    generator = np.random.default_rng(0)
    right = (generator.random(50) < 0.8).astype(float)
    assert interval_for(Sums.mean(right)) == wilson(int(right.sum()), 50)
    assert interval_for(Sums.mean(right), groups=np.arange(50)).method == "bca"
    assert interval_for(Sums.mean(generator.normal(size=50))).method == "bca"
    assert interval_for(macro_f1(*labelled(generator, 50))).method == "bca"
    assert interval_for(Whole(50, lambda drawn: float(right[drawn].mean())), num_resamples=200).method == "percentile"


def test_rows_that_do_not_count_are_left_out():
    assert interval_for(Sums.mean([1.0, np.nan, 0.0, np.nan])) == wilson(1, 2)


def test_whole_rows_agree_with_sums():
    values = np.random.default_rng(0).exponential(size=40)
    whole = bootstrap(Whole(40, lambda drawn: values[drawn].mean()), num_resamples=4000)
    sums = bootstrap(Sums.mean(values), num_resamples=4000)
    assert (whole.low, whole.high) == pytest.approx((sums.low, sums.high), abs=0.05)


def test_rows_that_hang_together_make_intervals_wider():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    statistic = Sums.mean(generator.normal(size=40)[groups] + 0.1 * generator.normal(size=400))
    alone, together = interval_for(statistic), interval_for(statistic, groups=groups)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


@given(st.floats(0.01, 0.45))
@settings(max_examples=30, deadline=None)
def test_a_bound_and_its_p_value_say_the_same(level):
    found = Resampled.of([Sums.mean(np.random.default_rng(0).exponential(size=50))], 2000, None, 0)
    assert found.tail(found.interval(1 - 2 * level).low) == pytest.approx(level, rel=0.05)


def test_values_that_are_all_the_same_have_an_interval_without_width():
    found = interval_for(Sums.mean(np.full(20, 0.3)))
    assert found.low == pytest.approx(0.3) and found.high == pytest.approx(0.3)
    assert 0.3 in wilson(3, 10) and 0.9 not in wilson(3, 10)


@pytest.mark.parametrize("call", [lambda: wilson(0, 0), lambda: wilson(3, 2), lambda: student_t(np.ones(1))])
def test_too_few_rows_are_refused(call):
    with pytest.raises(DataError):
        call()


def test_a_metric_that_most_samples_do_not_define_is_refused():
    with pytest.raises(DataError, match="defined on 0 of 100"):
        interval_for(Sums.mean([np.nan, np.nan, np.nan, 1.0]).take(np.arange(3)), num_resamples=100, groups=[1, 2, 3])


def test_a_confidence_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="confidence 95"):
        wilson(1, 2, 95)
