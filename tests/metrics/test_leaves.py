"""Best Dice and counts against arithmetic by hand."""

import numpy as np
import pytest

from unmask.metrics import abs_dic, best_dice, dic, fgbg_dice, overlap, sbd, sbd_max

EMPTY = np.zeros((4, 5), np.uint8)
ONE = EMPTY + 3 * (np.arange(5) < 2).astype(np.uint8)


def slow(of, against):
    def pair_dice(a, b):
        return 2 * ((of == a) & (against == b)).sum() / ((of == a).sum() + (against == b).sum())

    others = np.unique(against[against > 0])
    return np.mean([max(pair_dice(a, b) for b in others) for a in np.unique(of[of > 0])])


@pytest.mark.parametrize("shape", [(40, 50), (9, 20, 21)])
def test_best_dice_of_both_directions(shape):
    rng = np.random.default_rng(0)
    coarse = tuple(-(-n // 5) for n in shape)
    truth = np.kron(rng.integers(0, 9, coarse), np.ones((5,) * len(shape), int))
    truth = truth[tuple(slice(n) for n in shape)] * 7
    predicted = np.roll(truth, 2, axis=-1) * (rng.random(shape) < 0.9)
    forward, backward = slow(truth, predicted), slow(predicted, truth)
    assert best_dice(truth, predicted) == pytest.approx(forward)
    assert best_dice(predicted, truth) == pytest.approx(backward)
    assert sbd(truth, predicted) == pytest.approx(min(forward, backward))
    assert sbd_max(overlap(truth, predicted)) == pytest.approx(max(forward, backward))
    foreground = (
        2 * ((truth > 0) & (predicted > 0)).sum() / ((truth > 0).sum() + (predicted > 0).sum())
    )
    assert fgbg_dice(truth, predicted) == pytest.approx(foreground)


def test_difference_in_count_ignores_gaps():
    truth = np.array([[1, 9, 0, 200]])
    assert dic(truth, [[4, 4, 0, 0]]) == -2
    assert dic([[4, 4, 0, 0]], truth) == 2
    assert abs_dic(truth, [[4, 4, 0, 0]]) == 2


@pytest.mark.parametrize("metric", [sbd, sbd_max, best_dice, fgbg_dice])
def test_empty_images(metric):
    assert np.isnan(metric(EMPTY, EMPTY))
    assert metric(EMPTY, EMPTY, empty="reference") == 0
    assert metric(ONE, EMPTY) == metric(EMPTY, ONE) == 0
    assert metric(ONE, ONE) == 1


def test_counts_of_empty_images():
    assert dic(EMPTY, EMPTY) == 0
    assert dic(ONE, EMPTY) == -1
    assert dic(EMPTY, ONE) == 1
