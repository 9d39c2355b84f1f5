"""A made-up torso: ellipsoid organs of the sizes of real ones, for measurements on volumes.

Fourteen organs with half axes of 8 mm (adrenal gland) to 75 mm (liver), each turned in its plane,
later ones inside earlier ones where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ORGANS = 14


def organs(shape: Sequence[int], spacing: Sequence[float], *, seed: int = 0) -> np.ndarray:
    """Labels ``(*shape)`` uint8 of 0 to 14.

    Args:
        shape: voxels (z, y, x).
        spacing: their size in mm.
        seed: of positions and turns.
    """
    rng = np.random.default_rng(seed)
    size = np.array(shape) * spacing
    labels = np.zeros(shape, np.uint8)
    for number, radius in enumerate(np.geomspace(75, 8, ORGANS), 1):
        half = radius * rng.uniform(0.6, 1.0, 3)
        center = rng.uniform(0.25, 0.75, 3) * size
        turn = rng.uniform(0, np.pi)
        box = tuple(
            slice(max(0, int((c - radius) / s)), min(n, int((c + radius) / s) + 2))
            for c, s, n in zip(center, spacing, shape, strict=True)
        )
        z, y, x = (
            ((np.arange(part.start, part.stop) + 0.5) * s - c).reshape(
                [-1 if axis == own else 1 for own in range(3)]
            )
            for axis, (part, s, c) in enumerate(zip(box, spacing, center, strict=True))
        )
        across = (y * np.cos(turn) - x * np.sin(turn)) / half[1]
        along = (y * np.sin(turn) + x * np.cos(turn)) / half[2]
        labels[box][(z / half[0]) ** 2 + across**2 + along**2 < 1] = number
    return labels
