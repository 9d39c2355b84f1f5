"""Label images at a coarser resolution: the most frequent label per window of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np


def majority(labels: np.ndarray, step: Sequence[int]) -> np.ndarray:
    """The most frequent label of every window of ``step`` voxels.

    Of equally frequent labels an object wins over the background, and then the smaller id, so that
    thin objects stay visible. Windows at the far edges may be smaller.

    Args:
        labels: ``(*space)``, an unsigned type.
        step: voxels of a window along every axis.

    Examples:
        >>> majority(np.array([[0, 0, 7], [0, 5, 7]], np.uint8), (2, 2))
        array([[0, 7]], dtype=uint8)
    """
    step = [min(size, length) for size, length in zip(step, labels.shape, strict=True)]
    for axis, (length, size) in enumerate(zip(labels.shape, step, strict=True)):
        if rest := length % size if size else 0:
            whole, last = np.split(labels, [length - rest], axis)
            smaller = [*step[:axis], rest, *step[axis + 1 :]]
            return np.concatenate([majority(whole, step), majority(last, smaller)], axis)
    if prod(step) <= 1:
        return labels
    windows = _windows(labels, step)
    result = windows[0].copy()
    # Most windows lie inside one object, so counting is needed at borders only.
    mixed = (windows != result).any(axis=0)
    if mixed.any():
        result[mixed] = _most_frequent(windows[:, mixed])
    return result


def _windows(labels: np.ndarray, step: Sequence[int]) -> np.ndarray:
    """``(voxels of a window, *windows)``."""
    shape = [length // size for length, size in zip(labels.shape, step, strict=True)]
    split = labels.reshape([n for pair in zip(shape, step, strict=True) for n in pair])
    inner = range(1, split.ndim, 2)
    outer = range(0, split.ndim, 2)
    return split.transpose([*inner, *outer]).reshape(prod(step), *shape)


def _most_frequent(windows: np.ndarray) -> np.ndarray:
    """Of ``(voxels, windows)`` the most frequent label of every window."""
    best = windows[0].copy()
    most = np.zeros(windows.shape[1], np.int32)
    for candidate in windows:
        count = (windows == candidate).sum(axis=0, dtype=np.int32)
        # One less in an unsigned type: the background comes after every object.
        earlier = candidate - 1 < best - 1
        better = (count > most) | ((count == most) & earlier)
        np.copyto(best, candidate, where=better)
        np.maximum(most, count, out=most)
    return best
