"""Connected components of boolean or label images, any number of axes."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError
from unmask.kernels import njit
from unmask.labels.relabeling import compact


def connected_components(
    labels: np.ndarray, *, connectivity: int | None = None
) -> NDArray[np.int32]:
    """Number the connected pieces of every object 1, 2, 3, ... in raster order.

    Touching voxels belong together if their ids are equal, so touching objects stay apart and an
    object in several pieces becomes several.

    Args:
        labels: ``(*space)`` booleans or integer ids; 0 is background.
        connectivity: neighbors differ along at most so many axes: 1 is faces only, ``ndim`` is
            faces, edges and corners (the default).

    Returns:
        ``(*space)`` int32.

    Raises:
        DataError: not an integer array, or a connectivity out of 1 .. ndim.

    Examples:
        >>> connected_components(np.array([[1, 1, 0, 1], [0, 0, 2, 2]]), connectivity=1).tolist()
        [[1, 1, 0, 2], [0, 0, 3, 3]]
    """
    array = compact(labels)
    reach = array.ndim if connectivity is None else connectivity
    if not 1 <= reach <= array.ndim:
        raise DataError(
            f"connectivity: expected 1 to {array.ndim} for an array with {array.ndim} axes, "
            f"found {connectivity}. Use 1 for faces only or {array.ndim} for all neighbors."
        )
    if array.size == 0:
        return array.copy()
    # The border of zeros spares the kernel all tests for the edges of the image.
    padded = np.pad(array, 1)
    strides = np.array(padded.strides) // padded.itemsize
    steps = [step for step in product((-1, 0, 1), repeat=array.ndim) if step < (0,) * array.ndim]
    earlier = [int(strides @ step) for step in steps if np.count_nonzero(step) <= reach]
    pieces = _pieces(padded.reshape(-1), np.array(earlier, np.int64)).reshape(padded.shape)
    return np.ascontiguousarray(pieces[(slice(1, -1),) * array.ndim])


@njit(cache=True, nogil=True)
def _root(parent: NDArray[np.int32], i: int) -> int:
    """First voxel of the piece of voxel ``i``; halves the path on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _pieces(labels: NDArray[np.int32], earlier: NDArray[np.int64]) -> NDArray[np.int32]:
    """Union-find over the neighbors at ``earlier`` offsets; the smallest index is the root."""
    parent = np.zeros(len(labels), np.int32)
    for i in range(len(labels)):
        value = labels[i]
        if value == 0:
            continue
        parent[i] = i
        for offset in earlier:
            if labels[i + offset] == value:
                here, there = _root(parent, i), _root(parent, i + offset)
                parent[max(here, there)] = min(here, there)
    count = 0
    # An index points to an earlier one, which by then holds its number, kept as a negative value.
    for i in range(len(labels)):
        if labels[i] != 0:
            if parent[i] == i:
                count += 1
                parent[i] = -count
            else:
                parent[i] = parent[parent[i]]
    return -parent
