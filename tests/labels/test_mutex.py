"""Mutex watershed: perfect affinities, far edges, strides, foreground."""

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.labels.edges import shifted
from unmask.labels.mutex import mutex_watershed


def affinities(labels, offsets):
    values = np.zeros((len(offsets), *labels.shape), np.float32)
    for channel, offset in enumerate(offsets):
        here, there = shifted(labels.shape, offset)
        values[channel][here] = labels[here] == labels[there]
    return values


def test_a_far_edge_keeps_apart_what_a_gap_would_join():
    labels = np.repeat(np.repeat([[1, 2]], 6, 1), 10, 0)
    offsets = [(-1, 0), (0, -1), (0, -3)]
    values = affinities(labels, offsets)
    values[1, 4:6] = 0.7  # an erased border
    assert mutex_watershed(values[:2], offsets[:2]).max() == 1
    assert mutex_watershed(values, offsets).max() == 2


def test_strides_leave_far_edges_out():
    values = np.ones((3, 8, 8), np.float32)
    offsets = [(-1, 0), (0, -1), (0, -3)]
    values[1, :, 4] = 0.6
    values[2, 3, 5] = 0.0  # the only edge that parts, at an odd place
    assert mutex_watershed(values, offsets, strides=1).max() == 2
    assert mutex_watershed(values, offsets, strides=(2, 2)).max() == 1


@pytest.mark.parametrize("strides", [0, (1,), (1, 2, 3), (1, 0)])
def test_strides_that_do_not_fit_are_refused(strides):
    with pytest.raises(DataError, match="strides"):
        mutex_watershed(np.ones((2, 4, 4)), [(-1, 0), (0, -1)], strides=strides)


def test_ids_are_consecutive_inside_a_foreground():
    values = np.ones((2, 9, 9), np.float32)
    foreground = np.zeros((9, 9), bool)
    foreground[1:3] = foreground[5:8] = True
    found = mutex_watershed(values, [(-1, 0), (0, -1)], foreground=foreground)
    assert np.array_equal(np.unique(found), [0, 1, 2])
    assert np.array_equal(found > 0, foreground)


def test_offsets_may_point_either_way():
    labels = np.repeat([[1, 1, 1, 2, 2, 2, 3, 3, 3]], 4, 0)
    back, ahead = [(-1, 0), (0, -1), (0, -3)], [(1, 0), (0, 1), (0, 3)]
    first = mutex_watershed(affinities(labels, back), back)
    second = mutex_watershed(affinities(labels, ahead), ahead)
    assert np.array_equal(first, second)
    assert np.array_equal(first, labels)
