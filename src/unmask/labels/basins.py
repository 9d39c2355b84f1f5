"""Watershed basins of an affinity graph (Zlateski and Seung 2015, arXiv:1505.00249), n axes.

Every voxel points to the neighbors that it shares its highest affinity with. Voxels that lead to
the same maximum are one basin. No boundary map is made, so borders of one voxel, or of none, are
kept: this is the way to fragments that waterz itself goes. Our own kernel: waterz writes to the
output of the process and knows three axes only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.labels.edges import Edges, inside
from unmask.labels.relabeling import relabel

# Directions take two bits for each axis; images have far fewer axes than that leaves.
_VISITED = np.uint32(1 << 31)


def basins(
    edges: Edges, *, low: float = 1e-4, high: float = 0.9999, per_slice: bool = False
) -> NDArray[np.int32]:
    """Basins of the affinities to face neighbors.

    Args:
        edges: affinities; only those to face neighbors count.
        low: voxels without a higher affinity are background.
        high: neighbors with at least this affinity are always in one basin.
        per_slice: leave out edges along the slowest axis.

    Returns:
        ``(*space)`` int32 from 1; 0 is background.
    """
    space = edges.space
    values = np.full((len(space), *space), np.float32(low), np.float32)
    for axis in range(1 if per_slice and len(space) > 1 else 0, len(space)):
        values[axis] = _backward(edges, axis, low)
    lengths = np.array(space, np.int64)
    strides = np.append(np.cumprod(lengths[:0:-1])[::-1], 1).astype(np.int64)
    points = np.zeros(values[0].size, np.uint32)
    flat = values.reshape(len(space), -1)
    _point(flat, lengths, strides, (np.float32(low), np.float32(high)), points)
    _drain(strides, points)
    return relabel(_gather(strides, points).reshape(space))


def _backward(edges: Edges, axis: int, low: float) -> NDArray[np.float32]:
    """Affinity of every voxel and the one before it along an axis; ``low`` without one."""
    space = edges.space
    unit = tuple(int(a == axis) for a in range(len(space)))
    back = tuple(-step for step in unit)
    found = np.full(space, np.float32(low), np.float32)
    before = tuple(slice(0, n - s) for n, s in zip(space, unit, strict=True))
    behind = tuple(slice(s, n) for n, s in zip(space, unit, strict=True))
    total, count = np.zeros_like(found[behind]), 0
    for channel in edges.near:
        offset = edges.offsets[channel]
        if offset in (unit, back) and inside(offset, space):
            # Channels in both directions say the same of one edge.
            total += edges.values[channel][before if offset == unit else behind]
            count += 1
    if count:
        found[behind] = total / np.float32(count)
        if edges.foreground is not None:
            both = edges.foreground[before] & edges.foreground[behind]
            found[behind][~both] = np.float32(low)
    return found


@njit(cache=True, nogil=True)
def _point(
    values: NDArray[np.float32],
    lengths: NDArray[np.int64],
    strides: NDArray[np.int64],
    limits: tuple[np.float32, np.float32],
    points: NDArray[np.uint32],
) -> None:
    """Bits of the directions that each voxel points in: first back, then forth along all axes."""
    low, high = limits
    ndim = len(lengths)
    around = np.zeros(2 * ndim, np.float32)
    for i in range(len(points)):
        most = low
        for axis in range(ndim):
            at = i // strides[axis] % lengths[axis]
            around[axis] = values[axis, i] if at > 0 else low
            ahead = at + 1 < lengths[axis]
            around[ndim + axis] = values[axis, i + strides[axis]] if ahead else low
            most = max(most, around[axis], around[ndim + axis])
        if most > low:
            for side in range(2 * ndim):
                if around[side] == most or around[side] >= high:
                    points[i] |= np.uint32(1 << side)


@njit(cache=True, nogil=True)
def _step(strides: NDArray[np.int64], side: int) -> tuple[int, int]:
    """Distance to the neighbor in a direction, and the opposite direction."""
    ndim = len(strides)
    if side < ndim:
        return -strides[side], side + ndim
    return strides[side - ndim], side - ndim


@njit(cache=True, nogil=True)
def _drain(strides: NDArray[np.int64], points: NDArray[np.uint32]) -> None:
    """Let plateaus lead to their exits: a voxel that points one way keeps only that way.

    Voxels of a plateau are taken in the order of their distance to an exit.
    """
    sides = 2 * len(strides)
    queue = np.zeros(len(points), np.int64)
    last = 0
    for i in range(len(points)):
        for side in range(sides):
            if points[i] & np.uint32(1 << side):
                step, back = _step(strides, side)
                if not points[i + step] & np.uint32(1 << back):
                    points[i] |= _VISITED
                    queue[last] = i
                    last += 1
                    break
    first = 0
    while first < last:
        i = queue[first]
        first += 1
        way = np.uint32(0)
        for side in range(sides):
            if points[i] & np.uint32(1 << side):
                step, back = _step(strides, side)
                there = i + step
                if points[there] & np.uint32(1 << back):
                    if not points[there] & _VISITED:
                        points[there] |= _VISITED
                        queue[last] = there
                        last += 1
                else:
                    way = np.uint32(1 << side)
        points[i] = way | _VISITED


@njit(cache=True, nogil=True)
def _gather(strides: NDArray[np.int64], points: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Voxels that point to one another are one basin, named by its first voxel (from 1)."""
    parent = np.arange(len(points)).astype(np.int32)
    for i in range(len(points)):
        for side in range(2 * len(strides)):
            if points[i] & np.uint32(1 << side):
                a, b = i, i + _step(strides, side)[0]
                while parent[a] != a:
                    parent[a] = parent[parent[a]]
                    a = parent[a]
                while parent[b] != b:
                    parent[b] = parent[parent[b]]
                    b = parent[b]
                parent[max(a, b)] = min(a, b)
    for i in range(len(points)):
        parent[i] = parent[parent[i]]
    for i in range(len(points)):
        parent[i] = parent[i] + 1 if points[i] & ~_VISITED else 0
    return parent
