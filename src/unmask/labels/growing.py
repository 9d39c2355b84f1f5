"""Grow objects into a mask, any number of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.labels.diffusion import box_strides
from unmask.labels.relabeling import compact


def grow_objects(
    labels: np.ndarray, within: NDArray[np.bool_], rounds: Sequence[int]
) -> NDArray[np.int32]:
    """Give free voxels of a mask to the object that reaches them first, face by face.

    Which object wins a tie depends only on positions relative to each other, never on ids, so that
    the blocks of an image agree with the whole.

    Args:
        labels: ``(*space)`` integer ids, 0 is background.
        within: ``(*space)`` where objects may grow.
        rounds: steps along each axis.

    Returns:
        ``(*space)`` int32, a new array.

    Examples:
        >>> labels = np.array([1, 0, 0, 0, 0, 2])
        >>> grow_objects(labels, np.array([1, 1, 1, 0, 1, 1], bool), [1]).tolist()
        [1, 1, 0, 0, 2, 2]
    """
    # The border spares the kernel all tests for the edges of the image.
    ids = np.pad(compact(labels), 1)
    free = np.pad(within, 1) & (ids == 0)
    strides = box_strides(np.array(labels.shape, np.int64), 1)
    _grow(ids.reshape(-1), free.reshape(-1), strides, np.array(rounds, np.int64))
    return np.ascontiguousarray(ids[(slice(1, -1),) * labels.ndim])


@njit(cache=True, nogil=True)
def _grow(
    ids: NDArray[np.int32],
    free: NDArray[np.bool_],
    strides: NDArray[np.int64],
    rounds: NDArray[np.int64],
) -> None:
    """Breadth-first from all objects at once; ``free`` voxels become objects in place."""
    reached = np.empty(np.count_nonzero(free), np.int64)
    count = 0
    # The first round starts at every object; the others start at what the round before reached.
    for here in range(len(ids)):
        if ids[here] != 0 and not free[here]:
            count = _step(here, 0, ids, free, strides, rounds, reached, count)
    start = 0
    for number in range(1, rounds.max()):
        stop = count
        for k in range(start, stop):
            count = _step(reached[k], number, ids, free, strides, rounds, reached, count)
        start = stop


@njit(cache=True, nogil=True)
def _step(
    here: int,
    number: int,
    ids: NDArray[np.int32],
    free: NDArray[np.bool_],
    strides: NDArray[np.int64],
    rounds: NDArray[np.int64],
    reached: NDArray[np.int64],
    count: int,
) -> int:
    """Give the free face neighbors of a voxel to its object; returns how many are reached now."""
    for axis in range(len(strides)):
        if number >= rounds[axis]:
            continue
        for side in (-1, 1):
            there = here + side * strides[axis]
            if free[there] and ids[there] == 0:
                ids[there] = ids[here]
                reached[count] = there
                count += 1
    return count
