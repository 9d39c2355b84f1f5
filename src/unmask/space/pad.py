"""Values beyond an image, in training and in prediction: mirrored, reflected or zero.

``mirror`` repeats the voxel at the border, ``reflect`` does not; NumPy calls them ``symmetric`` and
``reflect``. Training and tiles mirror, as most published training code does. Dense features
reflect, as the released program of MAESTER does (Xie et al., CVPR 2023, pp. 3292-3301).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from unmask.space.box import Box

# Voxels (C, *box.shape) of a box.
Read = Callable[[Box], np.ndarray]


def pad_box(part: np.ndarray, inside: Box, box: Box, *, mode: str) -> np.ndarray:
    """``(..., *box.shape)`` from the part of the box that is inside an image.

    Args:
        part: ``(..., *inside.shape)``.
        inside: the part of ``box`` inside the image.
        box: what is wanted; it may reach outside the image.
        mode: ``mirror``, ``reflect`` or ``zero``.
    """
    if inside == box:
        return part
    sides = zip(box.start, inside.start, inside.stop, box.stop, strict=True)
    first = part.ndim - len(box.start)
    if mode == "zero":
        widths = [(low - start, stop - high) for start, low, high, stop in sides]
        return np.pad(part, [(0, 0)] * first + widths)
    for axis, (start, low, high, stop) in enumerate(sides, first):
        if (start, stop) != (low, high):
            index = _fold(np.arange(start - low, stop - low), high - low, mode)
            part = part.take(index, axis=axis)
    return part


def pad_reads(read: Read, space: Sequence[int], *, mode: str) -> Read:
    """Reads of boxes that may reach outside the image, from reads inside it.

    Args:
        read: boxes inside the image.
        space: voxels of the image.
        mode: ``mirror``, ``reflect`` or ``zero``.
    """
    whole = Box.of(space)

    def read_anywhere(box: Box) -> np.ndarray:
        inside = box.clip(whole)
        if inside == box:
            return np.ascontiguousarray(read(box))
        if mode == "zero":
            return pad_box(read(inside), inside, box, mode=mode)
        # A box far outside mirrors voxels that are not in it, so these are read too.
        ends = zip(box.start, box.stop, space, strict=True)
        index = [_fold(np.arange(start, stop), length, mode) for start, stop, length in ends]
        start = tuple(int(along.min()) for along in index)
        part = read(Box(start, tuple(int(along.max()) + 1 for along in index)))
        for axis, (along, low) in enumerate(zip(index, start, strict=True), start=1):
            part = part.take(along - low, axis=axis)
        return part

    return read_anywhere


def _fold(index: np.ndarray, length: int, mode: str) -> np.ndarray:
    """Indices beyond ``[0, length)`` mirrored at the border, as often as needed."""
    if length == 1:
        return np.zeros_like(index)
    last = 2 * length - (2 if mode == "reflect" else 1)
    index = index % (last if mode == "reflect" else last + 1)
    return np.where(index < length, index, last - index)
