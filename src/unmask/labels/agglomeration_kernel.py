"""Contraction of a graph of regions in the order of its edges' affinities.

Each edge has one place in a queue. When two edges become one, the cheaper place stays and is
looked at again when its turn comes, as the joint affinity cannot be higher than the higher of both
(Nunez-Iglesias et al. 2013, doi:10.1371/journal.pone.0071715).
"""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

# Levels of the histograms of which quantiles are taken.
LEVELS = 256
# In place of a quantile.
MEAN = -1
# A place in the queue is a step of the score and a turn, which makes it unique. Steps of the exact
# order are those of single precision near 0.25.
_TURN_BITS = 34
_TURNS = (1 << _TURN_BITS) - 1
_FINE = 1 << 26
# In place of two regions.
_FREE = -1
# The stored score is right; it waits for being renewed; the edge is contracted or part of another.
_SCORED, _STALE, _GONE = 0, 1, 2


@njit(cache=True, nogil=True)
def contract(
    count: int,
    ends: NDArray[np.int64],
    statistics: tuple[
        NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]
    ],
    threshold: np.float32,
    quantile: int,
    bins: int,
) -> NDArray[np.int32]:
    """The region that each of the regions 0 .. count - 1 becomes a part of.

    Args:
        count: number of regions.
        ends: ``(e, 2)`` regions of every edge; overwritten.
        statistics: by edge its mean affinity, number of voxel edges, level of its highest affinity
            and whether it may be contracted; the first two are overwritten.
        threshold: edges with a score (one minus affinity) below are contracted.
        quantile: percent, or ``MEAN``.
        bins: steps of the queue; 0: exact order.
    """
    mean, number, level, touching = statistics
    edges = len(ends)
    chain = (np.full(edges, -1, np.int64), np.arange(edges), np.ones(edges, np.int64))
    lists = (
        np.full(count, -1, np.int64),
        np.full(2 * edges, -1, np.int64),
        np.zeros(count, np.int64),
    )
    table, used = np.full((2, _room(2 * edges)), _FREE, np.int64), edges
    scores, places = np.zeros(edges, np.float32), np.full(edges, -1, np.int64)
    state = np.full(edges, _SCORED, np.uint8)
    root, moved = np.arange(count), np.zeros(edges, np.int64)
    queue, owners = [np.int64(0) for _ in range(0)], [np.int64(0) for _ in range(0)]
    for edge in range(edges):
        _insert(table, ends[edge, 0], ends[edge, 1], edge)
        _attach(lists, ends[edge, 0], 2 * edge)
        _attach(lists, ends[edge, 1], 2 * edge + 1)
        scores[edge] = _score(edge, mean, level, chain, quantile)
        if touching[edge] and _counts(scores[edge], threshold, bins):
            places[edge] = _enter(edge, scores[edge], bins, queue, owners)
    while len(queue) > 0:
        edge = owners[queue[0] & _TURNS]
        # With bins an expensive edge may come before cheaper ones; waterz ends there, and so do we.
        if queue[0] == places[edge] and scores[edge] >= threshold:
            break
        if heappop(queue) != places[edge] or state[edge] == _GONE:
            continue
        again = 1
        if state[edge] == _STALE:
            moved[0] = edge
        else:
            used += min(lists[2][ends[edge, 0]], lists[2][ends[edge, 1]])
            if 2 * used >= table.shape[1]:
                table, used = _renew(ends, state)
                used += min(lists[2][ends[edge, 0]], lists[2][ends[edge, 1]])
            graph = (lists, chain, table)
            values = (mean, number, scores)
            again = _merge(edge, ends, values, touching, state, graph, root, moved)
        for each in moved[:again]:
            state[each] = _SCORED
            scores[each] = _score(each, mean, level, chain, quantile)
            places[each] = -1
            if _counts(scores[each], threshold, bins):
                places[each] = _enter(each, scores[each], bins, queue, owners)
    return _roots(root)


@njit(cache=True, nogil=True)
def _enter(edge, score, bins, queue, owners):  # pyright: ignore[reportMissingParameterType]
    """Put an edge into the queue: by its score, or by its bin, and then by turn; its place."""
    if bins > 0:
        step = min(max(np.int64(score * np.float32(bins)), 0), bins - 1)
    else:
        step = np.int64(np.float64(score) * _FINE)
    place = (step << _TURN_BITS) | len(owners)
    owners.append(np.int64(edge))
    heappush(queue, np.int64(place))
    return place


@njit(cache=True, nogil=True)
def _attach(
    lists: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], node: int, half: int
) -> None:
    """Put one end of an edge (twice its number, plus its side) into the list of a region."""
    first, follow, degree = lists
    follow[half] = first[node]
    first[node] = half
    degree[node] += 1


