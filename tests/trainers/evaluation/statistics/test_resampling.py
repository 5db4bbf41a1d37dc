"""Claims about drawing rows again."""

import numpy as np
import pytest
from scipy import stats

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistic import Sums, Whole, ratio
from trainers.evaluation.statistics import resample
from trainers.evaluation.statistics.resampling import Cells, poisson_counts

from .generated import labelled, macro_f1

MANY = 20_000


def draws_by_hand(values: np.ndarray, num: int, size: int) -> np.ndarray:
    return values[np.random.default_rng(9).integers(0, len(values), (num, size))].mean(1)


@pytest.mark.parametrize(
    ("values", "size"),
    [
        (np.repeat([0.0, 1.0, 5.0], [30, 60, 10]), 100),
        (np.random.default_rng(0).exponential(size=100), 100),
        (np.random.default_rng(0).integers(0, 20, 100).astype(float), 100),
        (np.random.default_rng(0).exponential(size=100), 37),
        (np.random.default_rng(0).exponential(size=30), 300),
    ],
    ids=["few cells", "every row a cell", "some cells", "fewer drawn", "more drawn"],
)
def test_samples_are_distributed_as_if_rows_were_drawn_one_by_one(values, size):
    found = resample([Sums.mean(values)], MANY, size=size)[0]
    assert stats.ks_2samp(found, draws_by_hand(values, MANY, size)).pvalue > 0.001


@pytest.mark.parametrize("n", [3, 50, 5000])
def test_counts_of_rows_are_binomial_and_sum_to_the_size(n):
    cells = Cells.of_statistics([Sums.mean(np.arange(n, dtype=float))])
    counts = cells.bootstrap(np.random.default_rng(0), 4_000_000 // n // 100)
    assert (counts.sum(1) == n).all()
    seen = np.bincount(counts.astype(int).ravel(), minlength=7)[:7]
    expected = stats.binom.pmf(np.arange(7), n, 1 / n) * counts.size
    usual = expected > 5
    assert stats.chisquare(seen[usual], expected[usual] * seen[usual].sum() / expected[usual].sum()).pvalue > 0.001


def test_counts_of_two_rows_depend_on_each_other_as_multinomial_counts_do():
    n = 20
    cells = Cells.of_statistics([Sums.mean(np.arange(n, dtype=float))])
    covariance = np.cov(cells.bootstrap(np.random.default_rng(0), 100_000).T)
    apart = covariance[~np.eye(n, dtype=bool)]
    assert apart.mean() == pytest.approx(-1 / n, rel=0.01)
    assert np.diag(covariance).mean() == pytest.approx(1 - 1 / n, rel=0.02)


def test_poisson_counts_stay_short_of_the_size():
    counts = poisson_counts(np.random.default_rng(0), 300, 10_001, 10_001)
    missing = 10_001 - counts.sum(1, dtype=int)
    assert (missing >= 0).all()
    assert missing.mean() == pytest.approx(4 * np.sqrt(10_001), rel=0.1)


def test_equal_rows_make_one_cell_whatever_the_sign_of_zero():
    cells = Cells.of_statistics([Sums(np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 1.0]]), ratio)])
    assert sorted(cells.sizes) == [1, 2]


def test_two_statistics_see_the_same_samples():
    generator = np.random.default_rng(0)
    values = generator.normal(size=200)
    one, other = resample([Sums.mean(values), Sums.mean(values + 3)], 500)
    assert np.allclose(other - one, 3)


def test_the_figures_of_a_seed_do_not_depend_on_the_number_of_threads(monkeypatch):
    statistic = Sums.mean(np.random.default_rng(0).normal(size=20_000))
    several = resample([statistic], 200)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert (resample([statistic], 200) == several).all()
    assert (resample([statistic], 200, seed=1) != several).any()


def test_sparse_and_dense_counts_agree():
    true, given = labelled(np.random.default_rng(0), 3000)
    statistic = macro_f1(true, given, labels=40)
    cells = Cells.of_statistics([statistic])
    sparse = cells.sample(cells.bootstrap, 100, 3)
    counts = cells.bootstrap(np.random.Generator(np.random.SFC64(np.random.SeedSequence(3).spawn(1)[0])), 100)
    assert np.allclose(sparse, statistic.of(counts @ cells.rows[0]))


def test_a_metric_of_whole_rows_is_drawn_together_with_sums():
    values = np.random.default_rng(0).normal(size=50)
    mean, same = resample([Sums.mean(values), Whole(50, lambda drawn: values[drawn].mean())], 100)
    assert np.allclose(mean, same)


@pytest.mark.parametrize("whole", [False, True])
def test_rows_of_a_group_are_drawn_together(whole):
    groups = np.repeat(["a", "b", "c"], [1, 2, 3])
    values = np.array([1.0, 2, 2, 3, 3, 3])
    statistic = Whole(6, lambda drawn: values[drawn].mean()) if whole else Sums.mean(values)
    possible = {
        round((1 * a + 4 * b + 9 * c) / (a + 2 * b + 3 * c), 9)
        for a in range(4)
        for b in range(4 - a)
        for c in [3 - a - b]
    }
    assert {round(value, 9) for value in resample([statistic], 2000, groups=groups)[0]} == possible


def test_bayesian_weights_have_the_moments_of_dirichlet_weights():
    cells = Cells.of_statistics([Sums.mean(np.repeat([0.0, 1.0], [8, 2]))])
    weights = cells.bayesian(np.random.default_rng(0), 50_000) / 10
    shares = weights[:, np.argmin(cells.sizes)]
    assert stats.kstest(shares, stats.beta(2, 8).cdf).pvalue > 0.001


@pytest.mark.parametrize("values", [np.repeat([0.0, 1.0], 20), np.arange(40.0), np.arange(40.0) // 1.5])
def test_half_of_the_rows_are_swapped_on_average(values):
    cells = Cells.of_statistics([Sums.mean(values)])
    swaps = cells.swaps(np.random.default_rng(0), 20_000)
    assert np.allclose(swaps.mean(0), cells.sizes / 2, atol=0.1)
    assert stats.kstest(swaps.sum(1) + np.random.default_rng(1).random(20_000), _smooth_binomial).pvalue > 0.001


def _smooth_binomial(x):
    low = np.floor(x)
    return stats.binom.cdf(low - 1, 40, 0.5) + (x - low) * stats.binom.pmf(low, 40, 0.5)


def test_statistics_of_different_rows_are_not_drawn_together():
    with pytest.raises(ConfigError, match=r"found \[3, 4\] rows"):
        resample([Sums.mean(np.ones(3)), Sums.mean(np.ones(4))])


@pytest.mark.parametrize(
    ("n", "groups", "said"),
    [
        (0, None, "found no rows"),
        (1, None, "found 1 rows"),
        (4, [1, 1, 1, 1], "1 groups"),
        (4, [1, 2], "2 groups for 4"),
    ],
)
def test_too_little_to_draw_from_is_refused(n, groups, said):
    with pytest.raises(DataError, match=said):
        resample([Sums.mean(np.ones(n))], groups=groups)
