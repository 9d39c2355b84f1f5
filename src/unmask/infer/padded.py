"""Boxes that reach outside an image, for networks that need a surrounding everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from unmask.space.box import Box

# Voxels of a box as network input (C, *box.shape).
Read = Callable[[Box], np.ndarray]


def padded(read: Read, space: Sequence[int], *, mode: str) -> Read:
    """Reads of boxes that may reach outside the image, out of reads inside it.

    Args:
        read: boxes inside the image.
        space: voxels of the image.
        mode: ``reflect`` (the border voxel is not repeated), or ``zero``.
    """
    whole = Box.of(space)

    def reflected(box: Box) -> np.ndarray:
        places = [
            _reflected(np.arange(a, b), n)
            for a, b, n in zip(box.start, box.stop, space, strict=True)
        ]
        start = tuple(int(p.min()) for p in places)
        part = read(Box(start, tuple(int(p.max()) + 1 for p in places)))
        for axis, (along, low) in enumerate(zip(places, start, strict=True), start=1):
            part = part.take(along - low, axis=axis)
        return part

    def bordered(box: Box) -> np.ndarray:
        inside = box.clip(whole)
        part = read(inside)
        ends = zip(box.start, inside.start, inside.stop, box.stop, strict=True)
        return np.pad(part, [(0, 0), *((low - a, b - high) for a, low, high, b in ends)])

    def any_box(box: Box) -> np.ndarray:
        if box.clip(whole) == box:
            return np.ascontiguousarray(read(box))
        return reflected(box) if mode == "reflect" else bordered(box)

    return any_box


def _reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Places beyond ``[0, length)`` mirrored at the border voxels, as often as needed."""
    if length == 1:
        return np.zeros_like(places)
    places = places % (2 * length - 2)
    return np.where(places < length, places, 2 * length - 2 - places)
