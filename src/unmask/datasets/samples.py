"""Images and labels out of archives of single files, written as TIFF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from unmask.datasets.dataset import Item
from unmask.errors import DataError, message
from unmask.io import Image, open_image, save_image, smallest_uint
from unmask.io.copying import copy_image

# Some .jpg of the archives are PNG, GIF or BMP inside.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF")
_AGAIN = "Download the archive again, or unpack it again."


@dataclass(frozen=True)
class Sample:
    """One image of an archive.

    Attributes:
        image: ``(C, *space)``; an opened image of one channel is copied in parts.
        labels: ``(*space)``, or an opened image; None where the archive has none.
        foreground: ``(*space)`` where the archive gives it.
        spacing: voxel size of arrays, where it is known.
        unit: of ``spacing``.
    """

    image: np.ndarray | Image
    labels: np.ndarray | Image | None = None
    foreground: np.ndarray | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None


def sample_item(part: str, name: str, read: Callable[[], Sample]) -> Item:
    """Make the item of an image that is read when its turn comes."""
    return Item(part, name, lambda folder, stem: write_sample(read(), folder, stem))


def write_sample(sample: Sample, folder: Path, name: str) -> tuple[int, ...]:
    """Write ``images``, ``labels`` and ``foreground``; return the size of the image."""
    given: dict[str, np.ndarray | Image] = {"images": sample.image}
    for kind, array in (("labels", sample.labels), ("foreground", sample.foreground)):
        if isinstance(array, np.ndarray):
            given[kind] = smallest_uint(array)[None]
        elif array is not None:
            given[kind] = array
    size = tuple(sample.image.shape[1:])
    for kind, array in given.items():
        check_size(array.shape[1:], size, f"{folder.name}/{name}, {kind}")
        path = folder / kind / f"{name}.tif"
        if isinstance(array, Image):
            copy_image(array, path)
        else:
            axes = "C" + "ZYX"[-len(size) :]
            save_image(path, array, axes=axes, spacing=sample.spacing, unit=sample.unit)
    return size


def read_image(path: Path) -> np.ndarray:
    """Read an image ``(C, y, x)``.

    Raises:
        DataError: the file is not an image.
    """
    if path.suffix.lower() in (".tif", ".tiff"):
        return open_image(path, ndim=2).read()
    with _opened(path) as file:
        colored = file.convert("RGB") if file.mode in ("P", "PA") else file
        array = np.asarray(colored)
    return np.moveaxis(np.atleast_3d(array), -1, 0)


def read_labels(path: Path) -> np.ndarray:
    """Read the first channel ``(y, x)`` of labels; with a palette, the indices are the ids.

    Raises:
        DataError: the file is not an image.
    """
    if path.suffix.lower() in (".tif", ".tiff"):
        return open_image(path, ndim=2).read()[0]
    with _opened(path) as file:
        return np.atleast_3d(np.asarray(file))[..., 0]


def size_of(path: Path) -> tuple[int, int]:
    """Read the size ``(y, x)`` of an image from its header.

    Raises:
        DataError: the file is not an image.
    """
    if path.suffix.lower() in (".tif", ".tiff"):
        height, width = open_image(path, ndim=2).shape[-2:]
        return height, width
    with _opened(path, load=False) as file:
        return file.height, file.width


def check_size(found: Sequence[int], size: Sequence[int], source: object) -> None:
    """Refuse labels of another size than their image.

    Raises:
        DataError: the sizes differ.
    """
    if tuple(found) != tuple(size):
        raise DataError(
            message(
                source,
                expected=f"the size of its image, {tuple(size)}",
                found=f"{tuple(found)}",
                do=_AGAIN,
            )
        )


def _opened(path: Path, *, load: bool = True) -> Picture.Image:
    try:
        file = Picture.open(path, formats=_FORMATS)
        if load:
            file.load()
    except (OSError, SyntaxError, UnidentifiedImageError, Picture.DecompressionBombError) as error:
        raise DataError(message(path, expected="an image", found=str(error), do=_AGAIN)) from error
    return file
