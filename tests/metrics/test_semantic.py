"""Class metrics against arithmetic voxel by voxel."""

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.metrics import accuracy, auc, balanced_accuracy, dice, iou, overlap

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(30, 31), (6, 10, 11)])
def test_classes_of_truth_or_prediction_without_background(shape):
    truth = RNG.integers(0, 4, shape)
    predicted = np.where(RNG.random(shape) < 0.7, truth, RNG.integers(0, 6, shape))
    truth[truth == 2] = 3
    both = [((truth == c) & (predicted == c)).sum() for c in range(6)]
    size = [(truth == c).sum() + (predicted == c).sum() for c in range(6)]
    dices = [2 * b / s for b, s in zip(both, size, strict=True)]
    ious = [b / (s - b) for b, s in zip(both, size, strict=True)]
    assert dice(truth, predicted) == pytest.approx(np.mean(dices[1:]))
    assert iou(truth, predicted) == pytest.approx(np.mean(ious[1:]))
    assert dice(truth, predicted, label=3) == pytest.approx(dices[3])
    assert dice(truth, predicted, label=0) != dice(truth, predicted)
    assert iou(truth, predicted, label=2) == 0
    assert np.isnan(dice(truth, predicted, label=77))
    assert accuracy(truth, predicted) == pytest.approx((truth == predicted).mean())
    assert accuracy(truth, predicted, label=3) == pytest.approx((predicted[truth == 3] == 3).mean())
    assert np.isnan(accuracy(truth, predicted, label=2))


def test_ignored_voxels_count_nowhere():
    truth = np.array([[1, 1, 255, 0]], np.uint8)
    predicted = np.array([[1, 0, 2, 0]], np.uint8)
    table = overlap(truth, predicted, ignore=255)
    assert dice(table) == pytest.approx(2 / 3)
    assert accuracy(table) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", [dice, iou])
def test_empty_images(metric):
    empty, one = np.zeros((3, 3), int), np.eye(3, dtype=int)
    assert np.isnan(metric(empty, empty))
    assert metric(empty, empty, empty="reference") == 0
    assert metric(one, empty) == metric(empty, one) == 0
    assert metric(one, one) == 1
    assert np.isnan(metric(empty, empty, label=1))


def test_accuracy_without_voxels():
    assert np.isnan(accuracy(np.zeros((0, 2), int), np.zeros((0, 2), int)))


@pytest.mark.parametrize("shape", [(300,), (6, 10, 11)])
def test_balanced_accuracy_is_the_mean_of_the_recalls(shape):
    truth = RNG.choice(4, shape, p=[0.7, 0.2, 0.05, 0.05])
    predicted = np.where(RNG.random(shape) < 0.6, truth, RNG.integers(0, 6, shape))
    recalls = [(predicted[truth == c] == c).mean() for c in range(4)]
    assert balanced_accuracy(truth, predicted) == pytest.approx(np.mean(recalls))
    assert balanced_accuracy(truth, np.zeros(shape, int)) == pytest.approx(0.25)
    assert np.isnan(balanced_accuracy(np.zeros(0, int), np.zeros(0, int)))


def slow_auc(positive, scores):
    above = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    return np.mean(above)


def test_area_under_curve_with_ties():
    truth = RNG.integers(0, 2, 60)
    scores = np.round(RNG.random(60) + 0.3 * truth, 1)
    assert auc(truth, scores) == pytest.approx(slow_auc(truth == 1, scores))
    assert auc(truth, 1 - scores) == pytest.approx(1 - auc(truth, scores))
    assert auc(truth, truth) == 1
    assert np.isnan(auc(np.ones(4), np.arange(4)))


def test_area_of_several_classes_is_the_mean_of_each_against_the_rest():
    truth = RNG.integers(0, 3, (5, 6))
    scores = RNG.random((4, 5, 6))
    areas = [slow_auc((truth == c).ravel(), scores[c].ravel()) for c in range(3)]
    assert auc(truth, scores) == pytest.approx(np.mean(areas))  # class 3 is not there
    assert auc(truth, scores, label=1) == pytest.approx(areas[1])
    assert np.isnan(auc(truth, scores, label=3))


def test_scores_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"scores: expected shape \(5, 6\)"):
        auc(np.zeros((5, 6), int), np.zeros((5, 6, 3)))
