"""Tests of one hypothesis: that two models are the same on average. The alternative is about the second: `greater` means
that it is higher. All take statistics, so that they see which metric they are given; a wrong one is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from trainers.evaluation.statistic import Statistic, Sums, Whole
from trainers.evaluation.statistics import checks
from trainers.evaluation.statistics.intervals import MOST_RESAMPLES_OF_WHOLE
from trainers.evaluation.statistics.resampling import Cells, in_chunks, narrow, resample

Alternative = Literal["two-sided", "greater", "less"]
Groups = np.ndarray | Sequence[object] | None
FEW_EXPECTED = 5.0
"""Below so many expected hits or misses the normal approximation of two shares gives way to Fisher's exact test."""
MOST_GRADES = 11
"""Whole numbers of at most so many different values are grades: their order counts, not their distance."""
ENOUGH_FOR_T = 30
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class TestResult:
    """What a test found.

    Attributes:
        name: of the test.
        statistic: its test statistic.
        p_value: how often chance alone gives a difference as large, if the two are the same.
        n: rows (pairs, groups) it looked at; of unpaired tests those of both sides together.
        alternative: `two-sided`, `greater` or `less`.
        note: what else to know, in words.
    """

    __test__: ClassVar[bool] = False

    name: str
    statistic: float
    p_value: float
    n: int
    alternative: str = "two-sided"
    note: str = ""


def mcnemar(
    first: Statistic,
    second: Statistic,
    *,
    alternative: Alternative = "two-sided",
    variant: Literal["exact", "mid-p", "asymptotic"] = "mid-p",
) -> TestResult:
    """Whether two shares on the same rows differ: only the rows on which they disagree count.

    Args:
        variant: `mid-p` keeps its level like `exact` and sees more (Fagerland, Lydersen and Laake 2013).

    Raises:
        UnpairedRows, DataError: for different or too few rows.
        ConfigError: for metrics that are no shares.
    """
    from scipy import stats

    checks.known_alternative(alternative)
    one, other = checks.both_shares(first, second, "McNemar's test")
    gained, lost = int(((one == 0) & (other == 1)).sum()), int(((one == 1) & (other == 0)).sum())
    apart = gained + lost
    note = f"the second is right alone on {gained} rows, the first alone on {lost}"
    if apart == 0:
        return TestResult(f"McNemar ({variant})", 0.0, 1.0, len(one), alternative, note)
    z = (gained - lost) / np.sqrt(apart)
    if variant == "asymptotic":
        return TestResult("McNemar (asymptotic)", float(z**2), _normal_p(z, alternative), len(one), alternative, note)
    p = float(stats.binomtest(gained, apart, 0.5, alternative).pvalue)
    if variant == "mid-p":
        # Half of the chance of just this table, twice where both tails count (and both have it)
        half = float(stats.binom.pmf(gained, apart, 0.5)) / 2
        p -= 2 * half if alternative == "two-sided" and gained != lost else half
    return TestResult(f"McNemar ({variant})", float(min(gained, lost)), min(p, 1.0), len(one), alternative, note)


def paired_t(first: Statistic, second: Statistic, *, alternative: Alternative = "two-sided") -> TestResult:
    """Student's t on the differences of the rows, through SciPy.

    Raises:
        UnpairedRows, DataError: for different or too few rows.
        ConfigError: for a metric that is no mean of row values.
    """
    from scipy import stats

    checks.known_alternative(alternative)
    one, other = checks.both_values(first, second, "the paired t-test")
    if _no_spread(other - one):
        return _same_everywhere("paired t", other - one, alternative)
    found = stats.ttest_rel(other, one, alternative=alternative)
    return TestResult("paired t", float(found.statistic), float(found.pvalue), len(one), alternative)


