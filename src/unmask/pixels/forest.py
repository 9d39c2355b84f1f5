"""A random forest (Breiman 2001, doi:10.1023/A:1010933404324), grown and read by compiled kernels.

scikit-learn has one too, but it is not needed for anything else here, and its trees are Python
objects that a model file cannot hold: these are four arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from unmask.kernels import njit

# Thresholds per feature: quantiles of the labeled pixels.
_BINS = 64


@dataclass(frozen=True)
class Forest:
    """Trees of equal length; unused nodes are leaves that nothing reaches.

    Attributes:
        feature: that each node asks for; -1: a leaf.
        threshold: features at most as large go left.
        left: number of the left child; the right child follows it.
        shares: share of every class in a node.
    """

    feature: Int32[np.ndarray, "t n"]
    threshold: Float32[np.ndarray, "t n"]
    left: Int32[np.ndarray, "t n"]
    shares: Float32[np.ndarray, "t n k"]


def grow_forest(
    features: Float32[np.ndarray, "m d"],
    classes: Int64[np.ndarray, " m"],
    *,
    count: int,
    trees: int,
    rng: np.random.Generator,
    leaf: int = 1,
) -> Forest:
    """Grow trees on bootstrap samples, with the square root of all features tried per node.

    Args:
        features: of labeled pixels.
        classes: 0 .. ``count`` - 1.
        count: number of classes.
        trees: number of trees.
        rng: draws samples and features.
        leaf: fewest pixels of a leaf.
    """
    edges = _edges(features)
    binned = _bin(features, edges)
    size = len(features)
    most = 2 * max(1, size // max(1, leaf)) + 1
    tried = max(1, round(features.shape[1] ** 0.5))
    nodes = np.full((trees, most, 3), -1, np.int32)
    shares = np.zeros((trees, most, count), np.float32)
    seeds = rng.integers(0, 2**31 - 1, trees)
    used = 1
    for tree in range(trees):
        rows = rng.integers(0, size, size)
        grown = _grow(
            binned[rows], classes[rows], tried, leaf, int(seeds[tree]), nodes[tree], shares[tree]
        )
        used = max(used, grown)
    feature, cut, left = (np.ascontiguousarray(nodes[:, :used, column]) for column in range(3))
    threshold = edges[np.maximum(feature, 0), np.maximum(cut, 0)].astype(np.float32)
    return Forest(feature, threshold, left, np.ascontiguousarray(shares[:, :used]))


def forest_shares(
    forest: Forest, features: Float32[np.ndarray, "m d"]
) -> Float32[np.ndarray, "m k"]:
    """Mean share of every class over the trees."""
    result = np.zeros((len(features), forest.shares.shape[2]), np.float32)
    _read(
        np.ascontiguousarray(features),
        np.ascontiguousarray(forest.feature),
        np.ascontiguousarray(forest.threshold),
        np.ascontiguousarray(forest.left),
        np.ascontiguousarray(forest.shares),
        result,
    )
    return result


def _edges(features: np.ndarray) -> np.ndarray:
    """Quantiles per feature, halfway between values so that a copy of a pixel goes its way."""
    order = np.sort(features, axis=0)
    middles = (order[1:] + order[:-1]) / 2 if len(order) > 1 else order
    places = np.linspace(0, len(middles) - 1, _BINS).round().astype(int)
    return np.ascontiguousarray(middles[places].T.astype(np.float32))


def _bin(features: np.ndarray, edges: np.ndarray) -> UInt8[np.ndarray, "m d"]:
    columns = [
        np.searchsorted(edges[number], features[:, number], side="left")
        for number in range(features.shape[1])
    ]
    return np.stack(columns, axis=1).astype(np.uint8)


@njit(cache=True, nogil=True)
def _grow(
    binned: np.ndarray,
    classes: np.ndarray,
    tried: int,
    leaf: int,
    seed: int,
    nodes: np.ndarray,
    shares: np.ndarray,
) -> int:
    """Grow one tree; returns its number of nodes, of which each has feature, bin and left child."""
    np.random.seed(seed)  # noqa: NPY002 - the generator of the kernel, not of the process
    size, width = binned.shape
    count = shares.shape[1]
    order, candidates = np.arange(size), np.arange(width)
    first, last = np.zeros(len(nodes), np.int64), np.zeros(len(nodes), np.int64)
    last[0] = size
    total = np.zeros(count, np.float64)
    made, node = 1, 0
    while node < made:
        start, stop = first[node], last[node]
        total[:] = 0
        for i in range(start, stop):
            total[classes[order[i]]] += 1
        pure = False
        for k in range(count):
            shares[node, k] = total[k] / (stop - start)
            pure = pure or total[k] == stop - start
        if not pure and stop - start >= 2 * leaf:
            best, where = _split(binned, classes, order[start:stop], total, tried, leaf, candidates)
            if best >= 0:
                middle = _partition(binned, best, order, start, stop, where)
                nodes[node, 0], nodes[node, 1], nodes[node, 2] = best, where, made
                first[made], last[made] = start, middle
                first[made + 1], last[made + 1] = middle, stop
                made += 2
        node += 1
    return made


@njit(cache=True, nogil=True)
def _split(
    binned: np.ndarray,
    classes: np.ndarray,
    rows: np.ndarray,
    total: np.ndarray,
    tried: int,
    leaf: int,
    candidates: np.ndarray,
) -> tuple[int, int]:
    """Feature and bin of the split of lowest Gini impurity among a few random features."""
    count, size, width = len(total), len(rows), len(candidates)
    quality = 0.0
    for k in range(count):
        quality += total[k] * total[k] / size
    best, where, seen = -1, 0, 0
    histogram = np.zeros((_BINS + 1, count), np.float64)
    below = np.zeros(count, np.float64)
    for draw in range(width):
        other = draw + np.random.randint(width - draw)  # noqa: NPY002
        chosen = candidates[other]
        candidates[other], candidates[draw] = candidates[draw], chosen
        low, high = _fill(histogram, binned, classes, rows, chosen)
        below[:] = 0
        number, varies = 0.0, False
        # Small nodes span few bins, and most nodes are small.
        for value in range(low, high):
            for k in range(count):
                below[k] += histogram[value, k]
                number += histogram[value, k]
            if number < leaf or size - number < leaf:
                continue
            varies = True
            gained = 0.0
            for k in range(count):
                above = total[k] - below[k]
                gained += below[k] * below[k] / number + above * above / (size - number)
            if gained > quality + 1e-9:
                best, where, quality = chosen, value, gained
        # Features that are constant here do not count among those that are tried.
        seen += 1 if varies else 0
        if seen >= tried and best >= 0:
            break
    return best, where


@njit(cache=True, nogil=True)
def _fill(
    histogram: np.ndarray,
    binned: np.ndarray,
    classes: np.ndarray,
    rows: np.ndarray,
    chosen: int,
) -> tuple[int, int]:
    """Count rows per bin and class; returns the first and the last bin with any."""
    low, high = _BINS, 0
    for row in rows:
        low = min(low, int(binned[row, chosen]))
        high = max(high, int(binned[row, chosen]))
    for value in range(low, high + 1):
        for k in range(histogram.shape[1]):
            histogram[value, k] = 0
    for row in rows:
        histogram[binned[row, chosen], classes[row]] += 1
    return low, high


@njit(cache=True, nogil=True)
def _partition(
    binned: np.ndarray, chosen: int, order: np.ndarray, start: int, stop: int, where: int
) -> int:
    """Bring the rows of the left child to the front; returns the first one of the right child."""
    low, high = start, stop
    while low < high:
        if binned[order[low], chosen] <= where:
            low += 1
        else:
            high -= 1
            kept = order[low]
            order[low] = order[high]
            order[high] = kept
    return low


@njit(cache=True, nogil=True)
def _read(
    features: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    left: np.ndarray,
    shares: np.ndarray,
    result: np.ndarray,
) -> None:
    trees, count = feature.shape[0], shares.shape[2]
    block = 256
    # A tree stays in the cache of the processor while it is asked for a block of pixels.
    for begin in range(0, len(features), block):
        end = min(begin + block, len(features))
        for tree in range(trees):
            for row in range(begin, end):
                node = 0
                while feature[tree, node] >= 0:
                    right = features[row, feature[tree, node]] > threshold[tree, node]
                    node = left[tree, node] + (1 if right else 0)
                for k in range(count):
                    result[row, k] += shares[tree, node, k] / trees
