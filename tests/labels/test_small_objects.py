"""Small objects: flooded by their neighbors, or merged as published."""

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.labels import merge_small, refill_small


def test_neighbors_flood_what_is_small():
    labels = np.ones((9, 12), np.int32)
    labels[:, 6:] = 2
    labels[3:5, 5:7] = 3
    landscape = np.zeros(labels.shape, np.float32)
    landscape[:, 6] = 1
    found = refill_small(labels, 5, landscape)
    assert np.array_equal(np.unique(found), [1, 2])
    assert (found[:, :6] == 1).all()
    assert (found[:, 7:] == 2).all()
    assert np.array_equal(refill_small(labels, 4, landscape), labels)


def test_pieces_out_of_reach_become_background():
    labels = np.zeros((8, 8), np.int32)
    labels[:4, :4], labels[7, 7] = 1, 5
    flat = np.zeros(labels.shape, np.float32)
    assert np.array_equal(refill_small(labels, 2, flat), np.where(labels == 1, 1, 0))
    everywhere = np.ones(labels.shape, bool)
    assert (refill_small(labels, 2, flat, foreground=everywhere) == 1).all()
    assert not refill_small(labels, 100, flat).any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_speck_takes_the_commonest_id(ndim):
    labels = np.ones((9,) * ndim, np.int32)
    labels[..., 5:] = 2
    center = (4,) * ndim
    labels[center] = 9
    found = merge_small(labels, [(1, 5)])
    assert found[center] == 1
    assert np.array_equal(found != labels, labels == 9)


def test_published_exceptions():
    speck = np.ones((9, 9), np.int32)
    speck[4, 4] = 2
    assert np.array_equal(merge_small(speck, [(5, 5)]), speck)  # two ids only
    corner = np.ones((9, 9), np.int32)
    corner[:, 2:], corner[0, 0] = 2, 3
    assert np.array_equal(merge_small(corner, [(1, 5)]), corner)  # the window leaves the image
    sparse = np.zeros((9, 9), np.int32)
    sparse[4, 4], sparse[4, 6] = 1, 2
    # Background is commonest: the next one that is not the speck itself
    assert merge_small(sparse, [(1, 5)])[4, 4] == 2


@pytest.mark.parametrize("passes", [[(5,)], [(5, 0)], [(0, 5)]])
def test_passes_that_make_no_sense_are_refused(passes):
    with pytest.raises(DataError, match="merges"):
        merge_small(np.ones((4, 4), int), passes)


def by_definition(labels, passes, *, current):
    """The passes voxel by voxel; sizes are those at the start of a pass, or the current ones."""
    labels = labels.copy()
    for size, window in passes:
        ids, counts = np.unique(labels, return_counts=True)
        for own, count in zip(ids.tolist(), counts.tolist(), strict=True):
            places = np.nonzero(labels == own)
            if (len(places[0]) if current else count) > size:
                continue
            corner = [int(place.mean()) - window // 2 for place in places]
            if min(corner) < 0:
                continue
            inside = labels[tuple(slice(a, a + window) for a in corner)]
            found, often = np.unique(inside, return_counts=True)
            ranked = found[np.argsort(-often, kind="stable")].tolist()
            if len(ranked) > 2:
                new = ranked[0] or (ranked[2] if ranked[1] == own else ranked[1])
                labels[labels == own] = new
    return labels


def test_sizes_are_those_at_the_start_of_a_pass():
    """Ids that grow past the size during a pass are looked at all the same, as published."""
    passes, differ = [(5, 5), (20, 11)], 0
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(0, 40, (20, 22))
        found = merge_small(labels, passes)
        assert np.array_equal(found, by_definition(labels, passes, current=False))
        differ += not np.array_equal(found, by_definition(labels, passes, current=True))
    assert differ > 2
