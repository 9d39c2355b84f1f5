"""Mutex watershed: perfect affinities, far edges, strides, foreground, and the library's result."""

import bioimage_cpp.segmentation as peer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unmask.errors import DataError
from unmask.labels import connected_components, mutex_watershed
from unmask.labels.edges import shift_slices


def affinities(labels, offsets):
    values = np.zeros((len(offsets), *labels.shape), np.float32)
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(labels.shape, offset)
        values[channel][here] = labels[here] == labels[there]
    return values


def near(ndim, step=-1):
    return [tuple(step * (a == axis) for a in range(ndim)) for axis in range(ndim)]


@st.composite
def volumes(draw):
    shape = tuple(draw(st.integers(2, 7)) for _ in range(draw(st.integers(1, 4))))
    return draw(arrays(np.int32, shape, elements=st.integers(1, 3)))


@given(labels=volumes(), far=st.integers(2, 3))
@settings(max_examples=60)
def test_perfect_affinities_give_the_objects_back(labels, far):
    """Objects are the pieces of a label, so that near edges hold each of them together."""
    pieces = connected_components(labels, connectivity=1)
    offsets = near(labels.ndim) + near(labels.ndim, -far)
    found = mutex_watershed(affinities(pieces, offsets), offsets)
    assert np.array_equal(connected_components(found, connectivity=1), pieces)
    assert found.max() == pieces.max()


@pytest.mark.parametrize("strides", [1, (1, 2, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_published_form_equals_the_library(strides, masked):
    random = np.random.default_rng(3)
    offsets = near(3) + near(3, -3) + [(0, -4, 4), (2, 0, 5)]
    values = random.random((len(offsets), 9, 20, 22), np.float32)
    foreground = random.random(values.shape[1:]) < 0.9 if masked else None
    found = mutex_watershed(values, offsets, strides=strides, join_above=-1, foreground=foreground)
    weights = values.copy()
    weights[3:] = 1 - weights[3:]
    steps = (strides,) * 3 if isinstance(strides, int) else strides
    expected = peer.mutex_watershed(weights, offsets, 3, strides=steps, mask=foreground)
    pairs = np.unique(np.stack([found.ravel(), expected.astype(np.int64).ravel()]), axis=1)
    assert [len(np.unique(row)) for row in pairs] == [pairs.shape[1]] * 2
    assert found.max() > 20


def test_a_far_edge_keeps_apart_what_a_gap_would_join():
    labels = np.repeat(np.repeat([[1, 2]], 6, 1), 10, 0)
    offsets = [(-1, 0), (0, -1), (0, -3)]
    values = affinities(labels, offsets)
    values[1, 4:6] = 0.7  # an erased border
    assert mutex_watershed(values[:2], offsets[:2], join_above=-1).max() == 1
    assert mutex_watershed(values, offsets, join_above=-1).max() == 2


def test_membranes_stay_apart_unless_low_affinities_join():
    values = np.ones((2, 6, 9), np.float32)
    values[1, :, 4:6] = 0.2  # a wall of one voxel
    values[0, :, 4] = 0.2
    walled = mutex_watershed(values, near(2), join_above=0.5)
    assert len(np.unique(walled[:, 4])) == 6
    assert np.unique(np.delete(walled, 4, 1)).size == 2
    assert mutex_watershed(values, near(2), join_above=-1).max() == 1


def test_strides_leave_far_edges_out():
    values = np.ones((3, 8, 8), np.float32)
    offsets = [(-1, 0), (0, -1), (0, -3)]
    values[1, :, 4] = 0.6
    values[2, 3, 5] = 0.0  # the only edge that parts, at an odd place
    assert mutex_watershed(values, offsets, strides=1).max() == 2
    assert mutex_watershed(values, offsets, strides=(2, 2)).max() == 1


def test_far_edges_are_drawn_by_a_seed():
    random = np.random.default_rng(1)
    offsets = near(2) + near(2, -3)
    values = random.random((4, 40, 40), np.float32)
    first, again, other = (
        mutex_watershed(values, offsets, strides=2, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    everything = mutex_watershed(values, offsets, strides=1, seed=1)
    assert np.array_equal(everything, mutex_watershed(values, offsets, strides=1))


@pytest.mark.parametrize("strides", [0, (1,), (1, 2, 3), (1, 0)])
def test_strides_that_do_not_fit_are_refused(strides):
    with pytest.raises(DataError, match="strides"):
        mutex_watershed(np.ones((2, 4, 4)), near(2), strides=strides)


def test_ids_are_consecutive_inside_a_foreground():
    foreground = np.zeros((9, 9), bool)
    foreground[1:3] = foreground[5:8] = True
    found = mutex_watershed(np.ones((2, 9, 9)), near(2), foreground=foreground)
    assert np.array_equal(np.unique(found), [0, 1, 2])
    assert np.array_equal(found > 0, foreground)


def test_offsets_may_point_either_way():
    labels = np.repeat([[1, 1, 2, 2, 3]], 4, 0)
    back, ahead = near(2), near(2, 1)
    first = mutex_watershed(affinities(labels, back), back)
    second = mutex_watershed(affinities(labels, ahead), ahead)
    assert np.array_equal(first, second)
    assert np.array_equal(first, labels)


def test_more_objects_than_16_bits_hold():
    found = mutex_watershed(np.zeros((2, 260, 260), np.float32), near(2))
    assert len(np.unique(found)) == found.max() == 260 * 260
