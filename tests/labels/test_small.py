"""Removal by size."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unmask.labels import remove_small


@given(arrays(np.uint16, (6, 7), elements=st.integers(0, 9)), st.integers(0, 8), st.integers(3, 12))
def test_an_object_stays_whole_or_goes_whole(labels, least, most):
    kept = remove_small(labels, least, max_size=most)
    for value in np.unique(labels[labels > 0]):
        size = (labels == value).sum()
        expected = size if least <= size <= most else 0
        assert (kept == value).sum() == expected
    assert (kept[labels == 0] == 0).all()


def test_ids_and_input_are_unchanged():
    labels = np.array([[7, 7, 0, 2]], np.uint8)
    np.testing.assert_array_equal(remove_small(labels, 2), [[7, 7, 0, 0]])
    np.testing.assert_array_equal(labels, [[7, 7, 0, 2]])


def test_any_size_without_limits():
    labels = np.ones((4, 4), np.int64)
    np.testing.assert_array_equal(remove_small(labels, 0), labels)