def wilcoxon(first: Statistic, second: Statistic, *, alternative: Alternative = "two-sided") -> TestResult:
    """Wilcoxon's signed ranks, through SciPy: exact for few rows without ties, for grades and other ranked values.

    Raises:
        UnpairedRows, DataError: for different or too few rows.
        ConfigError: for a metric that is no mean of row values.
    """
    from scipy import stats

    checks.known_alternative(alternative)
    one, other = checks.both_values(first, second, "Wilcoxon's test")
    apart = other - one
    apart = apart[np.abs(apart) > ROUNDING]
    note = f"{len(apart)} rows differ"
    if not len(apart):
        return TestResult("Wilcoxon", 0.0, 1.0, len(one), alternative, note)
    found = stats.wilcoxon(apart, alternative=alternative)
    return TestResult("Wilcoxon", float(found.statistic), float(found.pvalue), len(one), alternative, note)


def permutation(
    first: Statistic,
    second: Statistic,
    *,
    alternative: Alternative = "two-sided",
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> TestResult:
    """Approximate randomisation (Noreen 1989, Yeh 2000): each row changes sides with probability 1/2.

    Valid for any metric made of sums, whatever its distribution; exact where all swaps can be gone through.

    Raises:
        UnpairedRows, DataError: for different or too few rows.
        ConfigError: for a metric that cannot be computed with rows swapped.
    """
    checks.known_alternative(alternative)
    checks.same_rows(first, second)
    pair = checks.swappable(first, second)
    codes = checks.by_group(first.n, groups)
    cells = Cells.of_statistics(pair, codes)
    totals = cells.totals()
    apart = narrow(cells.rows[0] - cells.rows[1])
    value = float(pair[1].of(totals[1]) - pair[0].of(totals[0]))

    def difference(swaps: np.ndarray) -> np.ndarray:
        moved = swaps @ apart
        return pair[1].of(totals[1] + moved) - pair[0].of(totals[0] - moved)

    exact = cells.n <= np.log2(num_resamples)
    if exact:
        drawn = difference(cells.every_swap())
    else:
        drawn = in_chunks(
            lambda generator, num: difference(cells.swaps(generator, num)), num_resamples, cells.width, seed
        )
    drawn = drawn[~np.isnan(drawn)]
    extreme = _as_extreme(drawn, value, alternative)
    p = extreme / len(drawn) if exact else (extreme + 1) / (len(drawn) + 1)
    note = "every swap gone through" if exact else f"{len(drawn):,} random swaps"
    return TestResult("permutation", value, float(p), cells.n, alternative, note)


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    *,
    alternative: Alternative = "two-sided",
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> TestResult:
    """How often bootstrap samples, moved so that the two are the same on average, differ as much (Koehn 2004; as in
    sacrebleu). For metrics of which rows cannot be swapped; with fewer than some hundred rows it finds a little more than
    its level allows (6 % at 5 %), which `permutation` does not.

    Raises:
        UnpairedRows, DataError: for different or too few rows.
    """
    checks.known_alternative(alternative)
    checks.same_rows(first, second)
    if isinstance(first, Whole) or isinstance(second, Whole):
        num_resamples = min(num_resamples, MOST_RESAMPLES_OF_WHOLE)
    drawn = resample([first, second], num_resamples, groups=groups, seed=seed)
    units = first.n if groups is None else len(np.unique(np.asarray(groups)))
    return _shifted("paired bootstrap", second.value - first.value, drawn[1] - drawn[0], (units,), alternative)


def welch(first: Statistic, second: Statistic, *, alternative: Alternative = "two-sided") -> TestResult:
    """Welch's t-test of two means on different rows, through SciPy.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for a metric that is no mean of row values.
    """
    from scipy import stats

    checks.known_alternative(alternative)
    one, other = checks.counted_values(first, "Welch's test"), checks.counted_values(second, "Welch's test")
    n = len(one) + len(other)
    if _no_spread(one) and _no_spread(other):
        same = abs(one[0] - other[0]) <= ROUNDING
        return TestResult("Welch t", 0.0, 1.0 if same else 0.0, n, alternative, "no row differs from the others")
    found = stats.ttest_ind(other, one, equal_var=False, alternative=alternative)
    return TestResult("Welch t", float(found.statistic), float(found.pvalue), n, alternative)


def mann_whitney(first: Statistic, second: Statistic, *, alternative: Alternative = "two-sided") -> TestResult:
    """Mann and Whitney's ranks of values on different rows, through SciPy.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for a metric that is no mean of row values.
    """
    from scipy import stats

    checks.known_alternative(alternative)
    one, other = (
        checks.counted_values(first, "Mann-Whitney's test"),
        checks.counted_values(second, "Mann-Whitney's test"),
    )
    found = stats.mannwhitneyu(other, one, alternative=alternative)
    return TestResult("Mann-Whitney", float(found.statistic), float(found.pvalue), len(one) + len(other), alternative)


def two_proportions(first: Statistic, second: Statistic, *, alternative: Alternative = "two-sided") -> TestResult:
    """Two shares on different rows: the pooled z-test of statsmodels, Fisher's exact test where counts are few.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for metrics that are no shares.
    """
    from scipy import stats
    from statsmodels.stats.proportion import proportions_ztest

    checks.known_alternative(alternative)
    one, other = (
        checks.share_values(first, "the test of two shares"),
        checks.share_values(second, "the test of two shares"),
    )
    hits, sizes = np.array([other.sum(), one.sum()]), np.array([len(other), len(one)])
    pooled = hits.sum() / sizes.sum()
    n = int(sizes.sum())
    if min(pooled, 1 - pooled) * sizes.min() < FEW_EXPECTED:
        found = stats.fisher_exact(np.stack([hits, sizes - hits], axis=1).astype(int), alternative=alternative)
        return TestResult("Fisher exact", float(found.statistic), float(found.pvalue), n, alternative)
    wanted = {"greater": "larger", "less": "smaller"}.get(alternative, alternative)
    z, p = proportions_ztest(hits, sizes, alternative=wanted)
    return TestResult("two proportions", float(z), float(p), n, alternative)


def unpaired_bootstrap(
    first: Statistic,
    second: Statistic,
    *,
    alternative: Alternative = "two-sided",
    num_resamples: int = 10_000,
    seed: int = 0,
) -> TestResult:
    """As the paired bootstrap, with samples of each side's own rows.

    Raises:
        DataError: for fewer than two rows.
    """
    checks.known_alternative(alternative)
    if isinstance(first, Whole) or isinstance(second, Whole):
        num_resamples = min(num_resamples, MOST_RESAMPLES_OF_WHOLE)
    seeds = np.random.SeedSequence(seed).generate_state(2)
    one, other = (
        resample([side], num_resamples, seed=int(s))[0] for side, s in zip((first, second), seeds, strict=True)
    )
    return _shifted("bootstrap", second.value - first.value, other - one, (first.n, second.n), alternative)


def one_sample(statistic: Statistic, target: float, *, alternative: Alternative = "two-sided") -> TestResult:
    """Whether one metric differs from a number: the binomial test for shares, Student's t for other means.

    The hypothesis tested is that it does *not*; a small p-value speaks against that.

    Raises:
        DataError: for fewer than two rows.
        ConfigError: for a metric that is no mean of row values.
    """
    from scipy import stats

    checks.known_alternative(alternative)
    values = checks.counted_values(statistic, "a test against a number")
    if checks.is_share(statistic):
        found = stats.binomtest(int(values.sum()), len(values), target, alternative)
        return TestResult("binomial", float(values.mean()), float(found.pvalue), len(values), alternative)
    if _no_spread(values - target):
        return _same_everywhere("one-sample t", values - target, alternative)
    result = stats.ttest_1samp(values, target, alternative=alternative)
    return TestResult("one-sample t", float(result.statistic), float(result.pvalue), len(values), alternative)


def choose_test(
    first: Statistic,
    second: Statistic,
    paired: bool,
    *,
    num_resamples: int = 10_000,
    groups: Groups = None,
    seed: int = 0,
) -> Callable[..., TestResult]:
    """The test that suits a metric; call it with both statistics, and `alternative` where it is not two-sided.

    Same rows: McNemar for shares, Wilcoxon for grades, paired t for other means of 30 rows or more, permutation for fewer,
    for rows in groups and for functions of sums, paired bootstrap for the rest. Different rows: two proportions,
    Mann-Whitney, Welch, bootstrap.
    """
    drawing: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed}
    shares = checks.is_share(first) and checks.is_share(second)
    means = checks.is_plain_mean(first) and checks.is_plain_mean(second)
    grades = means and _is_graded(first) and _is_graded(second)
    if not paired:
        return _first_that_holds(
            (shares, two_proportions),
            (grades, mann_whitney),
            (means, welch),
            (True, partial(unpaired_bootstrap, **drawing)),
        )
    drawing["groups"] = groups
    single = groups is None
    return _first_that_holds(
        (shares and single, mcnemar),
        (grades and single, wilcoxon),
        (means and single and first.n >= ENOUGH_FOR_T, paired_t),
        (checks.can_swap(first, second), partial(permutation, **drawing)),
        (True, partial(paired_bootstrap, **drawing)),
    )


