"""Divide large images and volumes into regions, from which the ones to label are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from unmask.space.box import Box


def divide(space: Sequence[int], size: Sequence[int], *, most: int | None = None) -> list[Box]:
    """Boxes of one size that cover an image; the last ones along an axis end at its border.

    Args:
        space: voxels of the image per axis.
        size: voxels of a box per axis; clipped to the image.
        most: largest number of boxes; of more, a share that is spread evenly is returned.

    Examples:
        >>> [box.start for box in divide((10, 4), (6, 4))]
        [(0, 0), (4, 0)]
    """
    clipped = [min(n, m) for n, m in zip(space, size, strict=True)]
    starts = [
        sorted({min(start, n - m) for start in range(0, n, m)})
        for n, m in zip(space, clipped, strict=True)
    ]
    total = prod(map(len, starts))
    every = 1 if most is None else -(-total // most)
    return [
        Box(start, tuple(a + m for a, m in zip(start, clipped, strict=True)))
        for number, start in enumerate(product(*starts))
        if number % every == 0
    ]


def write_box(box: Box) -> str:
    """A box as NumPy slices.

    Examples:
        >>> write_box(Box((0, 256), (256, 512)))
        '0:256,256:512'
    """
    return ",".join(f"{a}:{b}" for a, b in zip(box.start, box.stop, strict=True))
