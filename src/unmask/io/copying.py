"""Copy an opened image into a file of another format, part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Index, Stored
from unmask.io.formats import FORMATS
from unmask.io.image import Image
from unmask.io.paths import format_of, locate
from unmask.space.axes import SPACE
from unmask.wording import format_count


def _space_of(image: Image) -> str:
    return "".join(letter for letter in image.axes if letter in SPACE)


def copy_image(image: Image, path: str | Path, *, like: Image | None = None) -> None:
    """Write an image of one channel however large it is; an older file stays whole until the end.

    Args:
        image: what to write; it is read in parts.
        path: where to; the format follows from the suffix.
        like: the image this one belongs to: same spacing, unit and (NIfTI) affine.

    Raises:
        DataError: several channels, or a format that is written in one piece.
        SaveError: the file could not be written.
    """
    location = locate(path)
    form = format_of(location)
    if form is None or form.copy is None or image.shape[0] != 1:
        able = " ".join(suffix for suffix, each in FORMATS.items() if each.copy)
        raise DataError(
            message(
                path,
                expected=f"an image of one channel and one of the suffixes {able}",
                found=f"{format_count(image.shape[0], 'channel')} and {location.path.suffix!r}",
                do="Choose a name with one of them, or .zarr.",
            )
        )
    model = image if like is None else like

    def read(index: Index) -> np.ndarray:
        return image.fetch((slice(0, 1), *index))[0]

    stored = Stored(
        image.shape[1:],
        image.dtype,
        image.axes[1:],
        read,
        spacing=dict(zip(_space_of(image), model.spacing or (), strict=False)),
        unit=model.unit,
        meta=model.meta,
    )
    form.copy(location, stored)
