"""Agglomeration: against waterz, against a plain rendering of average linkage, options."""

from itertools import combinations, product

import numpy as np
import pytest
import waterz as peer

from unmask.errors import DataError
from unmask.labels import average_linkage, waterz
from unmask.labels.agglomeration import agglomerate
from unmask.labels.edges import check_edges
from unmask.labels.regions import Regions, region_graph

NEAR = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]


@pytest.fixture
def image():
    """Fragments of a volume and smooth affinities."""
    random = np.random.default_rng(0)
    labels = np.arange(1, 4 * 9 * 9 + 1).reshape(4, 9, 9).repeat(3, 1).repeat(3, 2)
    values = random.random((3, *labels.shape), np.float32) * 0.6
    values += random.random((3, 4, 9, 9), np.float32).repeat(3, 2).repeat(3, 3) * 0.4
    return labels.astype(np.int32), values.astype(np.float32)


def same(first, second):
    pairs = np.unique(np.stack([first.ravel(), second.astype(np.int64).ravel()]), axis=1)
    return [len(np.unique(row)) for row in pairs] == [pairs.shape[1]] * 2


@pytest.mark.parametrize(
    ("quantile", "bins", "threshold"),
    [
        *((None, bins, threshold) for bins in (0, 256) for threshold in (0.3, 0.45, 0.5, 0.52)),
        *((50, 256, threshold) for threshold in (0.2, 0.3, 0.45)),
        *((75, 256, threshold) for threshold in (0.2, 0.3)),
    ],
)
def test_the_partition_is_that_of_waterz(image, capfd, quantile, bins, threshold):
    """Quantiles are whole levels; only a queue of levels has an order for them."""
    labels, values = image
    function = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
    if quantile is not None:
        function = f"OneMinus<HistogramQuantileAffinity<RegionGraphType,{quantile},ScoreValue,256>>"
    runs = peer.agglomerate(
        values.copy(),
        [threshold],
        fragments=labels.astype(np.uint64),
        scoring_function=function,
        discretize_queue=bins,
    )
    expected = next(runs)
    capfd.readouterr()
    graph = region_graph(labels, check_edges(values, NEAR, None))
    found = agglomerate(labels, graph, threshold=threshold, quantile=quantile, bins=bins)
    assert same(found, expected)
    assert 1 < found.max() < labels.max()
    assert capfd.readouterr() == ("", "")


def pairs_of(labels, channels, offsets):
    """Affinities by pair of fragments, and the pairs that touch."""
    total, near = {}, set()
    for place in np.ndindex(*labels.shape):
        for channel, offset in enumerate(offsets):
            there = tuple(p + o for p, o in zip(place, offset, strict=True))
            if all(0 <= t < n for t, n in zip(there, labels.shape, strict=True)):
                pair = tuple(sorted((int(labels[place]), int(labels[there]))))
                total.setdefault(pair, []).append(float(channels[(channel, *place)]))
                if np.abs(offset).sum() == 1:
                    near.add(pair)
    return total, near


def plain(labels, channels, offsets, threshold):
    """Average linkage over near and far affinities, by looking at everything in each round."""
    members = {int(i): {int(i)} for i in np.unique(labels)}
    total, near = pairs_of(labels, channels, offsets)
    while True:
        best, chosen = 1 - threshold, None
        for a, b in combinations(members, 2):
            keys = [tuple(sorted(pair)) for pair in product(members[a], members[b])]
            values = [v for key in keys for v in total.get(key, ())]
            if near.intersection(keys) and np.mean(values) > best:
                best, chosen = np.mean(values), (a, b)
        if chosen is None:
            return members
        members[chosen[0]] |= members.pop(chosen[1])


@pytest.mark.parametrize("seed", range(4))
def test_average_linkage_equals_its_definition(seed):
    random = np.random.default_rng(seed)
    labels = np.arange(1, 26).reshape(5, 5).repeat(2, 0).repeat(2, 1).astype(np.int32)
    offsets = [(-1, 0), (0, -1), (-3, 0), (0, -3), (-4, 4)]
    values = random.random((5, 10, 10), np.float32)
    graph = region_graph(labels, check_edges(values, offsets, None), range(5))
    found = agglomerate(labels, graph, threshold=0.5)
    expected = plain(labels, values, offsets, 0.5)
    assert found.max() == len(expected)
    for fragments in expected.values():
        assert len(np.unique(found[np.isin(labels, list(fragments))])) == 1


def test_far_affinities_part_what_an_erased_border_joins():
    labels = np.repeat(np.repeat([[1, 2]], 12, 1), 20, 0)
    offsets = [(-1, 0), (0, -1), (0, -5)]
    values = np.ones((3, *labels.shape), np.float32)
    values[1, :, 12] = 0.6
    values[2, :, 12:17] = 0.0
    cut = {"threshold": 0.1}
    assert waterz(values[:2], offsets[:2], watershed=cut).max() == 1
    assert np.array_equal(average_linkage(values, offsets, watershed=cut), labels)


def test_regions_that_do_not_touch_count_once_they_belong_to_some_that_do():
    graph = Regions(
        pairs=np.array([[1, 2], [1, 3], [2, 3]]),
        mean=np.array([0.9, 0.6, 0.3]),
        count=np.array([4.0, 4.0, 4.0]),
        highest=np.array([0.9, 0.6, 0.3]),
        touching=np.array([False, True, True]),
    )
    labels = np.array([[1, 2, 3]], np.int32)
    assert agglomerate(labels, graph, threshold=0.3).tolist() == [[1, 2, 3]]
    # 1 and 3 become one, whose affinity to 2 is then the mean of 0.9 and 0.3
    assert agglomerate(labels, graph, threshold=0.45).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("options", [{"threshold": 1.1}, {"quantile": 100}, {"bins": -1}])
def test_options_out_of_range_are_refused(image, options):
    labels, values = image
    graph = region_graph(labels, check_edges(values, NEAR, None))
    with pytest.raises(DataError, match=next(iter(options))):
        agglomerate(labels, graph, **options)
