"""Fragments of affinities: boundaries, seeds, floods."""

import numpy as np
import pytest
from skimage.segmentation import watershed as reference

from unmask.errors import DataError
from unmask.labels import connected_components
from unmask.labels.edges import check_edges, shift_slices
from unmask.labels.watershed import (
    Watershed,
    boundaries,
    check_watershed,
    flood,
    fragments,
    kinship,
)


def edges_of(labels, foreground=None):
    """Affinities to the face neighbors; edges that leave the image are 0."""
    offsets = [tuple(-(a == axis) for a in range(labels.ndim)) for axis in range(labels.ndim)]
    values = np.zeros((len(offsets), *labels.shape), np.float32)
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(labels.shape, offset)
        values[channel][here] = (labels[here] == labels[there]) & (labels[here] > 0)
    return check_edges(values, offsets, foreground)


@pytest.fixture
def cells():
    """Two blocks with a wall of two voxels between them, in a volume."""
    labels = np.zeros((5, 12, 21), np.int32)
    labels[:, 1:-1, 1:9], labels[:, 1:-1, 12:-1] = 1, 2
    return labels


@pytest.mark.parametrize("per_slice", [False, True])
def test_fragments_cover_everything_and_keep_to_one_object(cells, per_slice):
    edges = edges_of(cells)
    found = fragments(edges, Watershed(per_slice=per_slice))
    assert (found > 0).all()
    owners = {(f, o) for f, o in zip(found.ravel(), cells.ravel(), strict=True) if o}
    assert len(owners) == len({f for f, _ in owners})
    if per_slice:
        assert all(len(np.unique(np.nonzero(found == f)[0])) == 1 for f in np.unique(found))
    assert np.array_equal(np.unique(found), np.arange(1, found.max() + 1))


def test_boundaries_at_the_rim_are_those_next_to_it(cells):
    inside = edges_of(np.ones((4, 6), np.int32))
    assert boundaries(inside).max() == 0
    given = boundaries(inside, Watershed(rim="given"))
    assert given[0, 0] == 1
    assert (given[0, 1:] == 0.5).all()
    assert (given[1:, 1:] == 0).all()


def test_the_boundary_is_the_mean_or_the_worst_edge():
    values = np.full((2, 3, 3), 0.25, np.float32)
    values[0] = 0.75
    edges = check_edges(values, [(-1, 0), (0, -1)], None)
    assert (boundaries(edges) == 0.5).all()
    assert (boundaries(edges, Watershed(boundary="max")) == 0.75).all()
    assert (boundaries(edges, Watershed(per_slice=True)) == 0.75).all()


def test_kinship_is_the_best_edge_on_either_side():
    values = np.array([[[0.1, 0.2, 0.9, 0.3]], [[0.5, 0.1, 0.2, 0.1]]], np.float32)
    edges = check_edges(values, [(0, -1), (-1, 0)], None)
    assert kinship(edges)[0].tolist() == pytest.approx([0.2, 0.9, 0.9, 0.3])
    ahead = check_edges(values[:1], [(0, 1)], None)
    assert kinship(ahead)[0].tolist() == pytest.approx([0.1, 0.2, 0.9, 0.9])
    assert (kinship(check_edges(np.zeros((1, 1)), [(-1,)], None)) == 1).all()


def test_foreground_without_a_seed_becomes_fragments():
    labels = np.ones((7, 9), np.int32)
    foreground = np.ones(labels.shape, bool)
    foreground[:, 4] = False
    values = np.ones((2, 7, 9), np.float32)
    values[:, :, 5:] = 0  # no voxel on this side is inside an object
    edges = check_edges(values, [(-1, 0), (0, -1)], foreground)
    found = fragments(edges)
    assert np.array_equal(found > 0, foreground)
    assert len(np.unique(found[:, :4])) == len(np.unique(found[:, 5:])) == 1
    assert found[0, 0] != found[0, -1]


def test_small_fragments_are_flooded_by_their_neighbors():
    labels = np.ones((20, 24), np.int32)
    labels[:, 20:] = 2
    labels[9:11, 9:11] = 3
    edges = edges_of(labels)
    assert fragments(edges).max() > 2
    found = fragments(edges, Watershed(min_size=40))
    assert np.bincount(found.ravel())[1:].min() >= 40
    assert (found > 0).all()


@pytest.mark.parametrize("shape", [(40,), (12, 14), (5, 9, 8), (3, 4, 5, 6)])
def test_floods_follow_the_landscape(shape):
    random = np.random.default_rng(0)
    height = random.random(shape).astype(np.float32)
    seeds = np.where(random.random(shape) < 0.1, np.arange(height.size).reshape(shape) + 1, 0)
    inside = random.random(shape) < 0.9
    found = flood(height, seeds, inside)
    expected = reference(height, seeds, connectivity=1, mask=inside)
    assert np.array_equal(found > 0, expected > 0)
    # Heights are told apart in 65,536 steps, so single voxels may differ
    assert (found == expected).mean() > 0.98


def test_a_flood_without_seeds_is_empty():
    assert not flood(np.ones((3, 3), np.float32), np.zeros((3, 3), int)).any()
    assert flood(np.ones((0, 3), np.float32), np.zeros((0, 3), int)).shape == (0, 3)


def test_smoothing_keeps_noise_from_seeding():
    random = np.random.default_rng(2)
    labels = np.ones((64, 64), np.int32)
    labels[:, 30:32] = 0
    edges = edges_of(labels)
    noisy = np.clip(edges.values - 0.6 * (random.random(edges.values.shape) < 0.1), 0, 1)
    rough = check_edges(noisy.astype(np.float32), edges.offsets, None)
    smooth = fragments(rough, Watershed(sigma=2.0, alpha=0.9, min_size=50))
    assert smooth.max() < fragments(rough).max() / 2
    assert connected_components(smooth, connectivity=1).max() == smooth.max()


@pytest.mark.parametrize("smooth", [False, True])
def test_faces_stay_where_affinities_are_lowest_if_only_seeds_are_smoothed(smooth):
    boundary = np.zeros((40, 30), np.float32)
    boundary[:, 8], boundary[:, 9:14] = 1, 0.9
    edges = check_edges(np.stack([1 - boundary] * 2), [(-1, 0), (0, -1)], None)
    found = fragments(edges, Watershed(sigma=2.0, smooth_boundary=smooth))
    assert np.isin(found[:, 9:14], found[:, 14:]).all() == (not smooth)


@pytest.mark.parametrize(
    "options",
    [
        {"boundary": "median"},
        {"threshold": 2},
        {"sigma": -1},
        {"alpha": 1.5},
        {"min_size": -1},
        {"connectivity": 0},
        {"rim": "none"},
        {"treshold": 0.5},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(DataError, match=next(iter(options))):
        check_watershed(options)
