"""Small objects of low score are doubtful; large, sure and cut ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.labels.doubtful import find_doubtful, touch_border, typical_size


def _cubes(ndim):
    """Ids 1 (large), 2 (small), 3 (small, sure), 4 (small, at the border), with scores."""
    labels = np.zeros((24,) * ndim, np.int32)
    scores = np.full(labels.shape, 0.1, np.float32)
    for number, (first, edge, score) in enumerate(
        [(2, 8, 0.6), (13, 2, 0.6), (17, 2, 0.95), (22, 2, 0.6)], start=1
    ):
        part = (slice(first, first + edge),) * ndim
        labels[part], scores[part] = number, score
    return labels, scores


@pytest.mark.parametrize("ndim", [2, 3])
def test_only_small_unsure_whole_objects_are_doubtful(ndim):
    labels, scores = _cubes(ndim)
    found = find_doubtful(labels, scores, size=3**ndim, sure=0.9)
    assert found.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_typical_size_is_that_of_most_voxels(ndim):
    labels, _ = _cubes(ndim)
    assert typical_size(labels) == 8**ndim
    assert typical_size(np.zeros_like(labels)) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_every_border_counts(axis, end):
    labels = np.zeros((4, 5, 6), np.int32)
    place = [2, 2, 2]
    place[axis] = end
    labels[tuple(place)] = 1
    labels[2, 2, 3] = 2
    assert touch_border(labels, 3).tolist()[1:] == [True, False]
