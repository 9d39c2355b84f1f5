"""Holes of objects, against scipy one object at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from unmask.labels import fill_holes


@given(arrays(bool, array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=8)))
def test_one_object_as_scipy(image):
    expected = ndimage.binary_fill_holes(image)
    np.testing.assert_array_equal(fill_holes(image) > 0, expected)


@given(arrays(np.uint16, (9, 9), elements=st.integers(0, 3)))
def test_objects_keep_their_voxels_and_only_enclosed_background_is_filled(labels):
    filled = fill_holes(labels)
    np.testing.assert_array_equal(filled[labels > 0], labels[labels > 0])
    for value in np.unique(filled[(labels == 0) & (filled > 0)]):
        gained = (filled == value) & (labels == 0)
        holes = np.asarray(ndimage.binary_fill_holes(labels == value))
        assert holes[gained].all()


def test_an_object_inside_a_hole_stays():
    labels = np.zeros((7, 7), np.int32)
    labels[1:6, 1:6] = 3
    labels[2:5, 2:5] = 0
    labels[3, 3] = 1
    filled = fill_holes(labels)
    assert filled[3, 3] == 1
    assert (filled == 3).sum() == 24


def test_a_cavity_of_a_volume_is_filled_but_a_tunnel_is_not():
    ball = np.zeros((5, 5, 5), np.int32)
    ball[1:4, 1:4, 1:4] = 1
    ball[2, 2, 2] = 0
    assert (fill_holes(ball) > 0).sum() == 27
    ball[:, 2, 2] = 0
    assert (fill_holes(ball) > 0).sum() == 24


def test_wide_ids():
    ring = np.full((3, 3), 2**40)
    ring[1, 1] = 0
    np.testing.assert_array_equal(fill_holes(ring), np.ones((3, 3)))
