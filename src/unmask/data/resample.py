"""Values of one grid at the voxels of another that covers the same box: linear, or by vote.

Voxels are areas, so a grid of fewer voxels along an axis has longer ones over the same extent, and
the way back ends on the very grid it began with. Values are interpolated linearly between voxel
centers, as is common for medical volumes (no filter against aliasing: at ratios up to about 2 it
would blur more than it saves).

Labels vote: a voxel takes the label whose own mask, interpolated, is largest there; what one mask a
label and argmax give, without the masks. Where a grid gets finer the masks are smoothed by a cubic
B-spline, which undoes the stairs that sampling has left (Unser 1999, doi:10.1109/79.799930), except
on what is thinner than two voxels and would fade: that goes by the nearest neighbor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.kernels import njit


@dataclass(frozen=True)
class Line:
    """Places along one axis.

    Attributes:
        index: ``(places, taps)`` the neighbors of each place.
        weight: ``(places, taps)`` their weights; their sum is 1.
        near: ``(places,)`` the nearest neighbor.
    """

    index: np.ndarray
    weight: np.ndarray
    near: np.ndarray

    @classmethod
    def between(
        cls,
        source: int,
        target: int,
        part: slice | None = None,
        *,
        smooth: bool = False,
        average: bool = False,
    ) -> Line:
        """Voxels ``part`` (all) of ``target`` ones among ``source`` ones over the same extent.

        Args:
            source: voxels that have values.
            target: voxels that get some.
            part: start and stop of those that are asked for.
            smooth: cubic B-spline in place of linear where the grid gets finer.
            average: where the grid gets coarser, weigh all voxels around a place by a triangle as
                wide as two of the new voxels, so that fine structure does not alias.
        """
        wanted = np.arange(target) if part is None else np.arange(part.start, part.stop)
        places = np.clip((wanted + 0.5) * (source / target) - 0.5, 0, source - 1)
        low = np.floor(places).astype(np.int64)
        t = places - low
        if smooth and target > source:
            steps = np.arange(-1, 3)
            inner = (3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1)
            weight = np.stack([(1 - t) ** 3, *inner, t**3], 1) / 6
        elif average and target < source:
            reach = source / target
            steps = np.arange(-int(reach), int(reach) + 2)
            # Places near the border are not clipped here: their voxel is not shifted inwards.
            places = (wanted + 0.5) * reach - 0.5
            low = np.floor(places).astype(np.int64)
            t = places - low
            weight = np.maximum(0.0, 1 - np.abs(steps - t[:, None]) / reach)
            beyond = (low[:, None] + steps < 0) | (low[:, None] + steps >= source)
            weight[beyond] = 0.0
            weight /= weight.sum(axis=1, keepdims=True)
        else:
            steps, weight = np.arange(2), np.stack([1 - t, t], 1)
        index = np.clip(low[:, None] + steps, 0, source - 1)
        return cls(index, weight, np.clip(low + (t >= 0.5), 0, source - 1))

    @property
    def bounds(self) -> tuple[int, int]:
        """Start and stop of what is needed of the source."""
        return int(self.index[0, 0]), int(self.index[-1, -1]) + 1

    def moved(self, offset: int) -> Line:
        """The same places in a source of which the first ``offset`` voxels are left out."""
        return Line(self.index - offset, self.weight, self.near - offset)


def interpolate(values: np.ndarray, lines: Sequence[Line]) -> np.ndarray:
    """Values ``(*space)`` at the places of ``lines``, linear, rounded where they are integers."""
    if values.dtype == bool:
        return interpolate(values.view(np.uint8), lines).view(bool)
    if values.dtype == np.float16:
        return interpolate(values.astype(np.float32), lines).astype(np.float16)
    rows, last = _rows(values.shape, lines), lines[-1]
    whole = values.dtype.kind in "iu"
    wide = values.dtype.itemsize > (2 if whole else 4)
    line = np.empty(values.shape[-1], np.float64 if wide else np.float32)
    result = np.empty((len(rows[0]), len(last.near)), values.dtype)
    source = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
    _linear(source, *rows[:2], last.index, last.weight, line, result, whole)
    return result.reshape([len(each.near) for each in lines])


def vote(labels: np.ndarray, lines: Sequence[Line]) -> np.ndarray:
    """Labels ``(*space)`` at the places of ``lines``: the label of the largest weight."""
    rows, last = _rows(labels.shape, lines), lines[-1]
    finer = any(line.index.shape[1] > 2 for line in lines)
    thin = ~_thick(labels) if finer else np.zeros((1,) * labels.ndim, bool)
    result = np.empty((len(rows[0]), len(last.near)), labels.dtype)
    source = np.ascontiguousarray(labels).reshape(-1, labels.shape[-1])
    thin = thin.reshape(-1, thin.shape[-1])
    _vote(source, *rows, last.index, last.weight, last.near, thin, result)
    return result.reshape([len(each.near) for each in lines])


def _rows(shape: Sequence[int], lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the source, along its last axis, for each row of the result.

    Returns:
        ``(rows, k)`` indices and weights of those around it, and ``(rows,)`` the nearest one.
    """
    index, weight, near = np.zeros((1, 1), np.int64), np.ones((1, 1)), np.zeros(1, np.int64)
    for length, line in zip(shape[:-1], lines[:-1], strict=True):
        count = len(index) * len(line.near), index.shape[1] * line.index.shape[1]
        index = (index[:, None, :, None] * length + line.index[None, :, None, :]).reshape(count)
        weight = (weight[:, None, :, None] * line.weight[None, :, None, :]).reshape(count)
        near = (near[:, None] * length + line.near[None]).reshape(-1)
    return index, weight, near


