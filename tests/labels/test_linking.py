"""Objects of neighboring planes and points in time: mutual largest overlap, divisions, gaps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from unmask.labels.linking import Frame, Overlaps, link_largest, track_objects


def blobs(*boxes, shape=(20, 20), first=1):
    labels = np.zeros(shape, np.int64)
    for number, box in enumerate(boxes):
        labels[tuple(slice(a, b) for a, b in box)] = first + number
    return labels


def frame(labels):
    ids, sizes = np.unique(labels[labels > 0], return_counts=True)
    centers = [np.mean(np.nonzero(labels == each), axis=1) for each in ids]
    return Frame(ids, sizes, np.array(centers).reshape(len(ids), labels.ndim))


def follow(*images):
    """Tracks of images whose ids are numbered one after the other."""
    renumbered, top = [], 0
    for labels in images:
        renumbered.append(np.where(labels > 0, labels + top, 0))
        top += int(labels.max())
    overlaps = [Overlaps.count(a, b) for a, b in pairwise(renumbered)]
    return track_objects([frame(labels) for labels in renumbered], overlaps)


def link(here, there):
    sizes = np.bincount(here.ravel()), np.bincount(there.ravel())
    return link_largest(Overlaps.count(here, there), *sizes).tolist()


def test_each_is_the_largest_overlap_of_the_other():
    here = blobs([(0, 8), (0, 8)], [(0, 8), (8, 12)])
    there = blobs([(0, 8), (0, 9)])
    assert link(here, there) == [[1, 1]]


@pytest.mark.parametrize(("shift", "linked"), [(4, True), (5, False)])
def test_half_of_the_smaller_object_has_to_overlap(shift, linked):
    here, there = blobs([(0, 8), (0, 8)]), blobs([(shift, shift + 8), (0, 8)])
    assert bool(link(here, there)) is linked


def test_overlaps_of_parts_add_up():
    rng = np.random.default_rng(0)
    here, there = rng.integers(0, 5, (2, 6, 30, 30))
    whole = Overlaps.count(here, there)
    parts = Overlaps.total([Overlaps.count(a, b) for a, b in zip(here, there, strict=True)])
    for name in ("here", "there", "shared"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("ndim", [2, 3])
def test_moving_objects_keep_their_track_and_new_ones_begin_another(ndim):
    rest = [(2, 9)] * (ndim - 2)
    shape = (20,) * ndim
    movie = [blobs([*rest, (t, t + 5), (0, 5)], shape=shape) for t in range(4)]
    movie[2] = blobs([*rest, (2, 7), (0, 5)], [*rest, (10, 14), (10, 14)], shape=shape)
    tracks = follow(*movie)
    assert tracks.number.tolist() == [1, 1, 1, 2, 1]
    assert tracks.parents == {}


def test_a_division_ends_the_mother_and_names_her():
    mother = blobs([(5, 13), (2, 18)])
    daughters = blobs([(5, 13), (2, 9)], [(5, 13), (11, 18)])
    tracks = follow(mother, mother, daughters, daughters)
    assert tracks.number.tolist() == [1, 1, 2, 3, 2, 3]
    assert tracks.parents == {2: 1, 3: 1}


def test_debris_is_no_daughter():
    mother = blobs([(5, 13), (2, 18)])
    rest = blobs([(5, 13), (2, 16)], [(5, 7), (16, 18)])
    tracks = follow(mother, rest)
    assert tracks.number.tolist() == [1, 1, 2]
    assert tracks.parents == {}


def test_a_jump_of_less_than_a_diameter_is_followed():
    tracks = follow(blobs([(0, 4), (0, 4)]), blobs([(0, 4), (4, 8)]))
    assert tracks.number.tolist() == [1, 1]
    assert follow(blobs([(0, 4), (0, 4)]), blobs([(0, 4), (6, 10)])).number.tolist() == [1, 2]
    # One that is much larger is another object.
    assert follow(blobs([(0, 4), (0, 4)]), blobs([(0, 8), (4, 12)])).number.tolist() == [1, 2]


def test_empty_frames():
    nothing, one = blobs(), blobs([(0, 4), (0, 4)])
    assert follow(one, nothing, one).number.tolist() == [1, 2]
    assert follow(nothing, nothing).number.tolist() == []
