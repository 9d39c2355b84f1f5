"""Consecutive ids of any integer type."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unmask.errors import DataError
from unmask.labels import relabel
from unmask.labels.relabeling import compact


@given(arrays(np.int64, (4, 5), elements=st.sampled_from([0, 1, 7, 65536, 2**31, 2**62])))
def test_ids_become_consecutive_in_their_order(labels):
    ids = np.unique(labels[labels > 0])
    expected = np.searchsorted(ids, labels) + 1
    expected[labels == 0] = 0
    found = relabel(labels)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


def test_unsigned_ids_beyond_the_signed_range():
    labels = np.array([0, 2**64 - 1, 2**63, 2**64 - 1], np.uint64)
    np.testing.assert_array_equal(relabel(labels), [0, 2, 1, 2])


def test_neighboring_ids_above_float_precision_stay_apart():
    labels = np.array([2**53, 2**53 + 1, 2**53 + 2], np.int64)
    np.testing.assert_array_equal(relabel(labels), [1, 2, 3])


def test_the_input_is_not_changed():
    labels = np.array([[0, 9]], np.int32)
    found = relabel(labels)
    found[:] = 5
    np.testing.assert_array_equal(labels, [[0, 9]])


def test_booleans_are_one_object():
    np.testing.assert_array_equal(relabel(np.array([True, False])), [1, 0])


def test_no_voxels():
    assert relabel(np.zeros((0, 3), np.uint8)).shape == (0, 3)


def test_compact_keeps_ids_that_fit_and_renumbers_others():
    np.testing.assert_array_equal(compact(np.array([0, 70], np.uint8)), [0, 70])
    np.testing.assert_array_equal(compact(np.array([0, 2**40, 2**33])), [0, 2, 1])


@pytest.mark.parametrize("labels", [np.array([0.5]), np.array([-1, 2]), np.array(3)])
def test_what_is_no_label_image_is_refused(labels):
    with pytest.raises(DataError, match="expected"):
        relabel(labels)
