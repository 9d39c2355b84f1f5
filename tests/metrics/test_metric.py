"""Metrics by name: every one runs in 2D and 3D, names with numbers and classes, mistakes."""

import numpy as np
import pytest

from unmask.errors import DataError, RecipeError
from unmask.metrics import (
    INSTANCE,
    METRICS,
    SEMANTIC,
    ap,
    auc,
    default_metrics,
    dice,
    evaluate_pair,
    evaluate_pairs,
    f1,
    hd95,
    nsd,
)


def scene(shape):
    truth = np.zeros(shape, np.uint16)
    inner = (slice(2, -2),) * (len(shape) - 2)
    truth[*inner, 3:6, 3:6], truth[*inner, 3:7, 8:11] = 1, 2
    predicted = truth.copy()
    predicted[..., 3:6, 3] = 0
    return truth, predicted


@pytest.mark.parametrize("shape", [(12, 14), (5, 12, 14)])
@pytest.mark.parametrize("name", METRICS)
def test_every_metric_prefers_the_truth(name, shape):
    truth, predicted = scene(shape)
    best = evaluate_pair(truth, truth, [name])[name]
    worse = evaluate_pair(truth, predicted, [name])[name]
    assert isinstance(worse, float)
    metric = METRICS[name]
    if metric.higher_is_better is None:
        assert best == 0
    elif metric.higher_is_better:
        assert best == pytest.approx(1)
        assert worse <= best
    else:
        assert best == 0
        assert worse >= best


def test_names_carry_numbers_and_classes():
    truth, predicted = scene((12, 14))
    names = ["f1", "f1@0.5", "f1@0.9", "ap", "ap@0.75", "dice/1", "dice/2", "hd95/1", "nsd@2/1"]
    found = evaluate_pair(truth, predicted, names, spacing=(2, 3))
    assert list(found) == names
    assert found["f1"] == found["f1@0.5"] == 1
    assert found["f1@0.9"] == f1(truth, predicted, threshold=0.9) == 0.5
    assert found["ap@0.75"] == ap(truth, predicted, threshold=0.75)
    assert found["ap"] == ap(truth, predicted)
    assert (found["dice/1"], found["dice/2"]) == (dice(truth, predicted, label=1), 1)
    assert found["hd95/1"] == hd95(truth, predicted, spacing=(2, 3), label=1)
    assert found["nsd@2/1"] == nsd(truth, predicted, spacing=(2, 3), tolerance=2, label=1)


@pytest.mark.parametrize("name", [*INSTANCE, *SEMANTIC])
def test_default_sets_are_metrics(name):
    truth, predicted = scene((12, 14))
    assert np.isfinite(evaluate_pair(truth, predicted, [name])[name])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dicee", "Did you mean 'dice'"),
        ("f1@", "expected one of"),
        ("f1@0.5.5", "expected a number after @"),
        ("pq@0.5", "no number after @"),
        ("f1/3", "no class after /"),
        ("nowhere.py:Metric", "there is no file"),
    ],
)
def test_wrong_names(name, words):
    with pytest.raises(RecipeError, match=words):
        evaluate_pair([[1]], [[1]], [name])


def test_a_metric_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from unmask.metrics import Metric\n"
        "def count(truth, predicted, overlap, spacing):\n"
        "    return float(len(overlap.objects.truth_ids))\n"
        "size = Metric(lambda t, p, o, s: float(t.size), table=False)\n"
    )
    truth, predicted = scene((12, 14))
    names = [f"{file}:count", f"{file}:size"]
    assert list(evaluate_pair(truth, predicted, names).values()) == [2, truth.size]


def test_ignored_voxels_count_for_no_metric():
    truth, predicted = scene((12, 14))
    unsure = truth != predicted
    marked = np.where(unsure, 65535, truth)
    names = [name for name in METRICS if name not in ("auc", "dic", "abs_dic")]
    found = evaluate_pair(marked, predicted, names, ignore=65535)
    for name, value in found.items():
        assert value == (1 if METRICS[name].higher_is_better else 0), name


def test_scores_have_an_area():
    truth, _ = scene((12, 14))
    scores = np.random.default_rng(0).random((3, 12, 14))
    assert evaluate_pair(truth, scores, ["auc"])["auc"] == auc(truth, scores)
    left_out = np.where(truth == 1, 9, truth)
    assert evaluate_pair(left_out, scores, ["auc/2"], ignore=9)["auc/2"] == auc(
        truth[truth != 1], scores[:, truth != 1], label=2
    )
    with pytest.raises(DataError, match="scores"):
        evaluate_pair(truth, scores[0], ["auc", "dice"])


def test_means_over_images():
    truth, predicted = scene((12, 14))
    empty = np.zeros_like(truth)
    pairs = [(truth, predicted), (empty, predicted)]
    found = evaluate_pairs(pairs, ["f1@0.5", "voi"])
    assert found["f1@0.5"] == 0.5
    assert found["voi"] == evaluate_pair(truth, predicted, ["voi"])["voi"]
    assert np.isnan(evaluate_pairs([], ["voi"])["voi"])


def test_default_metrics_by_the_look_of_the_labels():
    objects = np.kron(np.arange(9).reshape(3, 3), np.ones((4, 4), int))
    assert default_metrics(objects) == INSTANCE
    assert default_metrics(np.kron(np.eye(5, dtype=int), np.ones((2, 2), int))) == SEMANTIC
    scattered = np.zeros((40, 40), int)
    scattered[::4, ::4] = np.arange(100).reshape(10, 10) % 5
    assert default_metrics(scattered) == SEMANTIC