def _first_that_holds(*cases: tuple[bool, Callable[..., TestResult]]) -> Callable[..., TestResult]:
    return next(test for holds, test in cases if holds)


def _is_graded(statistic: Statistic) -> bool:
    values = statistic.values if isinstance(statistic, Sums) else None
    found = np.unique(values[~np.isnan(values)]) if values is not None else np.zeros(0)
    return 2 < len(found) <= MOST_GRADES and bool((found == np.round(found)).all())


def _no_spread(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= ROUNDING * max(1.0, float(np.abs(values).max())))


def _same_everywhere(name: str, apart: np.ndarray, alternative: str) -> TestResult:
    """All rows differ by the same: no chance in it, unless by nothing."""
    value = float(apart.mean())
    if abs(value) <= ROUNDING:
        return TestResult(name, 0.0, 1.0, len(apart), alternative, "no row differs")
    against = (alternative == "greater" and value < 0) or (alternative == "less" and value > 0)
    return TestResult(
        name,
        float(np.copysign(np.inf, value)),
        float(against),
        len(apart),
        alternative,
        "every row differs by the same",
    )


def _normal_p(z: float, alternative: str) -> float:
    from scipy.special import ndtr

    return float({"two-sided": 2 * ndtr(-abs(z)), "greater": ndtr(-z), "less": ndtr(z)}[alternative])


def _as_extreme(drawn: np.ndarray, value: float, alternative: str) -> int:
    """Draws at least as far out as the value; equal up to rounding counts."""
    slack = ROUNDING * max(1.0, abs(value))
    if alternative == "greater":
        return int((drawn >= value - slack).sum())
    if alternative == "less":
        return int((drawn <= value + slack).sum())
    return int((np.abs(drawn) >= abs(value) - slack).sum())


def _shifted(name: str, value: float, drawn: np.ndarray, units: tuple[int, ...], alternative: str) -> TestResult:
    """Samples moved to 0, and apart as far as Student's t scatters more than they do: they are too close for few rows."""
    drawn = drawn[~np.isnan(drawn)]
    checks.enough(len(drawn), what="bootstrap samples on which the metric is defined")
    fewest = min(units)
    apart = (drawn - drawn.mean()) * np.sqrt(fewest / max(fewest - 3, 1))
    p = (_as_extreme(apart, value, alternative) + 1) / (len(drawn) + 1)
    return TestResult(name, value, float(p), sum(units), alternative, f"{len(drawn):,} samples")
