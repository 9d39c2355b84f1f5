"""Remove small objects that the network is not sure of, any number of axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.labels.relabeling import compact
from unmask.labels.small import sizes


def touch_border(labels: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    """Whether each of the ids 0 .. ``count`` - 1 touches the border of the image.

    Examples:
        >>> touch_border(np.array([[1, 0, 0], [0, 2, 0], [0, 0, 0]], np.int32), 3)
        array([ True,  True, False])
    """
    touching = np.zeros(count, bool)
    for axis in range(labels.ndim):
        for end in (0, -1):
            touching[np.take(labels, end, axis=axis)] = True
    return touching


def find_doubtful(
    labels: NDArray[np.int32], sureness: np.ndarray, *, size: float, sure: float
) -> NDArray[np.bool_]:
    """Which ids are small, not sure, and whole.

    Specks of dirt and pieces of texture are smaller than the objects of an image, as a rule, and
    score lower. What touches the border may be a part of a large object.

    Args:
        labels: ``(*space)``, 0 is background.
        sureness: ``(*space)`` probability of being in an object.
        size: objects of fewer voxels are small.
        sure: objects with this mean probability or more are sure.

    Returns:
        One value per id 0, 1, 2, ...
    """
    voxels = sizes(labels)
    mean = mean_per_object(labels, sureness, voxels)
    found = (voxels < size) & (mean < sure) & ~touch_border(labels, len(voxels))
    found[0] = False
    return found


def mean_per_object(
    labels: NDArray[np.int32], values: np.ndarray, voxels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean of ``values`` over each id 0, 1, 2, ..., whose ``voxels`` are counted; empty ids: 0."""
    total = np.bincount(labels.ravel(), values.ravel(), len(voxels))
    return total / np.maximum(voxels, 1)


def typical_size(labels: np.ndarray) -> float:
    """Size in voxels for which half of the labeled voxels are in objects of that size or smaller.

    It is the median size weighted by size, which many small wrong objects hardly change. 0: there
    are no objects.

    Examples:
        >>> typical_size(np.repeat([1, 2, 3, 4], [1, 1, 2, 10]))
        10.0
    """
    voxels = np.sort(sizes(compact(labels))[1:])
    total = np.cumsum(voxels)
    if not len(total) or not total[-1]:
        return 0.0
    return float(voxels[np.searchsorted(total, total[-1] / 2)])
