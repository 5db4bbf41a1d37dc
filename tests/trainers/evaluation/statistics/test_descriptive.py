"""Claims about descriptions, correlations, simulations and sampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistic import Sums
from trainers.evaluation.statistics import (
    UnpairedRows,
    correlation,
    describe,
    probability_better,
    simulate_scores,
    simulate_strategies,
)
from trainers.evaluation.statistics.sampling import importance_estimate, metropolis, rejection_sample
from trainers.evaluation.statistics.simulation import monte_carlo_error

from .generated import share


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=40).filter(lambda values: np.ptp(values) > 0))
@settings(max_examples=40, deadline=None)
def test_a_description_is_that_of_scipy(values):
    found, expected = describe([*values, np.nan]), stats.describe(values)
    assert (found.n, found.mean, found.low, found.high) == pytest.approx((len(values), expected.mean, *expected.minmax))
    assert found.sd**2 == pytest.approx(expected.variance)
    assert found.error == pytest.approx(stats.sem(values))
    assert (found.first_quartile, found.third_quartile) == pytest.approx(tuple(np.percentile(values, [25, 75])))


def test_a_single_value_has_no_spread_to_describe():
    assert np.isnan(describe([3.0]).sd) and describe([3.0]).median == 3
    assert np.isnan(describe([0.1 + 0.2, 0.3]).skewness)
    with pytest.raises(DataError, match="no values"):
        describe([np.nan])


@pytest.mark.parametrize("kind", ["pearson", "spearman", "kendall"])
def test_a_correlation_is_that_of_scipy_with_an_interval(kind):
    generator = np.random.default_rng(0)
    one = generator.normal(size=80)
    other = one + generator.normal(size=80)
    expected = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind](one, other)
    found = correlation(one, other, kind)
    assert (found.value, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.value in found.interval and found.words.endswith("rising together")
    if kind == "pearson":
        bounds = expected.confidence_interval()
        assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))


@pytest.mark.parametrize("kind", ["pearson", "spearman", "kendall"])
def test_intervals_of_correlations_hold_the_truth(kind):
    generator = np.random.default_rng(0)
    truth = {"pearson": 0.5, "spearman": 6 / np.pi * np.arcsin(0.25), "kendall": 2 / np.pi * np.arcsin(0.5)}[kind]
    drawn = generator.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], (1000, 60))
    held = [truth in correlation(*pairs.T, kind).interval for pairs in drawn]
    assert 0.92 <= np.mean(held) <= 0.98


def test_figures_that_go_apart_are_said_to():
    assert correlation([1, 2, 3, 4], [4, 3, 2, 1]).words == "large, one falls as the other rises"
    assert correlation([1, 2, 3, 4, 5], [1, 0, 0, 0, 1], "pearson").words == "negligible"


def test_what_cannot_be_correlated_is_refused():
    with pytest.raises(UnpairedRows):
        correlation([1, 2, 3], [1, 2])
    with pytest.raises(DataError, match="3 pairs"):
        correlation([1, 2, 3, np.nan], [1, 2, 3, 4])
    with pytest.raises(DataError, match="the same in every pair"):
        correlation([1, 2, 3, 4], [5, 5, 5, 5])


def test_contenders_are_played_through_on_the_same_rows():
    generator = np.random.default_rng(0)
    low, high = generator.normal(size=100), generator.normal(0.3, 1, 100)
    found = simulate_scores({"low": Sums.mean(low), "high": Sums.mean(high)}, num_simulations=4000)
    expected = probability_better(Sums.mean(low), Sums.mean(high))
    assert found.first()["high"] == pytest.approx(expected, abs=0.03)
    assert sum(found.first().values()) == pytest.approx(1)
    assert found.expected_place()["low"] == pytest.approx(1 + found.first()["high"])


def test_a_smaller_test_set_scatters_more():
    accuracy = {"model": share(np.random.default_rng(0), 1000, 0.8)}
    ranges = [simulate_scores(accuracy, num_rows=n).range()["model"] for n in (100, 1000)]
    assert ranges[0][1] - ranges[0][0] == pytest.approx(np.sqrt(10) * (ranges[1][1] - ranges[1][0]), rel=0.15)
    reached = simulate_scores(accuracy, num_rows=100).reaches(0.85)["model"]
    assert reached == pytest.approx(stats.binom.sf(84, 100, accuracy["model"].value), abs=0.02)


def test_strategies_meet_the_same_luck():
    played = simulate_strategies(
        {"a": lambda luck: luck.normal(), "b": lambda luck: luck.normal() + 0.01}, num_simulations=200
    )
    assert played.first() == {"a": 0.0, "b": 1.0}
    assert monte_carlo_error(played.scores[0]) == pytest.approx(1 / np.sqrt(200), rel=0.2)
    with pytest.raises(DataError, match="strategy broken"):
        simulate_strategies({"broken": lambda luck: np.nan}, num_simulations=2)


def test_importance_weights_turn_one_distribution_into_another():
    drawn = np.random.default_rng(0).normal(0, 2, 50_000)
    found = importance_estimate(drawn, stats.norm.logpdf(drawn, 1, 1) - stats.norm.logpdf(drawn, 0, 2))
    assert found.value == pytest.approx(1, abs=4 * found.error)
    assert found.error < 0.02 and found.effective_n < 50_000
    assert importance_estimate(drawn, np.zeros(50_000)).effective_n == pytest.approx(50_000)
    with pytest.raises(DataError, match="weight 0"):
        importance_estimate(drawn, np.full(50_000, -np.inf))


def uniform(generator, n):
    return generator.random((n, 1))


def flat(points):
    return np.zeros(len(points))


def test_rejection_draws_from_the_target():
    beta = stats.beta(2, 5)
    drawn = rejection_sample(lambda x: beta.logpdf(x[:, 0]), uniform, flat, np.log(2.5), 5000)
    assert stats.kstest(drawn[:, 0], beta.cdf).pvalue > 0.001
    with pytest.raises(ConfigError, match="exceeds the proposal"):
        rejection_sample(lambda x: beta.logpdf(x[:, 0]), uniform, flat, 0.0, 5000)
    with pytest.raises(DataError, match="were accepted"):
        rejection_sample(lambda x: flat(x) - np.inf, uniform, flat, 0.0, 1, most_proposals=2000)


def test_a_chain_has_the_targets_moments():
    found = metropolis(lambda x: float(stats.norm.logpdf(x[0], 3, 2)), np.zeros(1), 10_000)
    near = 4 * 2 / np.sqrt(found.effective_n())
    assert found.draws.mean() == pytest.approx(3, abs=near)
    assert found.draws.std() == pytest.approx(2, rel=0.1)
    assert 0.25 < found.acceptance < 0.45
    assert 500 < found.effective_n() < 10_000
    with pytest.raises(DataError, match="at the start"):
        metropolis(lambda x: -np.inf, np.zeros(1), 10)
