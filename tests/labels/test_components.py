"""Connected components against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from unmask.errors import DataError
from unmask.labels import connected_components


def label(image, structure) -> tuple[np.ndarray, int]:
    found = np.zeros(image.shape, np.int32)
    return found, int(np.asarray(ndimage.label(image, structure, output=found)).max())


_SHAPES = array_shapes(min_dims=1, max_dims=4, max_side=6)


@given(st.data())
def test_booleans_as_scipy(data):
    image = data.draw(arrays(bool, _SHAPES))
    connectivity = data.draw(st.integers(1, image.ndim))
    structure = ndimage.generate_binary_structure(image.ndim, connectivity)
    expected, _ = label(image, structure)
    np.testing.assert_array_equal(connected_components(image, connectivity=connectivity), expected)


@given(arrays(np.uint8, _SHAPES, elements=st.integers(0, 3)))
def test_every_piece_has_one_id_and_touching_objects_stay_apart(labels):
    found = connected_components(labels)
    structure = np.ones((3,) * labels.ndim)
    pieces = 0
    for value in np.unique(labels[labels > 0]):
        expected, count = label(labels == value, structure)
        pieces += count
        for piece in range(1, count + 1):
            assert len(np.unique(found[expected == piece])) == 1
    np.testing.assert_array_equal(np.unique(found[found > 0]), np.arange(1, pieces + 1))
    np.testing.assert_array_equal(found == 0, labels == 0)


def test_long_spiral_is_one_piece():
    image = np.zeros((41, 41), bool)
    image[::2] = True
    image[1::4, -1] = True
    image[3::4, 0] = True
    assert connected_components(image, connectivity=1).max() == 1


@pytest.mark.parametrize("connectivity", [0, 3])
def test_impossible_connectivity(connectivity):
    with pytest.raises(DataError, match="expected 1 to 2"):
        connected_components(np.ones((2, 2), bool), connectivity=connectivity)


def test_no_voxels():
    assert connected_components(np.zeros((3, 0), bool)).shape == (3, 0)
