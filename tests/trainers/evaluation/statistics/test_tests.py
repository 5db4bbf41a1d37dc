"""Claims about tests: equal to SciPy and statsmodels, refused where they do not belong."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportions_ztest

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.metrics import find_metric
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows
from trainers.evaluation.statistic import Sums, Whole
from trainers.evaluation.statistics import (
    UnpairedRows,
    choose_test,
    mann_whitney,
    mcnemar,
    one_sample,
    pair_rows,
    paired_bootstrap,
    paired_t,
    permutation,
    two_proportions,
    unpaired_bootstrap,
    welch,
    wilcoxon,
)

from .generated import labelled, macro_f1

ALTERNATIVES = st.sampled_from(["two-sided", "greater", "less"])
PAIRS = st.integers(3, 40).flatmap(lambda n: arrays(np.float64, (2, n), elements=st.floats(-10, 10, width=16)))
HITS = st.integers(3, 60).flatmap(lambda n: arrays(np.float64, (2, n), elements=st.sampled_from([0.0, 1.0])))
compare = settings(max_examples=40, deadline=None)


def both(values):
    return Sums.mean(values[0]), Sums.mean(values[1])


@given(HITS, st.booleans())
@compare
def test_mcnemar_is_that_of_statsmodels(hits, exact):
    table = [[((hits[0] == i) & (hits[1] == j)).sum() for j in (1, 0)] for i in (1, 0)]
    if (hits[0] != hits[1]).any():
        expected = statsmodels_mcnemar(table, exact=exact, correction=False)
        found = mcnemar(*both(hits), variant="exact" if exact else "asymptotic")
        assert (found.p_value, found.statistic) == pytest.approx((expected.pvalue, expected.statistic))


@given(st.integers(0, 30), st.integers(0, 30))
@compare
def test_mid_p_counts_half_of_the_table_itself(gained, lost):
    values = np.repeat([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], [gained, lost, 3], axis=1)
    chances = stats.binom.pmf(np.arange(gained + lost + 1), gained + lost, 0.5)
    higher = chances[gained + 1 :].sum() + chances[gained] / 2
    assert mcnemar(*both(values), alternative="greater").p_value == pytest.approx(higher if gained + lost else 1.0)
    two_sided = mcnemar(*both(values)).p_value
    assert two_sided == pytest.approx(2 * min(higher, 1 - higher) if gained != lost else 1 - chances[gained] / 2) or (
        gained + lost == 0 and two_sided == 1
    )


@given(PAIRS, ALTERNATIVES)
@compare
def test_paired_t_and_welch_are_those_of_scipy(values, alternative):
    if np.ptp(values[1] - values[0]) > 1e-3:
        expected = stats.ttest_rel(values[1], values[0], alternative=alternative).pvalue
        assert paired_t(*both(values), alternative=alternative).p_value == pytest.approx(expected)
    if np.ptp(values[0]) > 1e-3 and np.ptp(values[1]) > 1e-3:
        expected = stats.ttest_ind(values[1], values[0], equal_var=False, alternative=alternative).pvalue
        assert welch(*both(values), alternative=alternative).p_value == pytest.approx(expected)


@given(PAIRS, ALTERNATIVES)
@compare
def test_ranks_are_those_of_scipy(values, alternative):
    expected = stats.mannwhitneyu(values[1], values[0], alternative=alternative).pvalue
    assert mann_whitney(*both(values), alternative=alternative).p_value == pytest.approx(expected)
    apart = values[1] - values[0]
    if apart.any():
        expected = stats.wilcoxon(apart[apart != 0], alternative=alternative).pvalue
        assert wilcoxon(*both(values), alternative=alternative).p_value == pytest.approx(expected)


@given(st.integers(2, 10).flatmap(lambda n: arrays(np.float64, (2, n), elements=st.integers(-9, 9))), ALTERNATIVES)
@compare
def test_permutation_of_few_rows_is_the_exact_one_of_scipy(values, alternative):
    def mean_difference(one, other, axis):
        return other.mean(axis) - one.mean(axis)

    expected = stats.permutation_test(
        tuple(values), mean_difference, permutation_type="samples", alternative=alternative, n_resamples=np.inf
    )
    one_sided = {"greater": lambda d: d >= 0, "less": lambda d: d <= 0}
    found = permutation(*both(values), alternative=alternative)
    assert found.note == "every swap gone through"
    if alternative in one_sided:
        assert found.p_value == pytest.approx(expected.pvalue)
    else:  # SciPy doubles the smaller tail; the distribution is symmetric
        assert found.p_value == pytest.approx(min(expected.pvalue, 1.0))


def test_permutation_of_many_rows_comes_close_to_the_t_test():
    generator = np.random.default_rng(0)
    first = generator.exponential(size=400)
    pair = Sums.mean(first), Sums.mean(first + generator.normal(0.05, 0.5, 400))
    assert permutation(*pair).p_value == pytest.approx(paired_t(*pair).p_value, abs=0.02)
    assert paired_bootstrap(*pair).p_value == pytest.approx(paired_t(*pair).p_value, abs=0.02)
    assert unpaired_bootstrap(*pair).p_value == pytest.approx(welch(*pair).p_value, abs=0.02)


@given(st.integers(30, 200), st.integers(30, 200), st.floats(0.3, 0.7), ALTERNATIVES)
@compare
def test_two_proportions_are_those_of_statsmodels(n, m, rate, alternative):
    hits, others = round(rate * n), round(0.5 * m)
    pair = Sums.mean(np.arange(n) < hits), Sums.mean(np.arange(m) < others)
    wanted = {"greater": "larger", "less": "smaller"}.get(alternative, alternative)
    expected = proportions_ztest([others, hits], [m, n], alternative=wanted)[1]
    assert two_proportions(*pair, alternative=alternative).p_value == pytest.approx(expected)


def test_two_proportions_of_few_hits_are_tested_by_fisher():
    pair = Sums.mean(np.arange(20) < 1), Sums.mean(np.arange(20) < 5)
    found = two_proportions(*pair)
    assert found.name == "Fisher exact"
    assert found.p_value == pytest.approx(stats.fisher_exact([[5, 15], [1, 19]]).pvalue)


def test_one_sample_is_tested_against_a_number():
    right = Sums.mean(np.arange(50) < 40)
    assert one_sample(right, 0.7).p_value == pytest.approx(stats.binomtest(40, 50, 0.7).pvalue)
    values = np.random.default_rng(0).normal(size=30)
    assert one_sample(Sums.mean(values), 0.1).p_value == pytest.approx(stats.ttest_1samp(values, 0.1).pvalue)
    assert one_sample(Sums.mean(np.full(5, 0.5)), 0.5).p_value == 1.0


def test_each_metric_gets_the_test_that_suits_it():
    generator = np.random.default_rng(0)
    hits, numbers = Sums.mean(generator.random(60) < 0.5), Sums.mean(generator.normal(size=60))
    grades, few = Sums.mean(generator.integers(1, 6, 60).astype(float)), numbers.take(np.arange(20))
    f1, whole = macro_f1(*labelled(generator, 60)), Whole(60, lambda drawn: float(len(set(drawn.tolist()))))
    groups = np.arange(60) // 3
    paired = {
        "McNemar (mid-p)": (hits, {}),
        "Wilcoxon": (grades, {}),
        "paired t": (numbers, {}),
        "permutation": (few, {}),
        "paired bootstrap": (whole, {}),
    }
    for name, (metric, how) in paired.items():
        assert choose_test(metric, metric, True, **how)(metric, metric).name == name
    assert choose_test(f1, f1, True)(f1, f1).name == "permutation"
    in_groups = choose_test(hits, hits, True, groups=groups)(hits, hits)
    assert (in_groups.name, in_groups.n) == ("permutation", 20)
    unpaired = {"two proportions": hits, "Mann-Whitney": grades, "Welch t": numbers, "bootstrap": f1}
    for name, metric in unpaired.items():
        assert choose_test(metric, metric, False)(metric, metric).name == name


def test_rows_of_other_sums_are_not_swapped_but_drawn():
    generator = np.random.default_rng(0)
    true, given_labels = labelled(generator, 60)
    one, other = macro_f1(true, given_labels), macro_f1(true, given_labels, labels=7)
    assert choose_test(one, other, True)(one, other).name == "paired bootstrap"
    with pytest.raises(ConfigError, match="use the paired bootstrap"):
        permutation(one, other)


def test_functions_made_alike_are_the_same_function():
    def made(power, names="ab"):
        raised = partial(np.power, x2=power) if names is None else lambda sums: sums[..., 0] ** power
        return Sums(np.arange(20.0).reshape(10, 2), lambda sums, names=names: raised(sums))

    assert permutation(made(2), made(2)).p_value == 1.0
    for other in (made(3), made(2, "bc"), made(2, None)):
        with pytest.raises(ConfigError):
            permutation(made(2), other)


def test_labels_that_only_one_model_gives_keep_rows_from_being_swapped():
    def f1(*given):
        return find_metric("macro_f1").function(
            Rows([Prediction("", a, b) for a, b in zip("aabb", given, strict=True)])
        )

    assert choose_test(f1(*"abab"), f1(*"aabb"), True)(f1(*"abab"), f1(*"aabb")).name == "permutation"
    assert choose_test(f1(*"abac"), f1(*"aabd"), True)(f1(*"abac"), f1(*"aabd")).name == "paired bootstrap"


@pytest.mark.parametrize("test", [mcnemar, paired_t, wilcoxon, permutation, paired_bootstrap])
def test_rows_that_are_not_the_same_are_refused_in_a_paired_test(test):
    with pytest.raises(UnpairedRows, match="found 3 and 4"):
        test(Sums.mean(np.eye(3)[0]), Sums.mean(np.eye(4)[0]))


@pytest.mark.parametrize("test", [mcnemar, paired_t, wilcoxon, permutation, paired_bootstrap, welch, mann_whitney])
@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_refused(test, n):
    with pytest.raises(DataError):
        test(Sums.mean(np.ones(n)), Sums.mean(np.zeros(n)))


@pytest.mark.parametrize("test", [mcnemar, two_proportions])
def test_numbers_are_refused_where_shares_belong(test):
    with pytest.raises(ConfigError, match="is for shares"):
        test(*both(np.array([[0.5, 1.0, 2.0], [0.0, 1.0, 1.0]])))


@pytest.mark.parametrize("test", [paired_t, wilcoxon, welch, mann_whitney])
def test_functions_of_many_rows_are_refused_where_row_values_belong(test):
    f1 = macro_f1(*labelled(np.random.default_rng(0), 20))
    with pytest.raises(ConfigError, match="one value a row"):
        test(f1, f1)


def test_an_unknown_alternative_is_refused():
    with pytest.raises(ConfigError, match="'bigger'"):
        paired_t(*both(np.eye(3)[:2]), alternative="bigger")


@pytest.mark.parametrize("test", [mcnemar, paired_t, wilcoxon, permutation, paired_bootstrap, welch])
def test_two_models_that_never_differ_show_no_difference(test):
    hits = Sums.mean(np.arange(30) % 2 == 0)
    assert test(hits, hits).p_value == 1.0


def test_rows_are_paired_by_key_those_that_repeat_in_their_order():
    one, other = pair_rows(["a", "b", "a", "x"], ["b", "a", "y", "a", "a"])
    assert (one.tolist(), other.tolist()) == ([0, 1, 2], [1, 0, 3])


@pytest.mark.parametrize(("keys", "said"), [(["x"], "no row that is in both"), ([""], "without a key")])
def test_evaluations_of_other_rows_cannot_be_paired(keys, said):
    with pytest.raises(UnpairedRows, match=said):
        pair_rows(["a", "b"], keys)
