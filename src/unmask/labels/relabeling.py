"""Consecutive ids for label images of any integer type and any number of axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError

# A table of ids is quicker than sorting all voxels as long as it is not much longer than the image.
_TABLE_PER_VOXEL = 4
_TABLE_ALWAYS = 1 << 16


def check_labels(labels: np.ndarray, *, source: str = "labels") -> np.ndarray:
    """The array itself, or as uint8 where it is boolean.

    Raises:
        DataError: not an integer type, no axis, or a negative id.
    """
    array = np.asarray(labels)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu" or array.ndim == 0:
        raise DataError(
            f"{source}: expected an integer array with at least one axis, found {array.dtype} "
            f"of shape {array.shape}. Give whole-number ids, 0 for background."
        )
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise DataError(
            f"{source}: expected ids of 0 and more, found {array.min()}. "
            "Set voxels without truth to 0, or name their value as ignore_label in the task."
        )
    return array


def compact(labels: np.ndarray) -> NDArray[np.int32]:
    """Ids as C-contiguous int32, renumbered only where they would need a very long table."""
    array = check_labels(labels)
    largest = int(array.max()) if array.size else 0
    if largest > max(_TABLE_ALWAYS, _TABLE_PER_VOXEL * array.size) or largest >= 2**31 - 1:
        return relabel(array)
    return np.ascontiguousarray(array, dtype=np.int32)


def relabel(labels: np.ndarray) -> NDArray[np.int32]:
    """Number the objects 1, 2, 3, ... in the order of their ids; background stays 0.

    Args:
        labels: ``(*space)`` integers of any width (uint64 included), 0 is background.

    Returns:
        ``(*space)`` int32, a new array.

    Raises:
        DataError: not an integer array, or negative ids.

    Examples:
        >>> relabel(np.array([[0, 70000], [5, 70000]])).tolist()
        [[0, 2], [1, 2]]
    """
    array = check_labels(labels)
    if array.size == 0:
        return array.astype(np.int32)
    largest = int(array.max())
    if largest <= max(_TABLE_ALWAYS, _TABLE_PER_VOXEL * array.size):
        present = np.zeros(largest + 1, bool)
        present[array] = True
        present[0] = False
        table = np.where(present, np.cumsum(present), 0).astype(np.int32)
        return table[array]
    ids, inverse = np.unique(array, return_inverse=True)
    # np.unique numbers from 0, which is right where background exists.
    first = 0 if ids[0] == 0 else 1
    return (inverse.reshape(array.shape) + first).astype(np.int32)
