"""Where the objects of a label image are: boxes, sizes and centroids in one pass, n axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit


@dataclass(frozen=True)
class Objects:
    """The ``n`` objects of a label image, by ascending id.

    Attributes:
        ids: ``(n,)`` int32.
        start: ``(n, ndim)`` first voxel of the box along every axis.
        stop: ``(n, ndim)`` one past the last voxel.
        size: ``(n,)`` voxels.
        mean: ``(n, ndim)`` centroid in voxels.
    """

    ids: NDArray[np.int32]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    size: NDArray[np.int64]
    mean: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, keep: np.ndarray) -> Objects:
        """The objects where ``keep`` (booleans or indices, one per object) says so."""
        return Objects(
            self.ids[keep], self.start[keep], self.stop[keep], self.size[keep], self.mean[keep]
        )


def find_objects(labels: NDArray[np.int32]) -> Objects:
    """Measure every object of a C-contiguous int32 label image (see ``relabel.compact``)."""
    lead = np.array(labels.shape[:-1], np.int64)
    count = (int(labels.max()) if labels.size else 0) + 1
    rows = labels.reshape(-1, labels.shape[-1]) if labels.size else np.zeros((0, 1), np.int32)
    start, stop, size, total = _scan(rows, lead, count)
    ids = np.flatnonzero(size[1:]) + 1
    mean = total[ids] / size[ids, None]
    return Objects(ids.astype(np.int32), start[ids], stop[ids], size[ids], mean)


def table(count: int, ids: np.ndarray, values: np.ndarray) -> NDArray[np.int32]:
    """Look-up table of ``count`` entries, zero but for ``values`` at ``ids``."""
    entries = np.zeros(count, np.int32)
    entries[ids] = values
    return entries


@njit(cache=True, nogil=True)
def _scan(
    rows: NDArray[np.int32], lead: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Box, size and sum of coordinates of ids 0 .. count - 1, run by run along the last axis."""
    ndim = len(lead) + 1
    start = np.full((count, ndim), np.iinfo(np.int64).max, np.int64)
    stop = np.zeros((count, ndim), np.int64)
    size = np.zeros(count, np.int64)
    total = np.zeros((count, ndim), np.float64)
    place = np.zeros(ndim, np.int64)
    width = rows.shape[1]
    for r in range(rows.shape[0]):
        rest = r
        for axis in range(ndim - 2, -1, -1):
            place[axis] = rest % lead[axis]
            rest //= lead[axis]
        row = rows[r]
        end = 0
        while end < width:
            begin = end
            value = row[begin]
            while end < width and row[end] == value:
                end += 1
            if value == 0:
                continue
            length = end - begin
            size[value] += length
            for axis in range(ndim - 1):
                start[value, axis] = min(start[value, axis], place[axis])
                stop[value, axis] = max(stop[value, axis], place[axis] + 1)
                total[value, axis] += place[axis] * length
            start[value, ndim - 1] = min(start[value, ndim - 1], begin)
            stop[value, ndim - 1] = max(stop[value, ndim - 1], end)
            total[value, ndim - 1] += 0.5 * (begin + end - 1) * length
    return start, stop, size, total
