"""Union-find with mutual exclusion: the kernel of the mutex watershed.

Which clusters exclude each other is kept twice: as pairs of roots in one hash set, which answers
whether two may be joined, and as a list at every root of the voxels on the other side, from which
the pairs of a joined cluster are written again, the shorter list first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

# Ranks are the bits of a single-precision number in [0, 1], sorted in two rounds.
_DIGIT = 15
_LOW = (1 << _DIGIT) - 1
# In place of a pair of roots.
_FREE = -1
# An edge: index of the first voxel, a bit that says that it parts, index of the second voxel.
_SHIFT = 32
_PARTS = 1 << 31
_INDEX = _PARTS - 1


def pack(
    first: NDArray[np.int32], second: NDArray[np.int32], parts: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Edges as one number each: flat indices of both voxels, and whether they part or join."""
    edges = second.astype(np.int64) << _SHIFT
    edges |= first
    edges[parts] |= _PARTS
    return edges


@njit(cache=True, nogil=True)
def sort_down(ranks: NDArray[np.int32], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """``edges`` by their ``ranks`` (0 .. 2^30), high to low; equal ones stay in their order."""
    order = np.empty(len(ranks), np.int32)
    starts = _starts(ranks, 0)
    for edge in range(len(ranks)):
        digit = _LOW - (ranks[edge] & _LOW)
        order[starts[digit]] = edge
        starts[digit] += 1
    # The second round moves the edges themselves: they are then read one after the other.
    result = np.empty_like(edges)
    starts = _starts(ranks, _DIGIT)
    for edge in order:
        digit = _LOW - (ranks[edge] >> _DIGIT)
        result[starts[digit]] = edges[edge]
        starts[digit] += 1
    return result


@njit(cache=True, nogil=True)
def _starts(ranks: NDArray[np.int32], shift: int) -> NDArray[np.int64]:
    """Where the edges of each digit begin, the highest digit first."""
    counts = np.zeros(_LOW + 2, np.int64)
    for rank in ranks:
        counts[_LOW - ((rank >> shift) & _LOW) + 1] += 1
    return np.cumsum(counts)


@njit(cache=True, nogil=True)
def find(parent: NDArray[np.int32], node: int) -> int:
    """Root of a node; halves the path on the way."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _slot(pairs: NDArray[np.int64], a: int, b: int) -> int:
    """Place of the pair in the hash set, or the free place it would take."""
    lower, upper = min(a, b), max(a, b)
    last = len(pairs) - 1
    key = (lower << 32) | upper
    place = ((lower * 0x2545F491) ^ (upper * 0x1B873593)) >> 5 & last
    while pairs[place] != _FREE and pairs[place] != key:
        place = (place + 1) & last
    return place


@njit(cache=True, nogil=True)
def _grown(pairs: NDArray[np.int64], parent: NDArray[np.int32]) -> tuple[NDArray[np.int64], int]:
    """A set with room for as many pairs again; pairs of former roots are left out."""
    alive = 0
    for key in pairs:
        if key != _FREE and parent[key >> 32] == key >> 32:
            upper = key & 0xFFFFFFFF
            alive += parent[upper] == upper
    size = len(pairs)
    while 4 * alive >= size:
        size *= 2
    larger = np.full(size, _FREE, np.int64)
    for key in pairs:
        lower, upper = key >> 32, key & 0xFFFFFFFF
        if key != _FREE and parent[lower] == lower and parent[upper] == upper:
            larger[_slot(larger, lower, upper)] = key
    return larger, alive


@njit(cache=True, nogil=True)
def _exclude(pairs: NDArray[np.int64], a: int, b: int) -> bool:
    """Add a pair of roots; whether it is new."""
    place = _slot(pairs, a, b)
    if pairs[place] != _FREE:
        return False
    pairs[place] = (np.int64(min(a, b)) << 32) | max(a, b)
    return True


@njit(cache=True, nogil=True)
def _append(lists, root, entry, other):  # pyright: ignore[reportMissingParameterType]
    """Put ``other`` as number ``entry`` at the end of the list of ``root``."""
    head, tail, length, beyond, follow = lists
    beyond[entry], follow[entry] = other, -1
    if tail[root] < 0:
        head[root] = entry
    else:
        follow[tail[root]] = entry
    tail[root] = entry
    length[root] += 1


@njit(cache=True, nogil=True)
def _join(lists, parent, into, gone, pairs, used):  # pyright: ignore[reportMissingParameterType]
    """Make one cluster of two; what excludes the second one now excludes the first."""
    head, tail, length, beyond, follow = lists
    parent[gone] = into
    if length[gone] == 0:
        return pairs, used
    entry = head[gone]
    while entry >= 0:
        if 2 * used >= len(pairs):
            pairs, used = _grown(pairs, parent)
        used += _exclude(pairs, into, find(parent, beyond[entry]))
        entry = follow[entry]
    if tail[into] < 0:
        head[into] = head[gone]
    else:
        follow[tail[into]] = head[gone]
    tail[into] = tail[gone]
    length[into] += length[gone]
    return pairs, used


@njit(cache=True, nogil=True)
def partition(edges: NDArray[np.int64], parting: int, count: int) -> NDArray[np.int32]:
    """Root of each of ``count`` voxels after visiting ``edges`` in order.

    Args:
        edges: ``(e,)`` flat indices of both voxels, see `pack`.
        parting: number of edges that make clusters exclude each other.
        count: number of voxels.
    """
    parent = np.arange(count).astype(np.int32)
    lists = (
        np.full(count, -1, np.int32),
        np.full(count, -1, np.int32),
        np.zeros(count, np.int32),
        np.empty(2 * parting, np.int32),
        np.empty(2 * parting, np.int32),
    )
    length = lists[2]
    pairs, used, entries = np.full(1 << 12, _FREE, np.int64), 0, 0
    for edge in edges:
        first, second = edge & _INDEX, edge >> _SHIFT
        a, b = find(parent, first), find(parent, second)
        if a == b:
            continue
        if edge & _PARTS:
            if 2 * used >= len(pairs):
                pairs, used = _grown(pairs, parent)
            if _exclude(pairs, a, b):
                used += 1
                _append(lists, a, entries, second)
                _append(lists, b, entries + 1, first)
                entries += 2
        elif length[a] == 0 or length[b] == 0 or pairs[_slot(pairs, a, b)] == _FREE:
            if length[a] < length[b]:
                a, b = b, a
            pairs, used = _join(lists, parent, a, b, pairs, used)
    for voxel in range(count):
        parent[voxel] = find(parent, voxel)
    return parent
