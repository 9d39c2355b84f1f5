"""Multicut: the best cut of small graphs, costs, options."""

from itertools import product

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.labels import multicut
from unmask.labels.edges import check_edges
from unmask.labels.multicut_partition import edge_costs, multicut_regions
from unmask.labels.regions import region_graph


@pytest.mark.parametrize("seed", range(5))
def test_small_graphs_are_cut_at_the_lowest_cost(seed):
    random = np.random.default_rng(seed)
    labels = np.arange(1, 7).reshape(2, 3).repeat(2, 0).repeat(2, 1).astype(np.int32)
    values = random.random((2, *labels.shape), np.float32)
    graph = region_graph(labels, check_edges(values, [(-1, 0), (0, -1)], None))
    costs = edge_costs(graph)

    def energy(names):
        return sum(
            c for c, (a, b) in zip(costs, graph.pairs - 1, strict=True) if names[a] != names[b]
        )

    found = multicut_regions(labels, graph)
    names = [found[labels == i][0] for i in range(1, 7)]
    assert energy(names) == pytest.approx(min(map(energy, product(range(4), repeat=6))))


def test_costs_are_log_odds_weighted_by_length():
    labels = np.array([[1, 2, 2], [1, 1, 2], [3, 3, 3]], np.int32)
    values = np.full((2, 3, 3), 0.75, np.float32)
    graph = region_graph(labels, check_edges(values, [(-1, 0), (0, -1)], None))
    lengths = {(1, 2): 3, (1, 3): 2, (2, 3): 1}
    expected = [np.log(3) * lengths[a, b] / 3 for a, b in graph.pairs.tolist()]
    assert edge_costs(graph) == pytest.approx(expected)
    assert (edge_costs(graph, 0.9) < 0).all()


def test_background_stays_and_ids_are_consecutive():
    values = np.ones((2, 8, 9), np.float32)
    foreground = np.ones((8, 9), bool)
    foreground[:, 4] = False
    found = multicut(values, [(-1, 0), (0, -1)], foreground=foreground)
    assert np.array_equal(found > 0, foreground)
    assert found.max() == 2
    assert len(np.unique(found[:, :4])) == len(np.unique(found[:, 5:])) == 1


@pytest.mark.parametrize("options", [{"beta": 0}, {"beta": 1.0}, {"solver": "ilp"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(DataError, match=next(iter(options))):
        multicut(np.ones((2, 4, 4)), [(-1, 0), (0, -1)], **options)
