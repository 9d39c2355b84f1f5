"""Objects without their outermost voxels."""

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.labels.boundaries import exclude_boundaries


def squares(dtype=np.uint16):
    """Of 20, 14 and 13 voxels a side, the first two touching each other; one at the border."""
    labels = np.zeros((80, 60), dtype)
    labels[10:30, 10:30] = 5
    labels[10:24, 30:44] = 2
    labels[40:53, 10:23] = 9
    labels[60:80, 30:50] = 4
    return labels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64])
def test_objects_lose_one_ring_unless_they_are_small(dtype):
    labels = squares(dtype)
    kept = labels.copy()
    found = exclude_boundaries(labels)
    assert found.dtype == dtype
    np.testing.assert_array_equal(labels, kept)
    assert (found == 5).sum() == 18 * 18
    assert (found == 2).sum() == 12 * 12
    assert (found == 9).sum() == 13 * 13
    assert set(np.unique(found)) == {0, 2, 4, 5, 9}
    assert ((found == 0) | (found == labels)).all()


def test_near_the_border_of_the_image_nothing_changes():
    found = exclude_boundaries(squares())
    # Rows 78 and 79 are the frame; the image's own edge is no boundary.
    np.testing.assert_array_equal(found[78:], squares()[78:])
    assert (found[61:78, 31:49] == 4).all()
    assert not found[60:78, 30].any()
    inside = exclude_boundaries(squares(), frame=0)
    assert not inside[60:80, 30].any()
    assert (inside[79, 31:49] == 4).all()


@pytest.mark.parametrize("shape", [(12,), (12, 14), (9, 10, 11), (5, 5, 6, 7)])
def test_any_number_of_axes(shape):
    labels = np.zeros(shape, np.int32)
    box = tuple(slice(1, -1) for _ in shape)
    inner = tuple(slice(2, -2) for _ in shape)
    labels[box] = 3
    found = exclude_boundaries(labels, min_size=0, frame=0)
    expected = np.zeros(shape, np.int32)
    expected[inner] = 3
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(exclude_boundaries(labels, min_size=10**6), labels)


def test_voxels_without_truth_stay_and_huge_ids_too():
    labels = squares().astype(np.int64)
    labels[labels == 2] = 2**40
    labels[0:8] = 65535
    found = exclude_boundaries(labels, ignore_label=65535)
    assert (found[0:8] == 65535).all()
    assert (found == 2**40).sum() == 12 * 12


def test_numbers_that_are_no_labels_are_refused():
    with pytest.raises(DataError, match="expected an integer array"):
        exclude_boundaries(np.zeros((4, 4)))
    assert exclude_boundaries(np.zeros((0, 4), np.uint8)).shape == (0, 4)
