"""Fill outlines: a pixel is inside if its center is, exact for any polygon.

A ring winds around a center a number of times; inside is where the number is odd, so holes are
rings too. A center on the left or upper edge of a polygon is inside, one on the right or lower edge
is not, so polygons that share an edge share no pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Filled:
    """Pixels of an outline.

    Attributes:
        corner: first row and column of ``mask`` in the image.
        mask: ``(h, w)`` the part of the image around the outline.
        crossed: a ring crosses itself.
        clipped: the outline reaches outside of the image.
    """

    corner: tuple[int, int]
    mask: Mask
    crossed: bool = False
    clipped: bool = False


def fill(rings: list[NDArray[np.float64]], shape: tuple[int, int]) -> Filled:
    """Pixels with an odd number of rings around them.

    Args:
        rings: ``(n, 2)`` corners (y, x), closed or not.
        shape: of the image; what is outside of it is cut off.
    """
    points = np.concatenate(rings)
    low, high = points.min(0), points.max(0)
    # Half a pixel more than the image: programs draw to the center of the border pixels' outside.
    clipped = bool((low < -0.5).any() or (high > np.array(shape) + 0.5).any())
    start = np.clip(np.floor(low), 0, shape).astype(np.int64)
    stop = np.clip(np.ceil(high), start, shape).astype(np.int64)
    mask = np.zeros(stop - start, np.bool_)
    crossed = False
    for ring in rings:
        winding = _windings(np.ascontiguousarray(ring, np.float64) - start, *mask.shape)
        mask ^= winding % 2 == 1
        if winding.size:
            least, most = int(winding.min()), int(winding.max())
            crossed |= most - least > 1 or max(most, -least) > 1
    return Filled((int(start[0]), int(start[1])), mask, crossed, clipped)


def ellipse(
    center: NDArray[np.float64], axes: NDArray[np.float64], shape: tuple[int, int]
) -> Filled:
    """Pixels whose centers lie in an ellipse.

    Args:
        center: (y, x) in corners of pixels.
        axes: ``(2, 2)`` the two half axes as vectors (y, x).
        shape: of the image.
    """
    reach = np.sqrt((axes**2).sum(0))
    low, high = center - reach, center + reach
    clipped = bool((low < -0.5).any() or (high > np.array(shape) + 0.5).any())
    start = np.clip(np.floor(low), 0, shape).astype(np.int64)
    stop = np.clip(np.ceil(high), start, shape).astype(np.int64)
    grid = np.stack(np.meshgrid(*(np.arange(a, b) + 0.5 for a, b in zip(start, stop, strict=True)),
                                indexing="ij"), -1)  # fmt: skip
    if abs(np.linalg.det(axes)) < 1e-12:
        return Filled(
            (int(start[0]), int(start[1])), np.zeros(grid.shape[:2], bool), clipped=clipped
        )
    along = (grid - center) @ np.linalg.inv(axes)
    return Filled((int(start[0]), int(start[1])), (along**2).sum(-1) <= 1, clipped=clipped)


@njit(cache=True, nogil=True)
def _windings(ring, height, width):  # pyright: ignore[reportMissingParameterType]
    """How often a ring winds around the center of every pixel of a part of the image."""
    winding = np.zeros((height, width + 1), np.int32)
    for k in range(len(ring)):
        y0, x0 = ring[k - 1, 0], ring[k - 1, 1]
        y1, x1 = ring[k, 0], ring[k, 1]
        sign = 1
        if y0 > y1:
            y0, x0, y1, x1, sign = y1, x1, y0, x0, -1
        # Rows with y0 <= center < y1: at a corner of two edges only one of them counts.
        first = max(int(np.ceil(min(max(y0 - 0.5, -1.0), height + 1.0))), 0)
        last = min(int(np.ceil(min(max(y1 - 0.5, -1.0), height + 1.0))), height)
        for row in range(first, last):
            crossing = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            column = int(np.ceil(min(max(crossing - 0.5, 0.0), float(width))))
            winding[row, column] += sign
    for row in range(height):
        for column in range(1, width):
            winding[row, column] += winding[row, column - 1]
    return winding[:, :width]
