"""Truth of objects that lie over one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.phantoms.bodies import Grid, Labels
from unmask.phantoms.painting import Tubes

_SMALLEST = 8  # Voxels; an object of which less can be seen is left out.


def number_stacked(
    grid: Grid, tubes: Tubes, owner: NDArray[np.int32]
) -> tuple[Labels, NDArray[np.int64]]:
    """Consecutive labels in the order of the stack, and which objects lie on top of which.

    Args:
        grid: where the tubes were painted.
        tubes: painted without a warp.
        owner: result of ``paint_tubes``.

    Returns:
        Labels, uint16 or uint32, where a higher number lies on top; and ``(K, 2)`` pairs
        (top, below) of labels.
    """
    sizes = np.bincount(owner.ravel(), minlength=int(tubes.owner.max(initial=0)) + 1)
    seen = np.flatnonzero(sizes >= _SMALLEST)
    seen = seen[seen > 0]
    numbers = np.zeros(len(sizes), np.uint16 if len(seen) < 2**16 else np.uint32)
    numbers[seen] = np.arange(1, len(seen) + 1)
    pairs = _crossings(
        owner.reshape(-1), np.array(grid.shape), np.array(grid.spacing),
        tubes.points, tubes.radius, tubes.owner,
    )  # fmt: skip
    named = numbers[pairs].astype(np.int64)
    named = np.unique(named[np.all(named > 0, axis=1)], axis=0)
    return numbers[owner], named.reshape(-1, 2)


@njit(cache=True, nogil=True)
def _crossings(owner, shape, spacing, points, radius, chains):
    # pyright: ignore[reportMissingParameterType]
    """Pairs (top, below): the middle line of ``below`` runs under a voxel of ``top``."""
    n = len(shape)
    pairs = [(0, 0)]
    for chain in range(len(points)):
        for p in range(points.shape[1] - 1):
            length = 0.0
            for a in range(n):
                length += (points[chain, p + 1, a] - points[chain, p, a]) ** 2
            steps = int(np.sqrt(length) / spacing.min()) + 1
            for k in range(steps):
                voxel, inside = 0, True
                for a in range(n):
                    at = points[chain, p, a]
                    at += (points[chain, p + 1, a] - at) * k / steps
                    i = int(np.floor(at / spacing[a] + 0.5))
                    inside = inside and 0 <= i < shape[a]
                    voxel = voxel * shape[a] + min(max(i, 0), shape[a] - 1)
                if inside and owner[voxel] > chains[chain]:
                    if pairs[-1] != (owner[voxel], chains[chain]):
                        pairs.append((owner[voxel], chains[chain]))
    result = np.zeros((len(pairs) - 1, 2), np.int64)
    for k in range(1, len(pairs)):
        result[k - 1, 0], result[k - 1, 1] = pairs[k]
    return result
