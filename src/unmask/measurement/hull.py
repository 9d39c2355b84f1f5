"""Number of voxels in the convex hull of every object, planes and volumes.

The hull is that of the centers of all voxel faces, and a voxel is inside if its center is, border
included, as in ``skimage.morphology.convex_hull_image``. The hull of a union is the hull of the
corners of the hulls of its pieces, so pieces of one object can be looked at one by one.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

# Rows of the boxes of objects that are held at a time, 16 bytes each.
_ROWS = 2**22
_TOLERANCE = 1e-10  # as in scikit-image, for voxel centers on a face of the hull


def convex_sizes(
    numbers: NDArray[np.int32], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Voxels in the hull of every object of ``numbers`` ``(*space)`` with the given boxes.

    Args:
        numbers: consecutive numbers, 0 background.
        start: ``(k, n)`` first voxel by number; an empty box gives 0.
        stop: ``(k, n)`` one past the last voxel.
    """
    return count_inside(*extreme_points(numbers, start, stop))


def count_inside(points: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Voxels in the hull of every group of points, as `extreme_points` returns them.

    Images with neither two nor three axes have no hull: all 0.
    """
    count = _COUNTS.get(points.shape[1])
    return np.zeros(len(bounds) - 1, np.int64) if count is None else count(points, bounds)


def extreme_points(
    numbers: NDArray[np.int32], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Voxels ``(m, n)`` with the hull of every object; those of number k are ``bounds[k:k + 2]``.

    Of every plane of the last two axes these are the corners of its hull.
    """
    lead = np.array(numbers.shape[:-1], np.int64)
    extent = np.maximum(stop - start, 0)[:, :-1]
    ends = np.cumsum(extent.prod(1))
    rows = np.ascontiguousarray(numbers).reshape(-1, numbers.shape[-1])
    points, bounds = [np.zeros((0, numbers.ndim), np.int64)], [np.zeros(1, np.int64)]
    first = 0
    while first < len(ends):
        # Ids that are scattered over the image have large boxes, so a few objects at a time.
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _ROWS, side="right")))
        offsets = np.concatenate([[0], ends[first:last] - before])
        low, high = _extremes(rows, lead, start[first:last], extent[first:last], offsets, first)
        found, limits = _corners(low, high, start[first:last], extent[first:last], offsets)
        points.append(found)
        bounds.append(limits[1:] + bounds[-1][-1])
        first = last
    return np.concatenate(points), np.concatenate(bounds)


