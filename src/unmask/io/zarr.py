"""OME-Zarr 0.5 (Zarr 3) on a local disk: writing. `unmask.io.zarr_open` reads it and others."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, ZstdCodec

from unmask.atomic import aside_name, make_folder, remove, replace_folder, saving
from unmask.errors import DataError, message
from unmask.io.contract import Content, Format, Location
from unmask.io.zarr_open import open_zarr
from unmask.space.axes import spatial

UNIT_WORDS = {
    "nm": "nanometer",
    "um": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "angstrom": "angstrom",
}


def create_zarr(
    path: Path,
    shape: Sequence[int],
    dtype: np.dtype[Any] | str,
    *,
    axes: str,
    chunks: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    name: str | None = None,
) -> zarr.Array[Any]:
    """Make an empty OME-Zarr 0.5 image to be written block by block; its one level is returned.

    Chunks are packed with zstd and its checksum, so that a flipped bit is noticed on reading.

    Args:
        path: folder of the image; must not exist or be empty.
        shape: of the array.
        dtype: of the array.
        axes: one letter per axis, such as "CZYX".
        chunks: shape of a chunk; chosen where not given.
        spacing: voxel size of the spatial axes.
        unit: short symbol.
        name: of the image; default: that of the folder.
    """
    sizes = dict(zip(spatial(axes), spacing or (), strict=False))
    group = zarr.create_group(store=path, zarr_format=3)
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": name or path.name,
                "axes": [axis_entry(letter, unit) for letter in axes],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [sizes.get(a, 1.0) for a in axes]}
                        ],
                    }
                ],
            }
        ],
    }
    return group.create_array(
        "0",
        shape=tuple(shape),
        dtype=np.dtype(dtype),
        chunks=tuple(chunks) if chunks is not None else _chunks(shape, axes),
        serializer=BytesCodec(endian="little"),
        compressors=[ZstdCodec(level=1, checksum=True)],
        dimension_names=list(axes.lower()),
    )


def save_zarr(location: Location, content: Content) -> None:
    """Write an image of one resolution level.

    Raises:
        DataError: a path inside a store.
    """
    if location.key:
        raise DataError(
            message(
                location.source,
                expected="the folder of a new OME-Zarr",
                found=f"a path inside one ({location.key})",
                do=f"Save to {location.path}, or to another name.",
            )
        )
    with _atomic_folder(location.path) as aside:
        array = create_zarr(
            aside,
            content.array.shape,
            content.array.dtype,
            axes=content.axes,
            spacing=content.spacing,
            unit=content.unit,
            # The folder still has a temporary name, which viewers would show.
            name=location.path.name,
        )
        array[...] = content.array


@contextmanager
def _atomic_folder(path: Path) -> Generator[Path, None, None]:
    """Give a folder next to ``path``; on success it takes its place, on failure it goes."""
    aside = path.with_name(aside_name(path))
    with saving(path):
        try:
            make_folder(path.parent)
            remove(aside)
            yield aside
            replace_folder(aside, path)
        finally:
            # A name too long for the disk cannot even be asked for; the first error reports it.
            with suppress(OSError):
                remove(aside)


def axis_entry(letter: str, unit: str | None) -> dict[str, str]:
    """An axis as NGFF has it; ``unit`` is a short symbol of a unit of length."""
    if letter in "CT":
        return {"name": letter.lower(), "type": "channel" if letter == "C" else "time"}
    axis = {"name": letter.lower(), "type": "space"}
    return axis | {"unit": UNIT_WORDS[unit]} if unit in UNIT_WORDS else axis


def _chunks(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    spatial = len(axes.replace("C", ""))
    edge = 512 if spatial == 2 else 64
    chunks = tuple(1 if a == "C" else min(edge, n) for a, n in zip(axes, shape, strict=True))
    return chunks if prod(chunks) else tuple(max(1, n) for n in chunks)


FORMAT = Format("OME-Zarr", open_zarr, save_zarr, family=".ome.zarr", folder=True)
