"""Basins of affinities: against waterz, thin borders, any number of axes."""

from __future__ import annotations

import numpy as np
import pytest
import waterz as peer
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from unmask.errors import DataError
from unmask.labels import segment, waterz
from unmask.labels.basins import basins
from unmask.labels.edges import check_edges, shift_slices
from unmask.labels.watershed import Watershed, fragments
from unmask.metrics import arand

BACK = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
OWN = {"on": "affinities"}


def same_partition(first, second) -> bool:
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]).astype(np.int64), axis=1)
    ids = [len(np.unique(side)) for side in pairs]
    return np.array_equal(first == 0, second == 0) and pairs.shape[1] == ids[0] == ids[1]


def peer_segments(affinities, threshold):
    return next(iter(peer.agglomerate(affinities.copy(), [threshold]))).copy()


@settings(max_examples=40, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 10)] * 3),
    levels=st.sampled_from([0, 1, 4]),
)
def test_fragments_are_those_of_waterz(seed, shape, levels):
    """Ties and plateaus too: few levels make many of them."""
    affinities = np.random.default_rng(seed).random((3, *shape), np.float32)
    if levels:
        affinities = np.round(affinities * levels) / np.float32(levels)
    if max(shape) < 2:
        return
    found = basins(check_edges(affinities, BACK, None))
    assert same_partition(found, peer_segments(affinities, 0.0))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_segments_are_those_of_waterz(threshold):
    affinities = np.random.default_rng(1).random((3, 8, 20, 22), np.float32)
    found = waterz(affinities, BACK, threshold=threshold, watershed=OWN)
    assert same_partition(found, peer_segments(affinities, threshold))


def thin_borders(shape, count, seed=0):
    """Cells that touch without a membrane, and their affinities, a little blurred."""
    rng = np.random.default_rng(seed)
    points = np.stack([rng.uniform(0, n, count) for n in shape])
    places = np.indices(shape).reshape(len(shape), -1)
    labels = ((places[:, :, None] - points[:, None]) ** 2).sum(0).argmin(1).reshape(shape) + 1
    offsets = [tuple(-int(a == b) for a in range(len(shape))) for b in range(len(shape))]
    values = np.ones((len(shape), *shape), np.float32)
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(shape, offset)
        values[channel][here] = np.where(labels[here] == labels[there], 1, 0.05)
    values -= rng.random(values.shape, np.float32) * np.float32(0.04)
    return labels, values, offsets


@pytest.mark.parametrize("shape", [(90, 100), (20, 40, 44)])
def test_borders_without_a_membrane(shape):
    labels, values, offsets = thin_borders(shape, 40)
    own = segment(values, offsets, method="waterz", watershed=OWN)
    assert arand(labels, own) < 0.001
    assert arand(labels, segment(values, offsets, method="waterz")) > 0.02


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_any_number_of_axes(ndim):
    shape = (4,) * (ndim - 1) + (9,)
    offsets = [tuple(-int(a == b) for a in range(ndim)) for b in range(ndim)]
    values = np.full((ndim, *shape), 0.9, np.float32)
    values[-1, ..., 5] = 0
    found = basins(check_edges(values, offsets, None))
    assert same_partition(found, np.broadcast_to(1 + (np.arange(9) >= 5), shape))
    forward = [tuple(-step for step in offset) for offset in offsets]
    moved = np.stack([np.roll(v, -1, axis) for axis, v in enumerate(values)])
    assert same_partition(basins(check_edges(moved, forward, None)), found)


def test_background_foreground_and_slices():
    values = np.full((3, 3, 6, 6), 0.8, np.float32)
    assert basins(check_edges(values, BACK, None)).max() == 1
    assert basins(check_edges(values, BACK, None), per_slice=True).max() == 3
    inside = np.zeros((3, 6, 6), bool)
    inside[:, :2] = inside[:, 4:] = True
    found = basins(check_edges(values, BACK, inside))
    assert np.array_equal(found > 0, inside)
    assert found.max() == 2
    values[:, :, 3:] = 0
    assert not basins(check_edges(values, BACK, None))[:, 4:].any()


def test_small_fragments_are_flooded():
    values = np.random.default_rng(0).random((2, 30, 30), np.float32)
    edges = check_edges(values, [(-1, 0), (0, -1)], None)
    many = fragments(edges, Watershed(on="affinities"))
    few = fragments(edges, Watershed(on="affinities", min_size=4))
    assert few.max() < many.max()
    assert np.bincount(few.ravel())[1:].min() >= 4


@pytest.mark.parametrize("option", [{"on": "graph"}, {"low": 0.5, "high": 0.5}, {"low": -1}])
def test_options_out_of_range(option):
    with pytest.raises(DataError, match="watershed"):
        Watershed(**option)
