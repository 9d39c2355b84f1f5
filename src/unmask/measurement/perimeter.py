"""Perimeter of objects of an image, from the steps between pixels of their border.

A pixel of an object is on its border if one of its four neighbors is not in the object. Each border
pixel stands for the mean length of the steps to its neighbors on the border, with the cases of
Benkrid & Crookes, "Design and FPGA implementation of a perimeter estimator" (2000), as in
``skimage.measure.perimeter``. Steps along both axes are counted apart, so that pixels need not be
square; for square ones the result is that of scikit-image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit


def lengths(steps: NDArray[np.int64], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Perimeter from counts ``(k, 5)`` of `scan_borders` and the pixel size ``(y, x)``."""
    y, x = spacing
    diagonal = float(np.hypot(y, x))
    weights = np.array([y / 6, x / 6, diagonal, (y + diagonal) / 2, (x + diagonal) / 2])
    return steps.astype(float) @ weights


@njit(cache=True, nogil=True)
def scan_borders(flat, padded, core, halo, count):  # pyright: ignore[reportMissingParameterType]
    """Steps by number ``(count, 5)``.

    Columns: sixths of steps along y and along x, diagonal steps, and pixels with half a diagonal
    and half a step along y or along x.
    """
    steps = np.zeros((count, 5), np.int64)
    wide = padded[1]
    edges = np.zeros((3, wide), np.bool_)
    for k in range(2):
        _mark(flat, (halo - 1 + k) * wide, wide, edges[k])
    for y in range(core[0]):
        row = (y + halo) * wide
        _mark(flat, row + wide, wide, edges[(y + 2) % 3])
        above, here, below = edges[y % 3], edges[(y + 1) % 3], edges[(y + 2) % 3]
        for x in range(halo, halo + core[1]):
            value = flat[row + x]
            if value == 0 or not here[x]:
                continue
            at = row + x
            along_x = (here[x - 1] and flat[at - 1] == value) + (
                here[x + 1] and flat[at + 1] == value
            )
            along_y = (above[x] and flat[at - wide] == value) + (
                below[x] and flat[at + wide] == value
            )
            diagonal = 0
            for step in (-1, 1):
                diagonal += above[x + step] and flat[at - wide + step] == value
                diagonal += below[x + step] and flat[at + wide + step] == value
            _add(steps[value], along_y, along_x, diagonal)
    return steps


@njit(cache=True, nogil=True)
def _mark(flat, row, wide, edge):  # pyright: ignore[reportMissingParameterType]
    """Whether each pixel of a row differs from one of its four neighbors."""
    for x in range(1, wide - 1):
        at = row + x
        value = flat[at]
        edge[x] = (
            (flat[at - 1] != value)
            | (flat[at + 1] != value)
            | (flat[at - wide] != value)
            | (flat[at + wide] != value)
        )


@njit(cache=True, nogil=True)
def _add(steps, along_y, along_x, diagonal):  # pyright: ignore[reportMissingParameterType]
    straight = along_y + along_x
    if 2 <= straight <= 3 and diagonal <= 2:
        steps[0] += 6 * along_y // straight
        steps[1] += 6 * along_x // straight
    elif (straight == 0 and diagonal == 2) or (straight == 1 and diagonal == 3):
        steps[2] += 1
    elif straight == 1 and 1 <= diagonal <= 2:
        steps[3] += along_y
        steps[4] += along_x
