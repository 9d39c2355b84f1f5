"""Images and labels out of archives of single files, written as TIFF."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from unmask.errors import DataError, message
from unmask.io import save_image

_FORMATS = ("PNG", "TIFF")


@dataclass(frozen=True)
class Sample:
    """One image of an archive.

    Attributes:
        part: ``train``, ``val`` or ``test``.
        name: stem of its files.
        image: ``(C, *space)``.
        labels: ``(*space)``; None where the archive has none.
        foreground: ``(*space)`` where the archive gives it.
        spacing: voxel size, where it is known.
        unit: of ``spacing``.
    """

    part: str
    name: str
    image: np.ndarray
    labels: np.ndarray | None
    foreground: np.ndarray | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None


def write_samples(samples: Iterable[Sample], out: Path) -> dict[str, int]:
    """Write ``<part>/images``, ``labels`` and ``foreground``; return the images of each part."""
    counts: dict[str, int] = {}
    for sample in samples:
        folder = out / sample.part
        axes = "CZYX" if sample.spacing else "CYX"
        given = {"images": sample.image}
        maps = {"labels": sample.labels, "foreground": sample.foreground}
        given |= {kind: array[None] for kind, array in maps.items() if array is not None}
        for kind, array in given.items():
            path = folder / kind / f"{sample.name}.tif"
            save_image(path, array, axes=axes, spacing=sample.spacing, unit=sample.unit)
        counts[sample.part] = counts.get(sample.part, 0) + 1
    return counts


def read_image(path: Path) -> np.ndarray:
    """Read an image ``(C, y, x)``; of one with a palette, the indices, which are the ids.

    Raises:
        DataError: the file is not an image.
    """
    try:
        with Image.open(path, formats=_FORMATS) as file:
            array = np.asarray(file)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            message(path, expected="an image", found=str(error), do="Unpack the archive again.")
        ) from error
    return np.moveaxis(np.atleast_3d(array), -1, 0)


def expect_files(found: Sequence[Path], path: Path, expected: str) -> None:
    """Refuse an archive without the files that it should have.

    Raises:
        DataError: there are none.
    """
    if not found:
        raise DataError(
            message(path, expected=expected, found="none", do="Unpack the archive there.")
        )


def check_size(array: np.ndarray | None, space: tuple[int, ...], source: Path) -> None:
    """Refuse an array of another size than its image; None passes.

    Raises:
        DataError: the sizes differ.
    """
    if array is not None and array.shape != space:
        raise DataError(
            message(
                source,
                expected=f"the size of its image, {space}",
                found=f"{array.shape}",
                do="Unpack the archive again.",
            )
        )
