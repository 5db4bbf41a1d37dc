"""Claims about strange rows: scores equal SciPy and PyTorch, and tell rows from elsewhere apart as scikit-learn says."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import norm
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from cluster.exceptions import DataError
from tests.trainers.evaluation.confidence.simulated import drawn
from trainers.evaluation.confidence.ood import Mahalanobis, auroc, detection, energy, max_softmax


def features(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around three places, stretched along one direction."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n)
    places = np.array([[0, 0, 0, 0], [8, 0, 0, 0], [0, 8, 0, 0]], float)
    return places[classes] + rng.normal(size=(n, 4)) * [1, 1, 1, 5], classes


def test_distances_are_those_of_scipy_from_the_nearest_class():
    points, classes = features(300)
    fitted = Mahalanobis.fit(points, classes)
    centred = points - fitted.means[classes]
    precision = LedoitWolf(assume_centered=True).fit(centred).precision_
    asked, _ = features(40, seed=1)
    expected = [min(mahalanobis(one, mean, precision) ** 2 for mean in fitted.means) for one in asked]
    np.testing.assert_allclose(fitted(asked), expected)


def test_energy_and_softmax_are_those_of_pytorch():
    logits, _ = drawn(50, seed=1)
    given = torch.tensor(logits * 4)
    np.testing.assert_allclose(energy(logits * 4), -torch.logsumexp(given, -1))
    np.testing.assert_allclose(energy(logits * 4, 2.0), -2 * torch.logsumexp(given / 2, -1))
    np.testing.assert_allclose(max_softmax(logits * 4), 1 - given.softmax(-1).max(-1).values)


@pytest.mark.parametrize("score", ["mahalanobis", "energy"])
def test_auroc_of_scores_is_scikit_learns(score):
    points, classes = features(400)
    rng = np.random.default_rng(2)
    elsewhere = rng.normal(size=(100, 4)) * 3 + 4
    if score == "mahalanobis":
        inside, outside = (Mahalanobis.fit(points, classes)(one) for one in (points, elsewhere))
    else:
        inside, outside = energy(points), energy(elsewhere)
    found = detection(inside, outside)
    is_outside = np.repeat([0, 1], [len(inside), len(outside)])
    assert found["auroc"] == pytest.approx(roc_auc_score(is_outside, np.concatenate([inside, outside])))
    assert found["interval"][0] <= found["auroc"] <= found["interval"][1]


def test_a_stretch_that_rows_usually_have_is_not_strange():
    points, classes = features(2_000)
    fitted = Mahalanobis.fit(points, classes)
    along, across = fitted(np.array([[0, 0, 0, 8.0], [0, 0, 8.0, 0]]))
    assert across > 10 * along


def test_false_alarms_are_counted_where_most_strange_rows_are_caught():
    inside, outside = np.arange(100.0), np.arange(90.0, 190.0)
    found = detection(inside, outside)
    assert found["threshold"] == pytest.approx(94.95)
    assert found["false_alarms"] == pytest.approx(0.05)


def test_the_interval_of_auroc_holds_the_true_value_as_often_as_it_says():
    rng, true = np.random.default_rng(3), norm.cdf(1.5 / np.sqrt(2))
    held = 0
    for _ in range(1_000):
        _, low, high = auroc(rng.normal(size=60), rng.normal(size=40) + 1.5)
        held += low <= true <= high
    assert 930 <= held <= 970


def test_a_perfect_order_of_few_rows_is_not_taken_for_certain():
    value, low, high = auroc(np.arange(10.0), np.arange(10.0, 15.0))
    assert (value, high) == (1.0, 1.0)
    assert low < 0.7


def test_one_row_is_too_few():
    with pytest.raises(DataError, match="1 rows are too few"):
        Mahalanobis.fit(np.zeros((1, 3)), np.zeros(1))