def _in_volumes(points: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    # Here, because only volumes need it.
    from scipy.spatial import ConvexHull

    steps = np.concatenate([0.5 * np.eye(3), -0.5 * np.eye(3)])
    sizes = np.zeros(len(bounds) - 1, np.int64)
    for number, (begin, end) in enumerate(pairwise(bounds)):
        if end > begin:
            inside = points[begin:end] - points[begin:end].min(0)
            centers = (inside[:, None] + steps).reshape(-1, 3)
            sizes[number] = _count_volume(ConvexHull(centers).equations, inside.max(0) + 1)
    return sizes


@njit(cache=True, nogil=True)
def _extremes(rows, lead, start, extent, offsets, number):  # pyright: ignore[reportMissingParameterType]
    """First and last voxel of objects from ``number`` on in every row of their boxes.

    A row without voxels has low above high.
    """
    low = np.full(offsets[-1], np.int64(2) ** 60, np.int64)
    high = np.full(offsets[-1], -(np.int64(2) ** 60), np.int64)
    place = np.zeros(lead.size, np.int64)
    for r in range(rows.shape[0]):
        rest = r
        for axis in range(lead.size - 1, -1, -1):
            place[axis] = rest % lead[axis]
            rest //= lead[axis]
        row, at = rows[r], 0
        while at < row.size:
            begin, value = at, row[at]
            while at < row.size and row[at] == value:
                at += 1
            value -= number
            if value + number == 0 or value < 0 or value >= extent.shape[0]:
                continue
            index = 0
            for axis in range(lead.size):
                index = index * extent[value, axis] + place[axis] - start[value, axis]
            index += offsets[value]
            low[index] = min(low[index], begin)
            high[index] = max(high[index], at - 1)
    return low, high


@njit(cache=True, nogil=True)
def _envelope(values, stack):  # pyright: ignore[reportMissingParameterType]
    """Rows of the corners of the lower convex envelope of ``values`` by row; their number."""
    top = 0
    for y in range(values.size):
        if values[y] >= np.int64(2) ** 59:
            continue
        while top > 1:
            a, b = stack[top - 2], stack[top - 1]
            if (values[b] - values[a]) * (y - a) < (values[y] - values[a]) * (b - a):
                break
            top -= 1
        stack[top] = y
        top += 1
    return top


@njit(cache=True, nogil=True)
def _corners(low, high, start, extent, offsets):  # pyright: ignore[reportMissingParameterType]
    """Corners of the hull of every plane of every object, with all coordinates."""
    count, ndim = extent.shape[0], extent.shape[1] + 1
    points = np.empty((2 * low.size, ndim), np.int64)
    bounds = np.zeros(count + 1, np.int64)
    used = 0
    longest = 0
    for value in range(count):
        longest = max(longest, extent[value, ndim - 2])
    stack = np.empty(longest, np.int64)
    for value in range(count):
        height = extent[value, ndim - 2]
        planes = (offsets[value + 1] - offsets[value]) // max(height, 1)
        for plane in range(planes):
            begin = offsets[value] + plane * height
            for side in range(2):
                line = low[begin : begin + height] if side == 0 else -high[begin : begin + height]
                for k in range(_envelope(line, stack)):
                    points[used, ndim - 1] = line[stack[k]] if side == 0 else -line[stack[k]]
                    points[used, ndim - 2] = start[value, ndim - 2] + stack[k]
                    rest = plane
                    for axis in range(ndim - 3, -1, -1):
                        points[used, axis] = start[value, axis] + rest % extent[value, axis]
                        rest //= extent[value, axis]
                    used += 1
        bounds[value + 1] = used
    return points[:used].copy(), bounds


@njit(cache=True, nogil=True)
def _in_planes(points, bounds):  # pyright: ignore[reportMissingParameterType]
    """Pixels in the hull of every group, exact: twice the coordinates are whole numbers."""
    sizes = np.zeros(bounds.size - 1, np.int64)
    for number in range(sizes.size):
        begin, end = bounds[number], bounds[number + 1]
        if begin == end:
            continue
        first = points[begin:end, 0].min()
        height = points[begin:end, 0].max() - first + 1
        # The rows of the upper face, of the center and of the lower face of every pixel.
        left = np.full(2 * height + 1, np.int64(2) ** 60, np.int64)
        right = np.full(2 * height + 1, np.int64(2) ** 60, np.int64)
        for k in range(begin, end):
            for step in range(-1, 2):
                at = 2 * (points[k, 0] - first) + 1 + step
                left[at] = min(left[at], 2 * points[k, 1] - 1 + abs(step))
                right[at] = min(right[at], -2 * points[k, 1] - 1 + abs(step))
        sizes[number] = height - _bounds(left, height) - _bounds(right, height)
    return sizes


@njit(cache=True, nogil=True)
def _bounds(values, height):  # pyright: ignore[reportMissingParameterType]
    """Sum over rows of the smallest whole x with 2 x on or above the envelope of ``values``."""
    stack = np.empty(values.size, np.int64)
    _envelope(values, stack)
    total, k = 0, 0
    for y in range(height):
        at = 2 * y + 1
        while stack[k + 1] < at:
            k += 1
        a, b = stack[k], stack[k + 1]
        dividend = values[a] * (b - a) + (values[b] - values[a]) * (at - a)
        total -= -dividend // (2 * (b - a))
    return total


@njit(cache=True, nogil=True)
def _count_volume(equations, shape):  # pyright: ignore[reportMissingParameterType]
    """Whole positions below ``shape`` on the inner side of all planes, row by row."""
    total = 0
    for z in range(shape[0]):
        for y in range(shape[1]):
            begin, end = 0.0, shape[2] - 1.0
            for k in range(equations.shape[0]):
                slope = equations[k, 2]
                rest = equations[k, 0] * z + equations[k, 1] * y + equations[k, 3] - _TOLERANCE
                if slope > 0:
                    end = min(end, -rest / slope)
                elif slope < 0:
                    begin = max(begin, -rest / slope)
                elif rest > 0:
                    end = -1.0
            total += max(0, int(np.floor(end)) - int(np.ceil(begin)) + 1)
    return total


_COUNTS = {2: _in_planes, 3: _in_volumes}
