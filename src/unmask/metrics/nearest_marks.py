"""Distance of many voxels to the nearest of many others, by a transform of the box around both.

A tree takes microseconds per voxel, and longer the farther the others are. The transform takes
nanoseconds per voxel of the box, wherever they are, and only evaluates what is asked for: distances
along the first axis for the box, the lower envelope of parabolas along the second for one plane at
a time (Maurer et al. 2003, doi:10.1109/TPAMI.2003.1177156), and a search along the third around the
voxels of the plane that are asked for. `scipy.ndimage.distance_transform_edt` takes four times as
long, because it keeps the nearest voxel of every voxel of the box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

# Larger than any axis, and adding the length of one keeps it in 32 bits.
_NEVER = 1 << 29


def measure_nearest(
    points: NDArray[np.int64], marks: NDArray[np.bool_], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Euclidean distance of every point to the nearest mark.

    Args:
        points: ``(n, axes)`` voxels of the box, ordered by the first axis.
        marks: the box, of one to three axes; at least one voxel is marked.
        sizes: of a voxel, per axis.
    """
    missing = 3 - marks.ndim
    # An axis of length 1 in the middle adds nothing to a sum of squares.
    shape = (*marks.shape[:-1], *(1,) * missing, marks.shape[-1])
    order = [*range(marks.ndim - 1), *(None,) * missing, marks.ndim - 1]
    places = np.zeros((len(points), 3), np.int64)
    lengths = np.ones(3)
    for axis, source in enumerate(order):
        if source is not None:
            places[:, axis], lengths[axis] = points[:, source], sizes[source]
    steps = _along_first(marks.reshape(shape[0], -1)).reshape(shape)
    return _from_planes(places, steps, lengths)


@njit(cache=True, nogil=True)
def _along_first(marks: np.ndarray) -> np.ndarray:
    """Voxels to the nearest mark in the same column; rows of the array are worked on as a whole."""
    steps = np.empty(marks.shape, np.int32)
    last = np.full(marks.shape[1], _NEVER, np.int32)
    for row in range(marks.shape[0]):
        for column in range(marks.shape[1]):
            last[column] = 0 if marks[row, column] else last[column] + 1
            steps[row, column] = last[column]
    last[:] = _NEVER
    for row in range(marks.shape[0] - 1, -1, -1):
        for column in range(marks.shape[1]):
            last[column] = 0 if marks[row, column] else last[column] + 1
            steps[row, column] = min(steps[row, column], last[column])
    return steps


@njit(cache=True, nogil=True)
def _from_planes(places: np.ndarray, steps: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Distance of each place, plane by plane."""
    found = np.empty(len(places))
    plane = np.empty(steps.shape[1:])
    seats = np.empty(steps.shape[1], np.int64)
    heights = np.empty(steps.shape[1])
    current = -1
    for number in range(len(places)):
        first, row, column = places[number]
        if first != current:
            current = first
            for line in range(plane.shape[1]):
                _envelope(steps[first], line, sizes, seats, heights, plane)
        squares = plane[row]
        best = squares[column]
        for step in range(1, squares.size):
            far = (step * sizes[2]) ** 2
            if far >= best:
                break
            if column >= step:
                best = min(best, squares[column - step] + far)
            if column + step < squares.size:
                best = min(best, squares[column + step] + far)
        found[number] = np.sqrt(best)
    return found


@njit(cache=True, nogil=True)
def _envelope(
    steps: np.ndarray,
    line: int,
    sizes: np.ndarray,
    seats: np.ndarray,
    heights: np.ndarray,
    plane: np.ndarray,
) -> None:
    """Squared distances in one line of a plane, from those along the first axis.

    A parabola with its lowest point at every marked voxel of the line; those that are nowhere the
    lowest are removed.
    """
    count, size = 0, sizes[1]
    for row in range(steps.shape[0]):
        if steps[row, line] >= _NEVER:
            continue
        height = (steps[row, line] * sizes[0]) ** 2
        while count >= 2:
            one, two = seats[count - 2], seats[count - 1]
            a, b, c = (two - one) * size, (row - two) * size, (row - one) * size
            inner = c * heights[count - 1] - b * heights[count - 2] - a * height
            if inner <= a * b * c:
                break
            count -= 1
        seats[count], heights[count] = row, height
        count += 1
    here = 0
    for row in range(steps.shape[0]):
        if count == 0:
            plane[row, line] = np.inf
            continue
        best = heights[here] + ((row - seats[here]) * size) ** 2
        while here + 1 < count:
            other = heights[here + 1] + ((row - seats[here + 1]) * size) ** 2
            if other > best:
                break
            here, best = here + 1, other
        plane[row, line] = best