def _thick(labels: np.ndarray) -> np.ndarray:
    """Voxels in a cube of two voxels a side that has one label; axes of length 1 do not count."""
    even = np.ones(labels.shape, bool)
    sides = []
    for axis, length in enumerate(labels.shape):
        if length > 1:
            lead = (slice(None),) * axis
            here, there = (*lead, slice(None, -1)), (*lead, slice(1, None))
            sides.append((here, there))
            even[here] &= even[there]
            even[here] &= labels[here] == labels[there]
            even[(*lead, slice(-1, None))] = False
    for here, there in sides:
        # From the far end, so that a cube grows by one voxel per axis and no more.
        even[there] = even[there] | even[here]
    return even


@njit(cache=True, nogil=True)
def _linear(
    source: np.ndarray,
    index: np.ndarray,
    weight: np.ndarray,
    places: np.ndarray,
    parts: np.ndarray,
    line: np.ndarray,
    result: np.ndarray,
    whole: bool,  # noqa: FBT001
) -> None:
    """Rows of ``result``: a weighted sum of source rows in ``line``, then along it."""
    for row in range(index.shape[0]):
        line[:] = 0
        for corner in range(index.shape[1]):
            part = line.dtype.type(weight[row, corner])
            if part != 0:
                values = source[index[row, corner]]
                for place in range(line.size):
                    line[place] += part * values[place]
        for place in range(result.shape[1]):
            value = 0.0
            for tap in range(places.shape[1]):
                value += line[places[place, tap]] * parts[place, tap]
            result[row, place] = np.floor(value + 0.5) if whole else value


@njit(cache=True, nogil=True)
def _count_vote(name: int, vote: float, names: np.ndarray, votes: np.ndarray, count: int) -> int:
    """Add a vote to those for ``name``; the number of names after it."""
    seat = 0
    while seat < count and names[seat] != name:
        seat += 1
    if seat == count:
        names[seat], votes[seat] = name, 0.0
        count += 1
    votes[seat] += vote
    return count


@njit(cache=True, nogil=True)
def _vote(  # noqa: PLR0913 - a kernel takes arrays
    source: np.ndarray,
    index: np.ndarray,
    weight: np.ndarray,
    near_row: np.ndarray,
    places: np.ndarray,
    parts: np.ndarray,
    near: np.ndarray,
    thin: np.ndarray,
    result: np.ndarray,
) -> None:
    """Rows of ``result``; where all neighbors agree nothing is counted."""
    rows, taps = index.shape[1], places.shape[1]
    names = np.empty(rows * taps, source.dtype)
    votes = np.empty(rows * taps)
    even = np.empty(source.shape[1], np.bool_)
    for row in range(index.shape[0]):
        first = source[index[row, 0]]
        even[:] = True
        for corner in range(1, rows):
            other = source[index[row, corner]]
            for place in range(even.size):
                even[place] &= first[place] == other[place]
        for place in range(result.shape[1]):
            agreed = True
            for tap in range(taps):
                at = places[place, tap]
                agreed &= even[at] and first[at] == first[places[place, 0]]
            if agreed:
                result[row, place] = first[places[place, 0]]
                continue
            if thin.size > 1 and thin[near_row[row], near[place]]:
                result[row, place] = source[near_row[row], near[place]]
                continue
            count = 0
            for corner in range(rows):
                line = source[index[row, corner]]
                for tap in range(taps):
                    vote = parts[place, tap] * weight[row, corner]
                    count = _count_vote(line[places[place, tap]], vote, names, votes, count)
            result[row, place] = names[np.argmax(votes[:count])]
