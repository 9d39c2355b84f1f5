"""Boxes, sizes and centroids against scipy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from unmask.labels.objects import find_objects


@given(
    arrays(np.int32, array_shapes(min_dims=1, max_dims=4, max_side=7), elements=st.integers(0, 5))
)
def test_as_scipy(labels):
    objects = find_objects(labels)
    ids = np.unique(labels[labels > 0])
    np.testing.assert_array_equal(objects.ids, ids)
    slices = ndimage.find_objects(labels)
    for k, value in enumerate(ids):
        box = slices[value - 1]
        np.testing.assert_array_equal(objects.start[k], [s.start for s in box])
        np.testing.assert_array_equal(objects.stop[k], [s.stop for s in box])
        where = np.argwhere(labels == value)
        assert objects.size[k] == len(where)
        np.testing.assert_allclose(objects.mean[k], where.mean(0))


def test_no_objects():
    assert len(find_objects(np.zeros((3, 3), np.int32))) == 0
    assert len(find_objects(np.zeros((3, 0), np.int32))) == 0


def test_some_of_them():
    objects = find_objects(np.array([[1, 2, 2, 5]], np.int32))
    np.testing.assert_array_equal(objects.select(objects.size > 1).ids, [2])
