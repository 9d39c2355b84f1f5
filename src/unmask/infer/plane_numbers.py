"""Number the objects of a stack: separately, joined over slices, or tracked over time.

The planes are read one by one, so memory depends on the number of objects alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from unmask.labels.linking import Frame, Overlaps, link_largest, track_objects
from unmask.labels.stitch import number_pieces
from unmask.measurement.tracks import TrackTable

# Returns the predicted labels of the position with a number; ids start at 1 without gaps.
ReadPlane = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Positions:
    """The positions on the divided axes of a stack, in C order.

    Attributes:
        axes: letters of the divided axes, such as "T" or "TZ".
        counts: lengths of these axes.
        spacing: voxel size of the axes of space, those that are divided as well; None: unknown.
    """

    axes: str
    counts: tuple[int, ...]
    spacing: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return prod(self.counts)

    @property
    def times(self) -> list[list[int]]:
        """Numbers of the positions of each time point."""
        every = np.arange(len(self)).reshape(self.counts)
        return [part.ravel().tolist() for part in every] if "T" in self.axes else \
            [every.ravel().tolist()]  # fmt: skip

    def after(self, number: int) -> int | None:
        """Number of the next slice at the same time point; None for the last slice."""
        if "Z" not in self.axes or (number + 1) % self.counts[-1] == 0:
            return None
        return number + 1


@dataclass(frozen=True)
class Numbers:
    """Final numbers of the objects of all positions.

    Attributes:
        values: number of every object, in the order of positions and ids.
        offsets: index of the first object of each position in ``values``.
        tracks: tracks over time; None: objects were not tracked.
    """

    values: NDArray[np.int64]
    offsets: NDArray[np.int64]
    tracks: TrackTable | None = None

    def apply(self, labels: np.ndarray, position: int) -> np.ndarray:
        """The labels of a position with their final numbers."""
        first, last = self.offsets[position : position + 2]
        return np.concatenate([[0], self.values[first:last]])[labels]


def number_objects(
    positions: Positions, tops: Sequence[int], read: ReadPlane, *, join: bool
) -> Numbers:
    """Number the objects of all positions.

    Without ``join`` every object of every position has its own number, so that different objects
    never share one.

    Args:
        positions: positions of the stack.
        tops: number of objects of each position.
        read: returns the labels of a position.
        join: join objects of neighboring slices, and track objects over time.
    """
    offsets = np.concatenate([[0], np.cumsum(tops)]).astype(np.int64)
    values = np.arange(1, offsets[-1] + 1)
    if not join:
        return Numbers(values, offsets)
    if "Z" in positions.axes:
        values = number_pieces(_slice_pairs(positions, offsets, read), np.ones(offsets[-1], bool))
    if "T" not in positions.axes:
        return Numbers(values, offsets)
    objects = Numbers(values, offsets)
    frames = [_frame_of(positions, time, objects, read) for time in positions.times]
    overlaps = [_overlaps_of(positions, number, objects, read) for number in range(len(frames) - 1)]
    tracks = track_objects(frames, overlaps)
    table = TrackTable.of(frames, tracks)
    return Numbers(np.concatenate([[0], tracks.number])[values], offsets, table)


def _slice_pairs(positions: Positions, offsets: np.ndarray, read: ReadPlane) -> np.ndarray:
    """Pairs of objects of neighboring slices that are one object, as indices over all positions."""
    pairs = [np.zeros((0, 2), np.int64)]
    last: tuple[int, np.ndarray] | None = None
    for number in range(len(positions)):
        after = positions.after(number)
        if after is None:
            continue
        here = read(number) if last is None or last[0] != number else last[1]
        there = read(after)
        last = after, there
        found = link_largest(
            Overlaps.count(here, there), np.bincount(here.ravel()), np.bincount(there.ravel())
        )
        pairs.append(found - 1 + offsets[[number, after]])
    return np.concatenate(pairs)


def _frame_of(
    positions: Positions, time: Sequence[int], objects: Numbers, read: ReadPlane
) -> Frame:
    """The objects at one point in time: sizes and centers, added up over its slices."""
    own = objects.values[objects.offsets[time[0]] : objects.offsets[time[-1] + 1]]
    ids = np.unique(own)
    size = np.zeros(len(ids), np.int64)
    ndim, total = 0, np.zeros((len(ids), 0))
    for slice_number, number in enumerate(time):
        labels = objects.apply(read(number), number)
        along = np.nonzero(labels)
        place = np.searchsorted(ids, labels[along])
        counts = np.bincount(place, minlength=len(ids))
        size += counts
        moments = [counts * float(slice_number)] if "Z" in positions.axes else []
        moments += [np.bincount(place, weights=values, minlength=len(ids)) for values in along]
        if not ndim:
            ndim, total = len(moments), np.zeros((len(ids), len(moments)))
        total += np.stack(moments, axis=1)
    spacing = np.array(positions.spacing or (1.0,) * ndim)
    center = total / np.maximum(size, 1)[:, None] * spacing
    return Frame(ids, size, center, float(spacing.prod()))


def _overlaps_of(positions: Positions, time: int, objects: Numbers, read: ReadPlane) -> Overlaps:
    """Voxels that objects share with those at the next point in time."""
    parts = [
        Overlaps.count(objects.apply(read(here), here), objects.apply(read(there), there))
        for here, there in zip(positions.times[time], positions.times[time + 1], strict=True)
    ]
    return Overlaps.total(parts)
