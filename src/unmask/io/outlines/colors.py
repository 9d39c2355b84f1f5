"""Label images with 24-bit ids in the colors: red * 65536 + green * 256 + blue (QuPath)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unmask.errors import DataError, message
from unmask.io.image import from_stored
from unmask.io.paths import format_of, locate
from unmask.io.pictures import CLASSES, looks_like_picture
from unmask.io.reading import open_image, open_stored

# Colors per pixel: up to 0.67 in 106 color images of tissue and pets, of which those below this
# share have every color in many places; 0.02 at most in labels of nuclei.
_SHADES = 0.2


def is_colored(path: Path) -> bool:
    """Whether a file is an image with three or four channels of 8 bits; palettes are indices."""
    if format_of(locate(path)) is None:
        return False
    try:
        stored = open_stored(path, labels=True)
        image = from_stored(stored, source=str(path), name=path.name, ndim=2)
    except DataError:
        # A volume or a damaged file; the reader that opens it next reports it.
        return False
    return image.shape[0] in (3, 4) and image.dtype == np.uint8


def read_colors(path: Path) -> np.ndarray:
    """Ids ``(y, x)`` of an RGB label image; black is background, equal colors are one object.

    Raises:
        DataError: a lossy format, transparency, or a picture.
    """
    form = format_of(locate(path))
    values = open_image(path, ndim=2).read().astype(np.uint32)
    opaque = len(values) < 4 or bool((values[3] == values[3].flat[0]).all())
    if (form is not None and form.lossy) or not opaque:
        found = "transparency" if not opaque else "a format that changes colors"
        raise DataError(
            message(path, expected="one exact color per object", found=found,
                 do="Export the label image as PNG or TIFF without transparency.")
        )  # fmt: skip
    ids = (values[0] << 16) | (values[1] << 8) | values[2]
    if looks_like_picture(ids) or _are_shades(ids):
        raise DataError(
            message(path, expected="a label image: one exact color per object",
                    found="a picture, whose colors change from pixel to pixel",
                    do="Give the label images as --labels, and pictures as --images.")
        )  # fmt: skip
    return ids


def _are_shades(ids: np.ndarray) -> bool:
    """Whether most colors have a few pixels, as those of a color photograph: objects have more."""
    count = len(np.unique(ids))
    return bool(count > max(CLASSES, _SHADES * np.count_nonzero(ids)))
