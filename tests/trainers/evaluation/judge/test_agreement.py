"""Claims about agreement: it equals the libraries' and the textbook's, and says where it means little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import cohen_kappa_score

from cluster.config import JudgeConfig
from cluster.exceptions import DataError
from trainers.evaluation import Prediction
from trainers.evaluation.judge import metrics, report
from trainers.evaluation.judge.agreement import agreement, krippendorff_alpha, quadratic_kappa
from trainers.evaluation.rows import Rows

NAN = float("nan")
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T
"""Section C of Krippendorff (2011): 12 rows, 4 raters, some left out."""


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_that_of_krippendorffs_own_example(scale, alpha):
    assert krippendorff_alpha(EXAMPLE, scale) == pytest.approx(alpha, abs=0.0005)


def test_alpha_is_one_for_agreement_and_not_defined_without_any_difference():
    assert krippendorff_alpha(np.array([[1.0, 1.0], [2.0, 2.0]])) == 1.0
    assert krippendorff_alpha(np.array([[1.0, 1.0], [1.0, NAN]])) is None
    assert krippendorff_alpha(np.array([[1.0, NAN], [2.0, NAN]])) is None


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.int64, (30, 2), elements=st.integers(1, 5)))
def test_weighted_kappa_from_sums_is_that_of_scikit_learn(pairs):
    first, second = pairs.T
    expected = cohen_kappa_score(first, second, labels=range(1, 6), weights="quadratic")
    assert quadratic_kappa(first, second).value == pytest.approx(expected, nan_ok=True)


def test_agreement_gives_each_figure_with_its_interval():
    rng = np.random.default_rng(0)
    people = rng.integers(1, 6, 200).astype(float)
    judge = np.clip(people + rng.integers(-1, 2, 200), 1, 5)
    found = agreement(judge, people)
    assert found.raw == pytest.approx((judge == people).mean())
    assert found.raw_interval[0] < found.raw < found.raw_interval[1]
    assert found.weighted_kappa_interval[0] < found.weighted_kappa < found.weighted_kappa_interval[1]
    assert found.weighted_kappa > found.kappa > 0
    assert found.spearman > 0.8
    assert agreement(judge, people * 20, same_scale=False).kappa is None


def test_agreement_of_what_never_changes_is_not_made_up():
    found = agreement([3, 3, 3], [3, 3, 3]).summary()
    assert found["raw"] == 1.0
    assert not {"kappa", "weighted_kappa", "spearman"} & set(found)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [([1, 2], [1, 2, 3], "found 2 judgements on one side and 3 on the other"), ([1, NAN], [NAN, 2], "only 0 rows")],
)
def test_judgements_that_cannot_be_compared_are_refused(first, second, words):
    with pytest.raises(DataError, match=words):
        agreement(first, second)


def judged(number: int, output: str = "a", **notes) -> Prediction:
    return Prediction(f"rows:{number}", None, output, notes=notes)


def test_the_report_tells_of_position_length_and_what_is_missing():
    asked = {"judge_asked": 2, "judge_nonsense": 0, "judge_missing": 0}
    rows = [
        judged(at, **asked, judge_win=win, judge_swap=swap, judge_longer=longer)
        for at, (win, swap, longer) in enumerate(
            [(1.0, "same", 1)] * 9 + [(0.0, "same", -1)] * 3 + [(0.5, "first", 1)] * 4
        )
    ]
    rows.append(judged(99, judge_asked=2, judge_nonsense=4, judge_missing=2, judge_problem="nonsense: 4"))
    found = report(Rows(rows))
    assert found["asked"]["requests"] == 34 and found["asked"]["missing"] == 2
    assert found["asked"]["problems"] == ["nonsense: 4"]
    assert found["position"]["share"] == 0.25 and found["position"]["turned_to_first"] == 4
    assert "4 verdicts turned when the answers changed places (25.0%" in found["position"]["sentence"]
    assert found["length"]["longer_won"] == 1.0
    assert "12 of 12 decided pairs" in found["length"]["pairs_sentence"]
    assert metrics.judge_win_rate(Rows(rows)).value == pytest.approx((9 + 0.5 * 4) / 16)


def test_the_report_compares_judge_and_people_on_the_rubrics_scale():
    config = JudgeConfig.model_validate(
        {
            "engine": {"kind": "vllm", "model": "x"},
            "rubric": {"criteria": [{"name": "help", "description": "?"}], "highest": 3},
        }
    )
    rng = np.random.default_rng(1)
    rows = []
    for at, score in enumerate(rng.integers(1, 4, 40).tolist()):
        ratings = {"ann": float(score), "bob": float(min(score + at % 2, 3))}
        notes = {"judge": float(score), "human_median": min(ratings.values()), "human_ratings": ratings}
        rows.append(judged(at, "word " * score, human_rating=sum(ratings.values()) / 2, **notes))
    found = report(Rows(rows), config)
    assert found["agreement"]["judge"]["raw"] == 1.0 and found["agreement"]["judge"]["kappa"] == 1.0
    assert found["people"]["raters"] == 2
    assert found["people"]["low"] < found["people"]["mean"] < found["people"]["high"]
    assert 0 < found["people"]["krippendorff_alpha"] < 1
    assert "Longer answers have better scores" in found["length"]["sentence"]


def test_rows_that_nobody_judged_have_neither_report_nor_metrics():
    rows = Rows([judged(1), judged(2)])
    assert report(rows) == {}
    assert metrics.judge(rows) is None
    assert metrics.judge_win_rate(rows) is None and metrics.human_rating(rows) is None
