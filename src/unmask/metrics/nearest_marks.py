"""Distance of many voxels to the nearest of many others, by a transform of the box around both.

A tree takes microseconds per voxel, and longer the farther the others are. Here distances along
the first axis are measured for the whole box, in nanoseconds per voxel. They turn the search for
the nearest mark into one around the voxel within its plane, in a disk that shrinks with every mark
found and that starts from the distance of the voxel before. If the marks of a plane are so far
that this looks at too much, the plane is transformed: the lower envelope of parabolas along the
second axis (Maurer et al. 2003, doi:10.1109/TPAMI.2003.1177156), and a search along the third.
`scipy.ndimage.distance_transform_edt` takes ten times as long, because it keeps the nearest voxel
of every voxel of the box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.metrics.bounded_distances import BoundedDistances
from unmask.space.box import Box

# Marks to look at for a voxel of the plane that cost as much as to transform it.
_LOOKS_PER_VOXEL = 20
# Voxels from one place of the lattice to the next.
_EVERY = 6


class Volume:
    """Marks of several codes in an array of up to three axes, and distances to them.

    Distances are measured exactly on a lattice first. The eight places of the lattice around a
    voxel bound its distance, on average to half a voxel.

    Args:
        marks: codes; 0 where there is no mark.
        sizes: of a voxel, per axis.
    """

    def __init__(self, marks: NDArray[np.unsignedinteger], sizes: NDArray[np.float64]) -> None:
        missing = max(0, 3 - marks.ndim)
        # An axis of length 1 in the middle adds nothing to a sum of squares.
        self._marks = marks.reshape(*marks.shape[:-1], *(1,) * missing, marks.shape[-1])
        self._sizes = np.array([*sizes[:-1], *(1.0,) * missing, sizes[-1]])
        self._scratch: NDArray[np.unsignedinteger] | None = None
        self._held: tuple[Box, int] | None = None

    def locate(
        self, places: NDArray[np.int64], others: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], Box]:
        """Positions ``(n, 3)`` of flat places, and the box around them and others."""
        shape = np.array(self._marks.shape)
        positions, start, stop = _locate(places, shape)
        _, first, last = _locate(others, shape)
        start, stop = np.minimum(start, first), np.maximum(stop, last)
        return positions, Box(tuple(start.tolist()), tuple(stop.tolist()))

    def measure(self, positions: NDArray[np.int32], box: Box, code: int) -> BoundedDistances:
        """Distances of positions, ordered by the axes, to the nearest mark in the box.

        Args:
            positions: of `locate`.
            box: holds them and at least one mark of the code.
            code: of the marks that count.
        """
        start = np.array(box.start)
        lattice = _measure_lattice(self._measure_steps(box, code), self._sizes, _EVERY)
        low, high = _bound(positions, start, lattice, self._sizes, _EVERY)

        def measure(numbers: NDArray[np.int64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
            steps = self._measure_steps(box, code)
            nearby = positions[numbers]
            return _from_planes(nearby, start, limits, steps, self._sizes, _LOOKS_PER_VOXEL)

        return BoundedDistances(low, high, measure)

    def _measure_steps(self, box: Box, code: int) -> NDArray[np.unsignedinteger]:
        """Voxels along the first axis to the nearest mark; the length of the box if none.

        The memory is kept, because it takes longer to get it than to fill it.
        """
        if self._scratch is None:
            length = self._marks.shape[0]
            dtype = np.uint16 if length < np.iinfo(np.uint16).max else np.uint32
            self._scratch = np.empty(self._marks.size, dtype)
        steps = self._scratch[: box.size].reshape(np.array(box.shape))
        if self._held != (box, code):
            self._held = box, code
            _along_first(self._marks, code, np.array(box.start), steps)
        return steps


@njit(cache=True, nogil=True)
def _locate(places: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, their least ones and one more than their largest ones."""
    found = np.empty((len(places), 3), np.int32)
    rows, columns = np.uint32(shape[1]), np.uint32(shape[2])
    start, stop = shape.copy(), np.zeros(3, np.int64)
    for number in range(len(places)):
        place = np.uint64(places[number])
        line = place // columns
        found[number, 0] = line // rows
        found[number, 1] = line % rows
        found[number, 2] = place % columns
        for axis in range(3):
            start[axis] = min(start[axis], found[number, axis])
            stop[axis] = max(stop[axis], found[number, axis] + 1)
    return found, start, stop


