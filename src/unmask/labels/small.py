"""Remove objects by their size, any number of axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.labels.relabeling import compact


def sizes(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Voxels of ids 0, 1, 2, ... (see ``relabel.compact`` for the input)."""
    return np.bincount(labels.reshape(-1), minlength=1)


def remove_small(
    labels: np.ndarray, min_size: int, *, max_size: float | None = None
) -> NDArray[np.int32]:
    """Turn objects of fewer than ``min_size`` or more than ``max_size`` voxels into background.

    Args:
        labels: ``(*space)`` integer ids, 0 is background.
        min_size: the smallest size that stays.
        max_size: the largest size that stays; None: any.

    Returns:
        ``(*space)`` int32, a new array with the ids of the remaining objects unchanged (ids that do
        not fit are renumbered, see ``relabel``).
    """
    array = compact(labels)
    size = sizes(array)
    keep = size >= min_size
    if max_size is not None:
        keep &= size <= max_size
    keep[0] = False
    return np.where(keep, np.arange(len(size)), 0).astype(np.int32)[array]
