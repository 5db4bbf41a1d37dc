"""Claims about what is concluded beyond a single test: sizes, many tests, power, margins, posteriors, seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import fdrcorrection, multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep

from cluster.exceptions import ConfigError, DataError
from trainers.evaluation.statistic import Sums, Whole
from trainers.evaluation.statistics import (
    UnpairedRows,
    benjamini_hochberg,
    cliffs_delta,
    cohens_d,
    cohens_dz,
    cohens_h,
    difference_interval,
    effect_size,
    equivalence,
    holm,
    mcnemar,
    non_inferiority,
    odds_ratio,
    over_seeds,
    posterior,
    power_of,
    power_of_share,
    probability_better,
    risk_difference,
)
from trainers.evaluation.statistics.differences import PairedShares, UnpairedShares
from trainers.evaluation.statistics.power import in_words, power_for

from .generated import labelled, macro_f1, pair_of_shares, share

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)
COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200)).filter(lambda c: sum(c) >= 2)


def counted(gained, lost, same):
    values = np.repeat([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], [gained, lost, same], axis=1)
    return Sums.mean(values[0]), Sums.mean(values[1])


@given(P_VALUES)
@settings(max_examples=50, deadline=None)
def test_benjamini_hochberg_is_that_of_statsmodels(p_values):
    assert benjamini_hochberg(p_values) == pytest.approx(fdrcorrection(p_values)[1])


def test_holm_is_that_of_statsmodels():
    p_values = np.round(np.random.default_rng(0).beta(0.5, 2, 40), 2)
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_corrections_keep_their_level_over_many_tests():
    generator = np.random.default_rng(0)
    assert np.mean([holm(generator.random(20)).min() < 0.05 for _ in range(2000)]) < 0.065


def test_what_is_no_p_value_is_refused():
    with pytest.raises(DataError, match="between 0 and 1"):
        holm([0.5, 1.5])
    assert len(holm([])) == 0


def test_effect_sizes_have_their_textbook_values():
    one, other = Sums.mean([1.0, 2, 3, 4]), Sums.mean([2.0, 4, 4, 6])
    assert cohens_d(one, other).value == pytest.approx(1.5 / np.sqrt((5 / 3 + 8 / 3) / 2))
    assert cohens_dz(one, other).value == pytest.approx(1.5 / np.std([1, 2, 1, 2], ddof=1))
    assert cliffs_delta(one, other).value == pytest.approx(9 / 16)
    right, more = Sums.mean(np.arange(10) < 5), Sums.mean(np.arange(10) < 8)
    assert cohens_h(right, more).value == pytest.approx(2 * np.arcsin(np.sqrt(0.8)) - 2 * np.arcsin(np.sqrt(0.5)))
    assert risk_difference(right, more).value == pytest.approx(0.3)
    assert odds_ratio(right, more, paired=False).value == pytest.approx(4.0)
    assert odds_ratio(*counted(6, 2, 10), paired=True).value == pytest.approx(3.0)
    assert odds_ratio(*counted(6, 0, 10), paired=True).value == pytest.approx(13.0)


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=20), st.lists(st.integers(-5, 5), min_size=2, max_size=20))
@settings(max_examples=30, deadline=None)
def test_cliffs_delta_is_that_of_all_pairs(first, second):
    expected = np.sign(np.subtract.outer(second, first)).mean()
    assert cliffs_delta(Sums.mean(first), Sums.mean(second)).value == pytest.approx(expected)


def test_the_effect_size_suits_the_metric_and_has_words():
    generator = np.random.default_rng(0)
    numbers = Sums.mean(np.arange(20.0)), Sums.mean(np.arange(20.0) + 30)
    assert effect_size(*numbers, paired=False).name == "Cohen's d"
    assert effect_size(*numbers, paired=True).value == np.inf
    assert effect_size(*numbers, paired=False).words == "large"
    assert effect_size(*counted(1, 1, 50), paired=True) == cohens_h(*counted(1, 1, 50))
    assert effect_size(*counted(1, 1, 50), paired=True).words == "negligible"
    f1 = macro_f1(*labelled(generator, 30))
    assert effect_size(f1, f1, paired=True).words == "no scale"


@given(COUNTS)
@settings(max_examples=60, deadline=None)
def test_tangos_interval_and_mcnemars_test_agree(counts):
    found = PairedShares(counts[0], counts[1], sum(counts))
    p = mcnemar(*counted(*counts), variant="asymptotic").p_value
    interval = found.interval(0.95)
    if abs(p - 0.05) > 1e-6:
        assert (0 in interval) == (p > 0.05)
    assert -1 <= interval.low <= found.value <= interval.high <= 1
    if counts[0] + counts[1]:
        assert found.tail(interval.low) == pytest.approx(0.025, abs=1e-4) or interval.low == -1
        assert min(found.tail(0.0), 1 - found.tail(0.0)) * 2 == pytest.approx(p)


def test_tangos_interval_is_that_of_his_paper():
    found = PairedShares(12, 2, 50).interval(0.95)  # Tango 1998, as in Newcombe 1998, table III
    assert found.low > 0.04 and found.high < 0.36
    alike = PairedShares(0, 0, 50).interval(0.95)
    assert alike.high == pytest.approx(1.96**2 / (50 + 1.96**2), abs=1e-3)


@given(st.integers(2, 60), st.integers(2, 60), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_newcombes_interval_is_that_of_statsmodels(n, m, one, other):
    hits, others = round(one * n), round(other * m)
    found = UnpairedShares((hits, others), (n, m))
    interval = found.interval(0.95)
    expected = confint_proportions_2indep(others, m, hits, n, method="newcomb")
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)
    if interval.low > -1:
        assert found.tail(interval.low) == pytest.approx(0.025, abs=1e-6)


def test_models_that_never_differ_are_equal_only_as_far_as_the_rows_tell():
    few, many = counted(0, 0, 50), counted(0, 0, 5000)
    assert equivalence(*few, 0.01).verdict == "inconclusive"
    assert equivalence(*many, 0.01).verdict == "shown"


def test_verdicts_follow_the_interval():
    assert non_inferiority(*counted(60, 20, 1000), 0.0).verdict == "shown"
    assert non_inferiority(*counted(20, 60, 1000), 0.01).verdict == "refuted"
    assert non_inferiority(*counted(30, 35, 1000), 0.01).verdict == "inconclusive"
    assert non_inferiority(*counted(30, 35, 1000), 0.03).verdict == "shown"
    assert non_inferiority(*counted(20, 60, 1000), 0.01, higher_is_better=False).verdict == "shown"
    assert equivalence(*counted(60, 20, 1000), 0.01).verdict == "refuted"
    with pytest.raises(ConfigError, match=r"margin of -0\.1"):
        non_inferiority(*counted(1, 1, 10), -0.1)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_model_at_the_margin_passes_in_five_percent(higher_is_better):
    generator = np.random.default_rng(3)
    chances = (0.07, 0.10) if higher_is_better else (0.10, 0.07)
    passed = [
        non_inferiority(*pair_of_shares(generator, 400, *chances), 0.03, higher_is_better=higher_is_better)
        for _ in range(2000)
    ]
    assert np.mean([one.verdict == "shown" for one in passed]) <= 0.065
    assert all((one.verdict == "shown") == (one.p_value < 0.05) for one in passed)


def test_means_pass_and_fail_by_the_bootstrap():
    generator = np.random.default_rng(0)
    first = generator.normal(size=300)
    second = Sums.mean(first - 0.1 + generator.normal(0, 0.3, 300))
    how = {"num_resamples": 2000}
    assert non_inferiority(Sums.mean(first), second, 0.2, **how).verdict == "shown"
    found = non_inferiority(Sums.mean(first), second, 0.05, **how)
    assert found.verdict == "refuted" and found.p_value > 0.95
    assert equivalence(Sums.mean(first), second, 0.2, **how).p_value < 0.05


@given(st.integers(20, 5000), st.floats(0.01, 0.3))
@settings(max_examples=30, deadline=None)
def test_power_is_that_of_statsmodels(n, margin):
    found = power_for(n, np.sqrt(2 / n), margin)
    assert found.power == pytest.approx(NormalIndPower().power(margin, n, 0.05), abs=1e-9)
    needed = NormalIndPower().solve_power(margin, power=0.9, alpha=0.05)
    assert found.n_for_90 == pytest.approx(needed, rel=0.01, abs=1)
    assert power_for(n, np.sqrt(2 / n), found.detectable).power == pytest.approx(0.9, abs=0.001)


def test_power_promised_is_power_had():
    generator = np.random.default_rng(0)
    promised = power_of(*pair_of_shares(generator, 400, 0.08, 0.08), 0.04)
    seen = [mcnemar(*pair_of_shares(generator, 400, 0.06, 0.10)).p_value < 0.05 for _ in range(1500)]
    assert promised.power == pytest.approx(np.mean(seen), abs=0.06)


def test_power_is_said_in_words():
    assert power_for(200, 0.0165, 0.02, in_points=True, change="drop").sentence == (
        "with these 200 rows a 2-point drop is seen 1 time in 4; 1,500 rows would see it 9 times in 10"
    )
    assert power_for(200, 0.001, 0.02, change="rise").sentence == (
        "with these 200 rows a rise of 0.02 is seen nearly always; 6 rows are enough"
    )
    assert [in_words(one) for one in (0.01, 0.2, 0.52, 0.9)] == [
        "hardly ever",
        "1 time in 5",
        "1 time in 2",
        "9 times in 10",
    ]


def test_power_does_not_depend_on_the_difference_found():
    assert power_of(*counted(30, 10, 400), 0.02).power == power_of(*counted(10, 30, 400), 0.02).power
    assert power_of_share(200, 0.9, 0.02).power < power_of_share(2000, 0.9, 0.02).power
    with pytest.raises(ConfigError, match="margin of 0"):
        power_of(*counted(1, 1, 10), 0)


@given(COUNTS)
@settings(max_examples=20, deadline=None)
def test_the_probability_to_be_better_is_that_of_a_beta_posterior(counts):
    expected = stats.beta.sf(0.5, counts[0] + 0.5, counts[1] + 0.5)
    assert probability_better(*counted(*counts)) == pytest.approx(expected, abs=0.02)
    assert probability_better(*counted(*counts), higher_is_better=False) == pytest.approx(1 - expected, abs=0.02)


def test_the_posterior_of_a_mean_is_students():
    first = np.random.default_rng(0).normal(size=200)
    apart = np.random.default_rng(1).normal(0.05, 0.4, 200)
    expected = stats.t.cdf(apart.mean() / stats.sem(apart), 199)
    assert probability_better(Sums.mean(first), Sums.mean(first + apart)) == pytest.approx(expected, abs=0.02)


def test_probabilities_of_a_posterior_sum_to_one():
    generator = np.random.default_rng(0)
    pair = share(generator, 300, 0.8), share(generator, 300, 0.8)
    found = posterior(*pair, 0.05, paired=False)
    assert found.worse + found.same + found.better == pytest.approx(1)
    assert found.same > posterior(*pair, 0.01, paired=False).same
    f1 = macro_f1(*labelled(generator, 100))
    assert probability_better(f1, f1) == 0.5
    assert probability_better(f1, macro_f1(*labelled(generator, 100)), paired=False, num_resamples=500) > 0
    whole = Whole(100, lambda drawn: float(drawn.mean()))
    assert posterior(whole, whole, num_resamples=50).same == 1


def runs(generator, num_runs, rows, seed_spread, shift=0.0):
    noise = generator.normal(0, 1, (num_runs, len(rows))) + seed_spread * generator.normal(size=(num_runs, 1))
    return rows + shift + noise


def test_over_seeds_is_the_mixed_model_of_statsmodels():
    import pandas as pd
    from statsmodels.formula.api import mixedlm

    generator = np.random.default_rng(4)
    first, second = (runs(generator, 4, 2 * generator.normal(size=25), 0.7) for _ in range(2))
    apart = second - first
    frame = pd.DataFrame(
        {"y": apart.ravel(), "run": np.repeat(np.arange(4), 25), "row": np.tile(np.arange(25), 4), "all": 1}
    )
    parts = {"run": "0 + C(run)", "row": "0 + C(row)"}
    fitted = mixedlm("y ~ 1", frame, groups="all", vc_formula=parts, re_formula="0").fit(reml=True)
    found = over_seeds(first, second, paired=True)
    spreads = dict(zip(fitted.model.exog_vc.names, np.sqrt(fitted.vcomp), strict=True))
    assert found.difference == pytest.approx(fitted.fe_params.iloc[0])
    assert (found.between_seeds, found.between_rows) == pytest.approx((spreads["run"], spreads["row"]), rel=0.02)
    assert found.rest == pytest.approx(np.sqrt(fitted.scale), rel=0.02)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("seed_spread", [0.0, 0.3])
def test_seeds_that_explain_a_difference_do_not_make_one(paired, seed_spread):
    generator = np.random.default_rng(5)
    found = []
    for _ in range(1000):
        rows = generator.normal(size=80)
        tables = (runs(generator, 3, rows + 0.5 * generator.normal(size=80), seed_spread) for _ in range(2))
        found.append(over_seeds(*tables, paired=paired).p_value < 0.05)
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_pooling_rows_would_claim_what_seeds_explain():
    generator = np.random.default_rng(6)
    pooled, found = [], []
    for _ in range(100):
        rows = generator.normal(size=300)
        first, second = runs(generator, 3, rows, 0.2), runs(generator, 3, rows, 0.2)
        pooled.append(stats.ttest_rel(second.ravel(), first.ravel()).pvalue < 0.05)
        found.append(over_seeds(first, second))
    assert np.mean(pooled) > 0.4
    assert np.mean([one.p_value < 0.05 for one in found]) < 0.12
    alike = next(one for one in found if one.p_value > 0.05)
    assert "which seeds and rows explain" in alike.sentence


def test_seeds_of_single_figures_and_of_metrics():
    generator = np.random.default_rng(0)
    first, second = [0.80, 0.81, 0.79], [0.84, 0.86, 0.83]
    assert over_seeds(first, second).p_value == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)
    assert over_seeds(first, second, paired=True).p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    true, _ = labelled(generator, 200)
    trained = [
        [macro_f1(true, np.where(generator.random(200) < right, true, 0)) for _ in range(3)] for right in (0.6, 0.9)
    ]
    found = over_seeds(*trained)
    assert found.difference == pytest.approx(
        np.mean([b.value - a.value for a, b in zip(*trained, strict=True)]), abs=0.02
    )
    assert found.p_value < 0.01


def test_runs_that_cannot_be_compared_are_refused():
    with pytest.raises(UnpairedRows, match="as many runs"):
        over_seeds(np.ones((2, 5)), np.ones((3, 5)), paired=True)
    with pytest.raises(UnpairedRows, match="same rows"):
        over_seeds(np.ones((2, 5)), np.ones((2, 6)))
    with pytest.raises(DataError, match="1 runs"):
        over_seeds([0.5], [0.6, 0.7])
    with pytest.raises(UnpairedRows):
        difference_interval(Sums.mean(np.ones(3)), Sums.mean(np.ones(4)))
