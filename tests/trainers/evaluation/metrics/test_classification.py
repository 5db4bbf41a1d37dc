"""Claims about scores of labels: they are scikit-learn's, and they resample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from cluster.exceptions import ConfigError, DataError
from tests.trainers.evaluation.metrics.made import labelled, reason, resamples_as_recomputed, rows, value, values
from trainers.evaluation.metrics.classification import class_report, confusion_matrix, counted, f1_of, macro
from trainers.evaluation.result import Prediction
from trainers.evaluation.rows import Rows

LABELS = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcdef")), min_size=1, max_size=40)
FROM_COUNTS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "mcc", "cohen_kappa", "macro_f1")


@given(LABELS)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_scores_of_labels_are_those_of_scikit_learn(pairs):
    want, got = map(list, zip(*pairs, strict=True))
    found = rows(*pairs)
    assert value(found, "accuracy") == pytest.approx(reference.accuracy_score(want, got))
    assert value(found, "balanced_accuracy") == pytest.approx(reference.balanced_accuracy_score(want, got))
    assert value(found, "mcc") == pytest.approx(reference.matthews_corrcoef(want, got))
    if len({*want, *got}) > 1:
        assert value(found, "cohen_kappa") == pytest.approx(reference.cohen_kappa_score(want, got))
    for name in ("precision", "recall", "f1"):
        for average, one in values(found, name).items():
            theirs = getattr(reference, f"{name}_score")(want, got, average=average.split(".")[1], zero_division=0)
            assert one == pytest.approx(theirs), average


@given(LABELS)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_each_class_is_scored_as_scikit_learn_scores_it(pairs):
    want, got = map(list, zip(*pairs, strict=True))
    names = sorted({*want, *got})
    theirs = reference.precision_recall_fscore_support(want, got, labels=names, zero_division=0)
    found, report = values(rows(*pairs), "per_class"), class_report(rows(*pairs))
    for at, name in enumerate(names):
        for kind, column in zip(("precision", "recall", "f1", "n"), theirs, strict=True):
            assert report[name][kind] == pytest.approx(column[at])
            assert kind == "n" or found[f"class.{name}.{kind}"] == pytest.approx(column[at])
    assert (confusion_matrix(rows(*pairs)) == reference.confusion_matrix(want, got, labels=names)).all()


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_kappa_of_a_scale_is_that_of_scikit_learn(weights):
    rng = np.random.default_rng(1)
    for _ in range(20):
        want, got = rng.integers(1, 12, (2, 60))
        given = rows(*zip(map(str, want), map(str, got), strict=True))
        labels = sorted({*want, *got})
        theirs = reference.cohen_kappa_score(want, got, weights=weights, labels=labels)
        assert value(given, "cohen_kappa", weights=weights) == pytest.approx(theirs)


def test_a_scale_of_words_needs_its_order():
    given = rows(("low", "low"), ("high", "low"), ("high", "high"))
    with pytest.raises(ConfigError, match="from low to high"):
        value(given, "cohen_kappa", weights="linear")
    with pytest.raises(ConfigError, match="lacks the label 'high'"):
        value(given, "cohen_kappa", weights="linear", order=["low", "middle"])
    assert value(given, "cohen_kappa", weights="linear", order=["low", "high"]) == pytest.approx(0.4)


@pytest.mark.parametrize("name", [*FROM_COUNTS, "per_class", "top_k", "roc_auc", "auc_pr"])
def test_scores_over_rows_drawn_again_are_those_over_these_rows(name):
    for seed in range(5):
        resamples_as_recomputed(labelled(np.random.default_rng(seed), 60, 4), name, seed)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_areas_and_top_k_are_those_of_scikit_learn(classes, average):
    for seed in range(5):
        given = labelled(np.random.default_rng(seed), 80, classes)
        shares = np.exp(given.logits) / np.exp(given.logits).sum(1, keepdims=True)
        ids = given.label_ids
        scores = shares[:, 1] if classes == 2 else shares
        auc = reference.roc_auc_score(ids, scores, average=average, multi_class="ovr")
        assert value(given, "roc_auc", average=average) == pytest.approx(auc)
        truth = ids if classes == 2 else np.eye(classes)[ids]
        precise = reference.average_precision_score(truth, scores, average=average)
        assert value(given, "auc_pr", average=average) == pytest.approx(precise)
        if classes > 2:
            top = reference.top_k_accuracy_score(ids, shares, k=2, labels=range(classes))
            assert value(given, "top_k", k=2) == pytest.approx(top)


def test_scores_that_tie_are_worth_half():
    tied = Rows([Prediction("", name, "a", logits=[0.0, 0.0]) for name in "abab"], ("a", "b"))
    assert value(tied, "roc_auc") == value(tied, "auc_pr") == 0.5
    assert value(tied, "top_k", k=1) == 0.5, "the first class is taken, as argmax takes it"


def test_an_area_over_one_class_is_left_out_with_the_reason():
    given = labelled(np.random.default_rng(0), 30, 2)
    only = given.take(np.flatnonzero(given.label_ids == 0))
    assert reason(only, "roc_auc") == "rows of at least two labels are needed; found only 'label 0'"
    assert "logits" in reason(rows(("a", "a")), "auc_pr")


def test_a_label_that_the_model_does_not_know_is_named_with_its_place():
    given = Rows([Prediction("f.jsonl:7", "c", "a", logits=[1.0, 0.0])], ("a", "b"))
    with pytest.raises(DataError, match=r"f\.jsonl:7: metric roc_auc: found the label 'c'.* expected one of 'a', 'b'"):
        value(given, "roc_auc")
    assert value(given, "top_k", k=2) == 0.0


def test_one_label_can_be_asked_for():
    given = rows(("spam", "spam"), ("ham", "spam"), ("ham", "ham"))
    assert value(given, "precision", positive="spam") == 0.5
    assert value(given, "recall", positive="spam") == 1.0
    assert "no row has the label 'eggs'" in reason(given, "f1", positive="eggs")
    with pytest.raises(ConfigError, match="micro, macro, weighted"):
        values(given, "f1", averages=["binary"])


def test_confusions_are_ranked_by_rows():
    given = rows(("a", "b"), ("a", "b"), ("a", "a"), ("b", "c"), ("c", "c"))
    assert values(given, "confusion") == {"confusion.a -> b": pytest.approx(2 / 3), "confusion.b -> c": 1.0}
    assert list(values(given, "confusion", most=1)) == ["confusion.a -> b"]


def test_no_rows_have_no_metrics():
    assert reason(rows(), "accuracy") == "there are no rows"
    assert values(rows((None, "a"), ("a", None)), "f1") == {}


def test_100_000_rows_of_77_classes_take_little_memory():
    rng = np.random.default_rng(0)
    names = [f"label {at}" for at in range(77)]
    want, got = rng.integers(0, 77, (2, 100_000))
    given = rows(*((names[one], names[other]) for one, other in zip(want, got, strict=True)))
    found = counted(given, lambda counts: macro(f1_of, counts))
    assert found.value == pytest.approx(reference.f1_score(want, got, average="macro"))
    assert found.kinds.nbytes + found.codes.nbytes < 20 << 20
    assert found.take(np.arange(0, 100_000, 2)).n == 50_000
