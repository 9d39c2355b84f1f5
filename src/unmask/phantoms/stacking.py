"""Truth of objects that lie over one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Labels
from unmask.phantoms.painting import Painted

_SMALLEST = 8  # Voxels; an object of which less can be seen is left out.


def number_stacked(painted: Painted) -> tuple[Labels, NDArray[np.int64]]:
    """Consecutive labels in the order of the stack, and which objects lie on top of which.

    Args:
        painted: result of ``paint_tubes``, with tubes numbered from the lowest to the highest.

    Returns:
        Labels, uint16 or uint32, where a higher number lies on top; and ``(K, 2)`` pairs
        (top, below) of labels of objects of which both are seen.
    """
    most = max(int(painted.owner.max(initial=0)), int(painted.over.max(initial=0)))
    sizes = np.bincount(painted.owner.ravel(), minlength=most + 1)
    seen = np.flatnonzero(sizes >= _SMALLEST)
    seen = seen[seen > 0]
    numbers = np.zeros(len(sizes), np.uint16 if len(seen) < 2**16 else np.uint32)
    numbers[seen] = np.arange(1, len(seen) + 1)
    pairs = numbers[painted.over].astype(np.int64)
    return numbers[painted.owner], pairs[np.all(pairs > 0, axis=1)]
