"""Size, bounding box and sums of coordinates and of their products, n axes, as exact integers."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit


def axis_pairs(ndim: int) -> list[tuple[int, int]]:
    """Pairs of axes in the order of second moments.

    Examples:
        >>> axis_pairs(2)
        [(0, 0), (0, 1), (1, 1)]
    """
    return list(combinations_with_replacement(range(ndim), 2))


def covariance(
    size: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Covariance ``(k, n, n)`` of the voxel centers of every object.

    The difference of products is exact where it fits into 64 bits, so that symmetric objects have
    covariances of exactly 0, and float64 elsewhere.

    Args:
        size: ``(k,)`` voxels.
        first: ``(k, n)`` sums of coordinates, counted from any voxel close to the object.
        second: ``(k, n (n + 1) / 2)`` sums of products of coordinates.
    """
    count, ndim = first.shape
    found = np.empty((count, ndim, ndim))
    for column, (a, b) in enumerate(axis_pairs(ndim)):
        left, right, both = first[:, a], first[:, b], second[:, column]
        rough = size * both.astype(float) - left.astype(float) * right
        large = size * both.astype(float) + np.abs(left.astype(float) * right) >= 2.0**62
        exact = np.where(large, 0, size * both - left * right)
        found[:, a, b] = found[:, b, a] = np.where(large, rough, exact) / size.astype(float) ** 2
    return found


@njit(cache=True, nogil=True)
def scan(flat, padded, core, halo, count):  # pyright: ignore[reportMissingParameterType]
    """Sizes, boxes and moments of numbers below ``count``, run by run along the last axis.

    Coordinates count from the first voxel of the core. An object without voxels in the core has
    size 0, and a box that no minimum or maximum notices.
    """
    ndim = core.size
    size = np.zeros(count, np.int64)
    start = np.full((count, ndim), np.int64(2) ** 60, np.int64)
    stop = np.full((count, ndim), -(np.int64(2) ** 60), np.int64)
    first = np.zeros((count, ndim), np.int64)
    second = np.zeros((count, ndim * (ndim + 1) // 2), np.int64)
    place = np.zeros(ndim, np.int64)
    last, width, rows = ndim - 1, core[ndim - 1], 1
    for axis in range(last):
        rows *= core[axis]
    for r in range(rows):
        row = flat[_begin(r, padded, core, halo, place) :][:width]
        at = 0
        while at < width:
            begin, value = at, row[at]
            while at < width and row[at] == value:
                at += 1
            if value == 0:
                continue
            n = at - begin
            place[last] = begin
            line = n * (begin + at - 1) // 2
            size[value] += n
            column = 0
            for a in range(ndim):
                start[value, a] = min(start[value, a], place[a])
                stop[value, a] = max(stop[value, a], (at if a == last else place[a] + 1))
                first[value, a] += line if a == last else place[a] * n
                for b in range(a, ndim):
                    if a == last:
                        second[value, column] += _squares(at) - _squares(begin)
                    else:
                        second[value, column] += place[a] * (line if b == last else place[b] * n)
                    column += 1
    return size, start, stop, first, second


@njit(cache=True, nogil=True)
def _begin(r, padded, core, halo, place):  # pyright: ignore[reportMissingParameterType]
    """Flat index of the first core voxel of row ``r``; its coordinates go to ``place``."""
    ndim = core.size
    offset, stride, rest = halo, padded[ndim - 1], r
    for axis in range(ndim - 2, -1, -1):
        place[axis] = rest % core[axis]
        rest //= core[axis]
        offset += (place[axis] + halo) * stride
        stride *= padded[axis]
    return offset


@njit(cache=True, nogil=True)
def _squares(stop):  # pyright: ignore[reportMissingParameterType]
    """Sum of the squares of all whole numbers below ``stop``."""
    return (stop - 1) * stop * (2 * stop - 1) // 6
