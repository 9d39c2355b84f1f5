"""The network that a plan takes for a crop."""

from __future__ import annotations

import pytest

from unmask.planning.data_rules import shrink_crop
from unmask.planning.network_rules import network_decisions, suits_start
from unmask.planning.objects import ObjectFacts
from unmask.shipped.starts import find_start


@pytest.mark.parametrize(
    ("crop", "voxel", "single", "others"),
    [
        ((256, 256), (1, 1), True, True),
        # Longer along one axis: by its own rule a crop would get strides that differ by axis.
        ((256, 416), (1, 1), True, True),
        ((40, 120, 64), (1, 1, 1), True, True),
        # Classes and dense objects in thin stacks and long voxels have other networks.
        ((16, 128, 128), (1, 1, 1), True, False),
        ((12, 96, 96), (4, 1, 1), True, False),
        ((32, 128, 128), (4, 1, 1), True, False),
        # Too little for two coarse voxels, or for any.
        ((4, 128, 128), (8, 1, 1), False, False),
        ((16, 24, 128), (1, 1, 1), False, False),
    ],
)
def test_crops_that_suit_the_network_of_the_start_weights(crop, voxel, single, others):
    assert suits_start(crop, voxel, single=True) is single
    assert suits_start(crop, voxel, single=False) is others


def test_the_network_is_that_of_the_start_weights_or_follows_the_crop():
    start = find_start(3)
    assert start is not None
    (decision,) = network_decisions((12, 96, 96), (4, 1, 1), width=24, why="so", start=start)
    assert decision.value == dict(start.backbone)
    (own,) = network_decisions((12, 96, 96), (4, 1, 1), width=24, why="so")
    assert isinstance(own.value, dict)
    assert own.value["strides"][1] == [1, 2, 2]


@pytest.mark.parametrize(
    ("crop", "share", "voxel", "smaller"),
    [
        ((64, 64, 64), 0.456, (1, 1, 1), (56, 56, 56)),
        ((64, 64, 64), 0.42, (1, 1, 1), (48, 48, 48)),
        # Half of every axis at most, however little time there is.
        ((96, 96, 96), 0.01, (1, 1, 1), (48, 48, 48)),
        # Few slices stay together.
        ((12, 176, 176), 0.5, (5, 1, 1), (12, 128, 128)),
        ((160, 160), 0.1, (1, 1), (128, 128)),
    ],
)
def test_crops_shrink_along_their_long_axes(crop, share, voxel, smaller):
    assert shrink_crop(crop, share, None, voxel) == smaller


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_longest_objects_fit_into_crops_of_flows(ndim):
    worms = ObjectFacts(
        count=200, low=31.0, median=36.0, high=39.0, longest=145.0, largest_share=0.01,
        touching=0.2, foreground=0.04, gap=5.0, flatness=(1.0,) * ndim, between_images=1.1,
    )  # fmt: skip
    crop, voxel = (256,) * ndim, (1.0,) * ndim
    pieces = shrink_crop(crop, 0.1, worms, voxel)
    assert max(pieces) < worms.longest
    assert min(shrink_crop(crop, 0.1, worms, voxel, whole=True)) > 1.4 * worms.longest
