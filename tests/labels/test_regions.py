"""Graph of regions: counted voxel by voxel, and as the library counts."""

import bioimage_cpp.graph as peer
import numpy as np
import pytest

from unmask.labels.edges import check_edges
from unmask.labels.regions import region_graph

OFFSETS = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 2, -3)]


@pytest.fixture
def image():
    random = np.random.default_rng(0)
    small = random.integers(1, 2000, (4, 10, 10))
    labels = small.repeat(3, 1).repeat(3, 2).astype(np.int32)
    return labels, random.random((4, *labels.shape), np.float32)


def test_near_edges_are_those_of_the_library(image):
    labels, values = image
    graph = region_graph(labels, check_edges(values, OFFSETS, None))
    rag = peer.region_adjacency_graph(labels, number_of_threads=1)
    features = peer.features.affinity_features(
        rag, labels, np.ascontiguousarray(values[:3]), OFFSETS[:3], number_of_threads=1
    )
    assert np.array_equal(graph.pairs, rag.uv_ids())
    assert graph.mean == pytest.approx(features[:, 0], abs=1e-6)
    assert np.array_equal(graph.count, features[:, 1])
    assert graph.touching.all()


def test_far_edges_count_and_background_does_not(image):
    labels, values = image
    labels = np.where(labels % 5 == 0, 0, labels)
    graph = region_graph(labels, check_edges(values, OFFSETS, None), range(4))
    assert (graph.pairs > 0).all()
    assert (graph.pairs[:, 0] < graph.pairs[:, 1]).all()
    assert not graph.touching.all()
    expected = {}
    for place in np.ndindex(*labels.shape):
        for channel, offset in enumerate(OFFSETS):
            there = tuple(p + o for p, o in zip(place, offset, strict=True))
            if all(0 <= t < n for t, n in zip(there, labels.shape, strict=True)):
                pair = tuple(sorted((labels[place], labels[there])))
                if pair[0] and pair[0] != pair[1]:
                    expected.setdefault(pair, []).append(values[(channel, *place)])
    assert [tuple(pair) for pair in graph.pairs] == sorted(expected)
    each = [expected[pair] for pair in sorted(expected)]
    assert graph.mean == pytest.approx([np.mean(v) for v in each], abs=1e-6)
    assert graph.highest == pytest.approx([max(v) for v in each])


def test_one_region_has_no_edge():
    graph = region_graph(
        np.ones((3, 4), np.int32), check_edges(np.ones((2, 3, 4)), [(-1, 0), (0, -1)], None)
    )
    assert len(graph) == 0
    assert graph.pairs.shape == (0, 2)
