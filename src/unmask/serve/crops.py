"""A part of an image as a file of its own, for predicting only what is visible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unmask.errors import message
from unmask.io import Image, save_image
from unmask.serve.labels import LARGE
from unmask.serve.refusal import RefusedError
from unmask.space.box import Box

# Voxels around the part along each axis, so that its border objects are seen whole.
MARGIN = 64


def save_crop(image: Image, box: Box, path: Path) -> Box:
    """Write a part of an image with a margin to ``path``; returns the box that was written.

    Raises:
        RefusedError: the part does not fit into memory.
        SaveError: the file cannot be written.
    """
    shape = image.shape[1:]
    start = tuple(max(0, a - MARGIN) for a in box.start)
    wide = Box(start, tuple(min(n, b + MARGIN) for n, b in zip(shape, box.stop, strict=True)))
    if wide.size * image.shape[0] >= LARGE:
        raise RefusedError(
            413, message("region", expected=f"fewer than {LARGE:,} voxels", found=f"{wide.size:,}",
                         do="Zoom in, or predict the whole image.")
        )  # fmt: skip
    save_image(path, image.read(wide), like=replace(image, name=path.stem))
    return wide