@njit(cache=True, nogil=True)
def _measure_lattice(steps: np.ndarray, sizes: np.ndarray, every: int) -> np.ndarray:
    """Distances of some places per axis, from those along the first axis."""
    length, rows, columns = steps.shape
    counts = ((length - 1) // every + 1, (rows - 1) // every + 1, (columns - 1) // every + 1)
    found = np.empty(counts)
    squares = np.empty((counts[1], columns))
    for first in range(counts[0]):
        _transform(steps[first * every], length, sizes, every, squares)
        for row in range(counts[1]):
            for column in range(counts[2]):
                best = _search_row(squares, row, column * every, columns, sizes[2])
                found[first, row, column] = np.sqrt(best)
    return found


@njit(cache=True, nogil=True)
def _bound(
    positions: np.ndarray, start: np.ndarray, lattice: np.ndarray, sizes: np.ndarray, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of distances, by the places of a lattice around each position."""
    low, high = np.empty(len(positions)), np.empty(len(positions), np.float32)
    near, squares = np.empty((3, 2), np.int64), np.empty((3, 2))
    for number in range(len(positions)):
        for axis in range(3):
            place = positions[number, axis] - start[axis]
            for side in range(2):
                near[axis, side] = min(place // every + side, lattice.shape[axis] - 1)
                squares[axis, side] = ((place - near[axis, side] * every) * sizes[axis]) ** 2
        below, above = 0.0, np.inf
        for a in range(2):
            for b in range(2):
                for c in range(2):
                    known = lattice[near[0, a], near[1, b], near[2, c]]
                    gap = np.sqrt(squares[0, a] + squares[1, b] + squares[2, c])
                    below = max(below, known - gap)
                    above = min(above, known + gap)
        # Rounding must not turn a bound into a wrong one.
        low[number], high[number] = below * (1 - 1e-6), above * (1 + 1e-6)
    return low, high


@njit(cache=True, nogil=True)
def _along_first(marks: np.ndarray, code: int, start: np.ndarray, steps: np.ndarray) -> None:
    """Forward and backward along the first axis, for one row of the last at a time."""
    length, rows, columns = steps.shape
    never = steps.dtype.type(length)
    one, none = steps.dtype.type(1), steps.dtype.type(0)
    last = np.empty(columns, steps.dtype)
    for row in range(rows):
        last[:] = never
        for plane in range(length):
            line = steps[plane, row]
            marked = marks[plane + start[0], row + start[1], start[2] : start[2] + columns]
            for column in range(columns):
                value = min(last[column] + one, never)
                last[column] = none if marked[column] == code else value
                line[column] = last[column]
        last[:] = never
        for plane in range(length - 1, -1, -1):
            line = steps[plane, row]
            for column in range(columns):
                last[column] = min(last[column] + one, line[column])
                line[column] = last[column]


@njit(cache=True, nogil=True)
def _from_planes(
    positions: np.ndarray,
    start: np.ndarray,
    limits: np.ndarray,
    steps: np.ndarray,
    sizes: np.ndarray,
    patience: int,
) -> np.ndarray:
    """Distance of each position, plane by plane; ``patience`` as `_LOOKS_PER_VOXEL`."""
    length, rows, columns = steps.shape
    found = np.empty(len(positions))
    squares = np.empty((rows, columns + 3))
    squares[:, columns:] = np.inf
    across = (np.arange(-columns, columns + 3) * sizes[2]) ** 2
    current, budget, transformed = -1, 0, False
    for number in range(len(positions)):
        first, row, column = positions[number] - start
        limit = limits[number] ** 2
        if first != current:
            current, transformed = first, False
            budget = patience * rows * columns
            _square(steps[first], length, sizes[0], squares)
        else:
            before = positions[number - 1] - start
            gap = ((row - before[1]) * sizes[1]) ** 2 + ((column - before[2]) * sizes[2]) ** 2
            limit = min(limit, (found[number - 1] + np.sqrt(gap)) ** 2)
        if budget < 0 and not transformed:
            transformed = True
            _transform(steps[first], length, sizes, 1, squares)
        if transformed:
            best = _search_row(squares, row, column, columns, sizes[2])
        else:
            best, looks = _search_disk(squares, row, column, limit, across, sizes)
            budget -= looks
        found[number] = np.sqrt(best)
    return found


@njit(cache=True, nogil=True)
def _square(steps: np.ndarray, never: int, size: float, squares: np.ndarray) -> None:
    """Squared distances along the first axis, in one plane."""
    for row in range(steps.shape[0]):
        for column in range(steps.shape[1]):
            step = steps[row, column]
            squares[row, column] = (step * size) ** 2 if step < never else np.inf


@njit(cache=True, nogil=True)
def _search_disk(
    squares: np.ndarray,
    row: int,
    column: int,
    limit: float,
    across: np.ndarray,
    sizes: np.ndarray,
) -> tuple[float, int]:
    """Least squared distance around a place of a plane, and how many voxels were looked at.

    Args:
        squares: squared distances along the first axis, three infinite columns added.
        row: of the place.
        column: of the place.
        limit: no less than the squared distance, but for rounding.
        across: squared distances along the last axis, from one length back to one ahead.
        sizes: of a voxel, per axis.
    """
    rows, width = squares.shape
    columns = width - 3
    flat = squares.reshape(-1)
    best, looks = squares[row, column], 0
    limit = min(best, limit * (1 + 1e-9))
    for step in range(max(row, rows - 1 - row) + 1):
        down = (step * sizes[1]) ** 2
        if down > limit:
            break
        reach = columns
        if limit < np.inf:
            reach = min(columns, int(np.sqrt(limit - down) / sizes[2]) + 1)
        start, stop = max(0, column - reach), min(columns, column + reach + 1)
        for side in range(2 if step else 1):
            other = row + step if side else row - step
            if 0 <= other < rows:
                begin, shift = other * width + start, start - column + columns
                best = min(best, _least(flat, begin, across, shift, stop - start) + down)
                looks += stop - start + 8
        limit = min(limit, best)
    return best, looks


@njit(cache=True, nogil=True)
def _least(squares: np.ndarray, begin: int, across: np.ndarray, shift: int, count: int) -> float:
    """Least sum of two lines; up to three more voxels may count.

    Four minima at a time, because each waits for the one before. Unsigned indices need no check
    for negative ones.
    """
    a = b = c = d = np.inf
    here, there = np.uint64(begin), np.uint64(shift)
    for _ in range(0, count, 4):
        w = squares[here] + across[there]
        x = squares[here + np.uint64(1)] + across[there + np.uint64(1)]
        y = squares[here + np.uint64(2)] + across[there + np.uint64(2)]
        z = squares[here + np.uint64(3)] + across[there + np.uint64(3)]
        a, b = w if w < a else a, x if x < b else b
        c, d = y if y < c else c, z if z < d else d
        here += np.uint64(4)
        there += np.uint64(4)
    return min(min(a, b), min(c, d))


@njit(cache=True, nogil=True)
def _transform(
    steps: np.ndarray, never: int, sizes: np.ndarray, every: int, squares: np.ndarray
) -> None:
    """Squared distances in some rows of a plane, from those along the first axis."""
    seats = np.empty(steps.shape[0], np.int64)
    heights = np.empty(steps.shape[0])
    for line in range(steps.shape[1]):
        count = _envelope(steps[:, line], never, sizes, seats, heights)
        _evaluate(seats[:count], heights[:count], sizes[1], every, squares[:, line])


@njit(cache=True, nogil=True)
def _search_row(squares: np.ndarray, row: int, column: int, columns: int, size: float) -> float:
    """Least squared distance to the voxels of a row of a transformed plane."""
    best = squares[row, column]
    for step in range(1, columns):
        far = (step * size) ** 2
        if far >= best:
            break
        if column >= step:
            best = min(best, squares[row, column - step] + far)
        if column + step < columns:
            best = min(best, squares[row, column + step] + far)
    return best


@njit(cache=True, nogil=True)
def _envelope(
    line: np.ndarray, never: int, sizes: np.ndarray, seats: np.ndarray, heights: np.ndarray
) -> int:
    """Find the parabolas that are the lowest somewhere in one line of a plane.

    There is one with its lowest point at every marked voxel of the line. Their places and heights
    are written to the arrays; their number is returned.
    """
    count, size = 0, sizes[1]
    for row in range(line.size):
        if line[row] >= never:
            continue
        height = (line[row] * sizes[0]) ** 2
        while count >= 2:
            one, two = seats[count - 2], seats[count - 1]
            a, b, c = (two - one) * size, (row - two) * size, (row - one) * size
            inner = c * heights[count - 1] - b * heights[count - 2] - a * height
            if inner <= a * b * c:
                break
            count -= 1
        seats[count], heights[count] = row, height
        count += 1
    return count


@njit(cache=True, nogil=True)
def _evaluate(
    seats: np.ndarray, heights: np.ndarray, size: float, every: int, squares: np.ndarray
) -> None:
    """Squared distances at some voxels of a line, of the lowest parabola there."""
    here = 0
    for number in range(squares.size):
        if seats.size == 0:
            squares[number] = np.inf
            continue
        row = number * every
        best = heights[here] + ((row - seats[here]) * size) ** 2
        while here + 1 < seats.size:
            other = heights[here + 1] + ((row - seats[here + 1]) * size) ** 2
            if other > best:
                break
            here, best = here + 1, other
        squares[number] = best
