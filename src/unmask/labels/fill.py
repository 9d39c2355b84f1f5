"""Fill the holes of every object of a label image, n axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.labels.diffusion import box_strides, row_count, row_start
from unmask.labels.objects import Objects, find_objects
from unmask.labels.relabeling import compact

_FREE, _WALL, _OUTSIDE = 0, 1, 2


def fill_holes(labels: np.ndarray) -> NDArray[np.int32]:
    """Give background that one object encloses to that object.

    A hole is background that no path over voxel faces joins with the outside of the object's box;
    other objects inside a hole stay what they are. Of nested objects the one with the higher id
    fills what is still background after the lower ones.

    Args:
        labels: ``(*space)`` integer ids, 0 is background.

    Returns:
        ``(*space)`` int32, a new array; ids that do not fit are renumbered (see ``relabel``).
    """
    filled = compact(labels).copy()
    fill_boxes(filled, find_objects(filled))
    return filled


def fill_boxes(labels: NDArray[np.int32], objects: Objects) -> None:
    """Fill the holes of ``objects`` in place."""
    boxes = np.stack([objects.start, objects.stop], 1)
    _fill(labels.reshape(-1), np.array(labels.shape, np.int64), objects.ids, boxes)


@njit(cache=True, nogil=True)
def _flood(state: NDArray[np.uint8], strides: NDArray[np.int64], stack: NDArray[np.int64]) -> None:
    """Mark the voxels that are joined with the first one by faces, without crossing a wall."""
    state[0] = _OUTSIDE
    stack[0] = 0
    waiting = 1
    while waiting:
        waiting -= 1
        here = stack[waiting]
        for axis in range(len(strides)):
            for side in (-1, 1):
                there = here + side * strides[axis]
                # The box is padded: steps over its edge lead along its empty border.
                if 0 <= there < len(state) and state[there] == _FREE:
                    state[there] = _OUTSIDE
                    stack[waiting] = there
                    waiting += 1


@njit(cache=True, nogil=True)
def _fill(
    labels: NDArray[np.int32],
    shape: NDArray[np.int64],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int64],
) -> None:
    ndim = len(shape)
    whole = box_strides(shape, 0)
    ones = np.ones(ndim, np.int64)
    for k in range(len(ids)):
        lengths = boxes[k, 1] - boxes[k, 0]
        strides = box_strides(lengths, 1)
        state = np.zeros(strides[0] * (lengths[0] + 2), np.uint8)
        for row in range(row_count(lengths)):
            there = row_start(row, lengths, whole, boxes[k, 0])
            base = row_start(row, lengths, strides, ones)
            for i in range(lengths[ndim - 1]):
                if labels[there + i] == ids[k]:
                    state[base + i] = _WALL
        _flood(state, strides, np.zeros(len(state), np.int64))
        for row in range(row_count(lengths)):
            there = row_start(row, lengths, whole, boxes[k, 0])
            base = row_start(row, lengths, strides, ones)
            for i in range(lengths[ndim - 1]):
                if state[base + i] == _FREE and labels[there + i] == 0:
                    labels[there + i] = ids[k]
