"""Partition metrics against scikit-image and the formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import adapted_rand_error, variation_of_information

from unmask.metrics import arand, cremi, overlap, rand, voi, voi_merge, voi_split

EMPTY = np.zeros((4, 5), np.uint8)


@st.composite
def label_pairs(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=8))
    return tuple(draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 4))) for _ in range(2))


@given(label_pairs())
@settings(max_examples=100)
def test_variation_of_information_is_that_of_scikit_image(pair):
    split, merge = variation_of_information(*pair)
    assert voi_split(*pair, background=True) == pytest.approx(split, abs=1e-9)
    assert voi_merge(*pair, background=True) == pytest.approx(merge, abs=1e-9)
    if pair[0].any():
        split, merge = variation_of_information(*pair, ignore_labels=(0,))
        assert voi_split(*pair) == pytest.approx(split, abs=1e-9)
        assert voi(*pair) == pytest.approx(split + merge, abs=1e-9)


@given(label_pairs())
@settings(max_examples=100)
def test_rand_error_is_that_of_scikit_image(pair):
    if not pair[0].any():
        return
    found = rand(*pair)
    with np.errstate(all="ignore"):
        error, first, second = adapted_rand_error(*pair)
    if not np.isnan(error):  # scikit-image has no error where no pair of voxels agrees
        assert [found.error, found.recall, found.precision] == pytest.approx(
            [error, first, second], abs=1e-9, nan_ok=True
        )


def test_large_segments_do_not_overflow():
    table = overlap(np.ones((10, 10), int), np.ones((10, 10), int))
    large = type(table)(**{**vars_of(table), "count": table.count * 10**10})
    assert arand(large) == 0


def vars_of(table):
    return {name: getattr(table, name) for name in table.__dataclass_fields__}


def test_cremi_convention_leaves_prediction_zero_unassigned():
    truth = np.array([1] * 6 + [2] * 4 + [0] * 10)
    predicted = np.array([0] * 3 + [5] * 3 + [6] * 4 + [0] * 10)
    # S: 3^2 + 4^2 + 3/20, A: 6^2 + 4^2, B: 3^2 + 4^2 + 3/20
    s, a = 25 + 3 / 20, 52
    found = rand(truth, predicted, convention="cremi")
    assert found.error == pytest.approx(1 - 2 * s / (a + s))
    assert (found.precision, found.recall) == (pytest.approx(1), pytest.approx(s / a))
    # Ordered pairs of different voxels: S 9 + 9 + 16 - 10, A 52 - 10, B 9 + 9 + 16 - 10
    assert arand(truth, predicted) == pytest.approx(1 - 2 * 24 / (42 + 24))
    product = voi(truth, predicted) * arand(truth, predicted)
    assert cremi(truth, predicted) == pytest.approx(np.sqrt(product))
    assert cremi(truth, predicted, convention="cremi") == pytest.approx(
        np.sqrt(voi(truth, predicted) * found.error)
    )


@pytest.mark.parametrize("metric", [voi, voi_split, voi_merge, arand, cremi])
def test_edge_cases(metric):
    truth = EMPTY + np.arange(5, dtype=np.uint8)
    assert metric(truth, truth * 2) == 0
    assert np.isnan(metric(EMPTY, EMPTY))
    assert np.isnan(metric(EMPTY, truth))
    # One segment covers the one object: perfect by definition
    assert metric((truth > 0).astype(int), EMPTY) == 0
    assert metric(truth, EMPTY) >= 0


def test_empty_prediction_merges_everything():
    truth = EMPTY + np.arange(5, dtype=np.uint8)
    assert voi_merge(truth, EMPTY) == pytest.approx(2)
    assert voi_split(truth, EMPTY) == 0


def test_objects_of_one_voxel_have_no_pairs():
    assert np.isnan(arand(np.array([[1, 2]]), np.array([[3, 4]])))
