"""Take the outermost voxels off objects, any number of axes."""

from __future__ import annotations

import numpy as np

from unmask.labels.relabeling import compact
from unmask.labels.small import sizes


def exclude_boundaries(
    labels: np.ndarray, *, min_size: int = 196, frame: int = 2, ignore_label: int | None = None
) -> np.ndarray:
    """Turn voxels of objects with a face to another label into background, so that objects part.

    What MEDIAR's boundary exclusion means to do (Lee et al. 2022, arXiv:2212.03465): small objects,
    which would lose too much, stay whole, and so does what lies near the border of the image, where
    objects are cut.

    Args:
        labels: ``(*space)`` integer ids, 0 is background.
        min_size: objects of fewer voxels stay whole.
        frame: voxels from the border of the image in which nothing changes.
        ignore_label: value without truth, which stays.

    Returns:
        ``(*space)``, a new array of the same type.

    Raises:
        DataError: not an integer array, or negative ids.

    Examples:
        >>> exclude_boundaries(np.array([0, 0, 7, 7, 7, 0, 0]), min_size=0).tolist()
        [0, 0, 0, 7, 0, 0, 0]
    """
    ids = compact(labels)
    excluded = np.zeros(ids.shape, bool)
    for axis in range(ids.ndim):
        lower, upper = (
            tuple(part if a == axis else slice(None) for a in range(ids.ndim))
            for part in (slice(None, -1), slice(1, None))
        )
        differ = ids[lower] != ids[upper]
        excluded[lower] |= differ
        excluded[upper] |= differ
    excluded &= (sizes(ids) >= min_size)[ids]
    inner = np.zeros(ids.shape, bool)
    inner[tuple(slice(frame, max(frame, n - frame)) for n in ids.shape)] = True
    excluded &= inner
    if ignore_label is not None:
        excluded &= labels != ignore_label
    return np.where(excluded, labels.dtype.type(0), labels)
