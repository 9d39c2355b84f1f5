from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure, morphology, segmentation

from unmask.errors import DataError
from unmask.labels import grow_objects, interiors_to_labels, labels_to_interiors
from unmask.labels.dropped import Tally
from unmask.labels.interiors import BOUNDARY, INTERIOR, UNKNOWN
from unmask.phantoms.cells import nuclei

SPACES = [(60, 64), (20, 28, 30)]


def cells(shape):
    """Touching objects: the image without background, and one with it."""
    return nuclei(shape, rng=np.random.default_rng(1), diameter=10).labels


def one_hot(classes):
    return np.stack([classes == k for k in range(3)]).astype(np.float32)


@pytest.mark.parametrize("shape", SPACES)
@pytest.mark.parametrize("width", [1, 2])
def test_decode_undoes_encode(shape, width):
    labels = cells(shape)
    widths = (width,) * len(shape)
    classes = labels_to_interiors(labels, widths)
    found = interiors_to_labels(one_hot(classes), widths, min_size=0)
    assert labels.max() > 3
    assert ((found > 0) == (labels > 0)).mean() > 0.995
    # Every object is found, and no two become one.
    assert found.max() == len(np.unique(labels)) - 1
    assert (np.unique(np.stack([labels, found]).reshape(2, -1), axis=1).shape[1]) < 2 * found.max()


@pytest.mark.parametrize("shape", SPACES)
@pytest.mark.parametrize("width", [1, 2])
def test_interiors_are_as_far_from_the_edge_as_the_boundary_is_thick(shape, width):
    labels = cells(shape)
    classes = labels_to_interiors(labels, (width,) * len(shape))
    np.testing.assert_array_equal(classes > 0, labels > 0)
    for number in np.unique(labels[labels > 0]):
        own = labels == number
        # An object is not cut where the image ends.
        padded = np.pad(own, width, mode="edge")
        window = np.ones((2 * width + 1,) * own.ndim, bool)
        far = ndimage.binary_erosion(padded, window)[(slice(width, -width),) * own.ndim]
        if far.any():
            np.testing.assert_array_equal(classes[own] == INTERIOR, far[own])
        else:
            assert (classes[own] == INTERIOR).any()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("across", [1, 2, 3, 4])
def test_the_smallest_objects_keep_an_interior_of_their_own(ndim, across):
    labels = np.zeros((8,) * ndim, np.int64)
    labels[(slice(2, 2 + across),) * ndim] = 70000
    labels[(*(slice(2, 2 + across),) * (ndim - 1), slice(2 + across, 2 + 2 * across))] = 3
    classes = labels_to_interiors(labels, (2,) * ndim)
    found = interiors_to_labels(one_hot(classes), (2,) * ndim, min_size=0)
    assert all((classes[labels == number] == INTERIOR).any() for number in (3, 70000))
    np.testing.assert_array_equal(found > 0, labels > 0)
    if across > 1:
        assert found.max() == 2


def test_boundaries_have_a_width_per_axis():
    labels = np.ones((5, 9, 9), np.uint8)
    labels[:, :, 5:] = 2
    labels[3:] = 0
    classes = labels_to_interiors(labels, (0, 1, 2))
    np.testing.assert_array_equal(classes[0], classes[2])
    np.testing.assert_array_equal(classes[0, 4], [1, 1, 1, 2, 2, 2, 2, 1, 1])
    found = interiors_to_labels(one_hot(classes), (0, 1, 2))
    np.testing.assert_array_equal(found, labels)


def test_what_may_end_at_unknown_voxels_is_unknown():
    labels = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    known = np.arange(10) < 6
    classes = labels_to_interiors(labels, (2,), known=known)
    np.testing.assert_array_equal(classes, [1] * 4 + [UNKNOWN] * 6)
    with pytest.raises(DataError, match="ids of 0 and more"):
        labels_to_interiors(np.array([-1, 0, 1]), (1,))


def test_objects_grow_in_the_foreground_only():
    scores = np.zeros((3, 1, 12), np.float32)
    scores[0] = 1
    scores[:, 0, 2:5] = np.array([0, 1, 0])[:, None]
    scores[:, 0, 5:7] = np.array([0.1, 0.2, 0.7])[:, None]
    thin = interiors_to_labels(scores, (0, 3), min_size=0, grow=False)
    grown = interiors_to_labels(scores, (0, 3), min_size=0)
    np.testing.assert_array_equal(np.flatnonzero(thin), [2, 3, 4])
    np.testing.assert_array_equal(np.flatnonzero(grown), [2, 3, 4, 5, 6])


def test_ties_do_not_depend_on_ids_or_on_the_place():
    within = np.ones((9, 9), bool)
    labels = np.zeros((9, 9), np.int32)
    labels[2, 2], labels[6, 6] = 1, 2
    swapped = np.array([0, 2, 1])[labels]
    first = grow_objects(labels, within, (9, 9))
    np.testing.assert_array_equal(np.array([0, 2, 1])[first], grow_objects(swapped, within, (9, 9)))
    part = (slice(1, 9), slice(1, 9))
    inner = grow_objects(labels[part], within[part], (3, 3))
    np.testing.assert_array_equal(inner, grow_objects(labels, within, (3, 3))[part])


def test_dropped_foreground_is_counted():
    scores = np.zeros((3, 20, 20), np.float32)
    scores[0] = 1
    for row, kind in ((slice(1, 7), INTERIOR), (slice(10, 13), BOUNDARY), (slice(17, 18), 1)):
        scores[0, row, 2:8], scores[kind, row, 2:8] = 0, 1
    scores[:, 3:5, 4:6] = np.array([1, 0, 0])[:, None, None]
    tally = Tally()
    labels = interiors_to_labels(scores, (1, 1), min_size=16, tally=tally)
    # The hole is filled, the boundary alone is no object, and the smallest is removed.
    assert labels.max() == 1
    assert np.count_nonzero(labels) == 36
    assert tally.counts == {
        "boundary.voxels": 18,
        "min_size.voxels": 6,
        "min_size.objects": 1,
        "foreground": 60,
    }


def test_published_classes_and_objects():
    """What the steps of the published program give, by the library that it calls."""
    labels = cells((90, 100))
    classes = labels_to_interiors(labels, (2, 2), compat="neurips")
    edges: Any = segmentation.find_boundaries(labels, mode="inner")
    edges = np.asarray(ndimage.binary_dilation(edges, morphology.disk(1)))
    np.testing.assert_array_equal(classes == BOUNDARY, edges)
    pieces: Any = measure.label((labels > 0) & ~edges, connectivity=1)
    kept = (np.bincount(pieces.ravel()) >= 16)[pieces] & (pieces > 0)
    np.testing.assert_array_equal(classes == INTERIOR, kept)

    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((3, 80, 90)), (0, 1.5, 1.5))
    scores = (noise / noise.sum(0)).astype(np.float32)
    found = interiors_to_labels(scores, (2, 2), threshold=0.35, compat="neurips")
    holes: Any = measure.label(scores[1] <= 0.35, connectivity=1)
    filled = ~((np.bincount(holes.ravel()) >= 64)[holes] & (holes > 0))
    pieces = measure.label(filled, connectivity=1)
    kept = (np.bincount(pieces.ravel()) >= 16)[pieces] & (pieces > 0)
    np.testing.assert_array_equal(found, measure.label(kept))
    assert found.max() > 5