@njit(cache=True, nogil=True)
def _merge(edge, ends, values, touching, state, graph, root, moved):  # pyright: ignore[reportMissingParameterType]
    """Contract ``edge``; the number of edges in ``moved`` that need a new place at once."""
    mean, number, scores = values
    lists, chain, table = graph
    into, gone = ends[edge, 0], ends[edge, 1]
    if lists[2][gone] > lists[2][into]:
        into, gone = gone, into
    root[gone] = into
    state[edge] = _GONE
    again = 0
    half = lists[0][gone]
    while half >= 0:
        after = lists[1][half]
        other = half >> 1
        if state[other] != _GONE:
            beyond = ends[other, 1 - (half & 1)]
            ends[other, half & 1] = into
            slot = _slot(table, into, beyond)
            rival = table[1, slot]
            kept = other
            if rival >= 0:
                lost = rival
                if (touching[rival], scores[other]) > (touching[other], scores[rival]):
                    kept, lost = rival, other
                _absorb(kept, lost, mean, number, chain)
                state[lost] = _GONE
                state[kept] = _STALE
                lists[2][beyond] -= 1
                if touching[kept] and scores[lost] < scores[kept]:
                    moved[again] = kept
                    again += 1
            if kept == other:
                _insert(table, into, beyond, other)
                _attach(lists, into, half)
        half = after
    return again


@njit(cache=True, nogil=True)
def _roots(root: NDArray[np.int64]) -> NDArray[np.int32]:
    """Last region of every chain of contractions."""
    for node in range(len(root)):
        top = node
        while root[top] != top:
            top = root[top]
        at = node
        while root[at] != top:
            root[at], at = top, root[at]
    return root.astype(np.int32)


@njit(cache=True, nogil=True)
def _counts(score, threshold, bins):  # pyright: ignore[reportMissingParameterType]
    """Whether an edge needs a place: its score is below the threshold, or in the same bin."""
    if score < threshold:
        return True
    return bins > 0 and np.int64(score * np.float32(bins)) <= np.int64(threshold * np.float32(bins))


@njit(cache=True, nogil=True)
def _room(entries: int) -> int:
    """Smallest power of two above ``entries``, and at least 64."""
    size = 64
    while size <= entries:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _slot(table: NDArray[np.int64], a: int, b: int) -> int:
    """Column of two regions in a hash table of pairs and edges, or the free one they would take."""
    lower, upper = min(a, b), max(a, b)
    last = table.shape[1] - 1
    key = (lower << 32) | upper
    place = ((lower * 0x2545F491) ^ (upper * 0x1B873593)) >> 5 & last
    while table[0, place] != _FREE and table[0, place] != key:
        place = (place + 1) & last
    return place


@njit(cache=True, nogil=True)
def _insert(table: NDArray[np.int64], a: int, b: int, edge: int) -> None:
    """Make ``edge`` the one between two regions."""
    place = _slot(table, a, b)
    table[0, place] = (np.int64(min(a, b)) << 32) | max(a, b)
    table[1, place] = edge


@njit(cache=True, nogil=True)
def _renew(ends: NDArray[np.int64], state: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
    """A table of the edges that are left; those of regions that are gone fill the old one."""
    left = np.flatnonzero(state != _GONE)
    table = np.full((2, _room(4 * len(left))), _FREE, np.int64)
    for edge in left:
        _insert(table, ends[edge, 0], ends[edge, 1], edge)
    return table, len(left)


@njit(cache=True, nogil=True)
def _score(
    edge: int,
    mean: NDArray[np.float64],
    level: NDArray[np.int64],
    chain: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    quantile: int,
) -> np.float32:
    """One minus the affinity of an edge: its mean, or a quantile over the edges it is made of."""
    if quantile < 0:
        return np.float32(1.0) - np.float32(mean[edge])
    follow, _, members = chain
    histogram = np.zeros(LEVELS, np.int64)
    at = edge
    while at >= 0:
        histogram[level[at]] += 1
        at = follow[at]
    pivot = quantile * members[edge] // 100 + 1
    step = 0
    total = histogram[0]
    while total < pivot:
        step += 1
        total += histogram[step]
    return np.float32(1.0) - np.float32((step + 0.5) / LEVELS)


@njit(cache=True, nogil=True)
def _absorb(
    into: int,
    other: int,
    mean: NDArray[np.float64],
    count: NDArray[np.float64],
    chain: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> None:
    """Add the statistics of edge ``other`` to edge ``into``."""
    follow, last, members = chain
    total = count[into] + count[other]
    mean[into] = (mean[into] * count[into] + mean[other] * count[other]) / total
    count[into] = total
    follow[last[into]] = other
    last[into] = last[other]
    members[into] += members[other]
