"""TIFF: plain, tiled, BigTIFF, OME-TIFF, ImageJ, LSM; only the strips or tiles asked for are read.

Values are those in the file: palettes stay indices (ImageJ stores colour tables of grey images so).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import tifffile

from unmask.atomic import atomic_path
from unmask.errors import DataError, told
from unmask.io import limits, recent
from unmask.io.stored import (
    Content,
    Format,
    Index,
    Location,
    Stored,
    map_file,
    signature,
    spacing_in_order,
)
from unmask.io.tiff_checks import (
    check_chain,
    check_description,
    check_magic,
    check_page,
    check_tags,
)
from unmask.io.tiff_metadata import described, resolution, spacing_of
from unmask.io.tiff_segments import Pages

_LETTERS = "TCZYXS"

# Pages with both sides this long are written in tiles, so that crops stay cheap.
_TILED = 2048
_TILE = 256
# Tiles that wait to be packed; the library's default is half a gigabyte.
_BUFFER = 8 << 20
# Room for the tables of a classic TIFF, which ends at 4 GiB.
_CLASSIC = 3_500_000_000


def open_tiff(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header of the first page and where the others are.

    Raises:
        DataError: damaged, a bomb, several images in one file, or no such level.
        MissingPackageError: a compression that needs imagecodecs.
    """
    del labels
    mark = signature(location.path)
    if mark[0] < 16:
        raise DataError(
            told(location.source, expected="a TIFF", found=f"{mark[0]} bytes", do="Copy it again.")
        )
    buffer = map_file(location, mark)
    check_magic(location, buffer)
    check_chain(location, buffer)
    check_tags(location, buffer)
    with tifffile.TiffFile(location.path) as file:
        first = file.pages.first
        check_page(location, first, mark[0])
        check_description(location, first)
        number = _main_series(location, file)
        series = file.series[number].levels
        if not 0 <= level < len(series):
            raise DataError(
                told(
                    location.source,
                    expected=f"a level from 0 to {len(series) - 1}",
                    found=f"level={level}",
                    do="Choose one of these.",
                )
            )
        chosen = series[level]
        check_page(location, chosen.keyframe, mark[0])
        spacing, unit = spacing_of(file)
        if level:
            ratio = [a / b for a, b in zip(series[0].shape, chosen.shape, strict=True)]
            factor = dict(zip(series[0].axes, ratio, strict=True))
            spacing = {axis: size * factor.get(axis, 1.0) for axis, size in spacing.items()}
        shape, axes = _axes(chosen)
        dtype = chosen.dtype.newbyteorder("=")
        limits.check_claim(location.source, prod(shape) * dtype.itemsize, mark[0])
        if chosen.dataoffset is not None and dtype.kind != "b":
            read = _mapped(location, mark, chosen, shape)
        else:
            read = Pages(location, mark, chosen, shape=shape, place=(number, level)).read
    return Stored(shape, dtype, axes, read, spacing=spacing, unit=unit)


def _main_series(location: Location, file: tifffile.TiffFile) -> int:
    """Number of the image of the file; smaller ones beside it (thumbnails) do not count."""
    series = sorted(file.series, key=lambda one: -prod(one.shape))
    if not series:
        raise DataError(
            told(location.source, expected="an image", found="no pages", do="Export it again.")
        )
    if len(series) > 1 and prod(series[0].shape) == prod(series[1].shape):
        shapes = ", ".join(str(one.shape) for one in file.series[:10])
        raise DataError(
            told(
                location.source,
                expected="one image in the file",
                found=f"{len(series)} of shapes {shapes}",
                do="Save each as a file.",
            )
        )
    return file.series.index(series[0])


def _mapped(
    location: Location,
    mark: tuple[int, int],
    series: tifffile.TiffPageSeries,
    shape: tuple[int, ...],
) -> Callable[[Index], np.ndarray]:
    """Reader over uncompressed values that lie in one piece."""
    dtype = np.dtype(series.keyframe.parent.byteorder + series.dtype.char)
    offset = int(series.dataoffset or 0)
    needed = offset + prod(shape) * dtype.itemsize
    if needed > mark[0]:
        raise DataError(
            told(
                location.source,
                expected=f"{needed} bytes for shape {shape}, {dtype}",
                found=f"{mark[0]} bytes (truncated)",
                do="Copy the file again.",
            )
        )
    shelf: recent.Shelf[np.ndarray] = recent.opened()

    def mapped() -> np.ndarray:
        buffer = map_file(location, mark)
        return np.frombuffer(buffer, dtype, prod(shape), offset).reshape(shape)

    def read(index: Index) -> np.ndarray:
        return shelf.get("map", mapped)[index].astype(dtype.newbyteorder("="), order="C")

    return read


def _axes(series: tifffile.TiffPageSeries) -> tuple[tuple[int, ...], str]:
    """Shape and letters with axes of length 1; those that the format always writes may go."""
    shape, axes = series.get_shape(squeeze=False), series.get_axes(squeeze=False)
    letters = []
    for letter, length in zip(axes, shape, strict=True):
        known = letter if letter in _LETTERS else "?"
        # OME and ImageJ write every axis always; a Z of length 1 there says nothing.
        always = length == 1 and series.kind != "shaped"
        letters.append("z" if letter == "Z" and always else known)
    return tuple(int(n) for n in shape), "".join(letters)


def save_tiff(location: Location, content: Content) -> None:
    """Write deflated pages, in tiles where they are large, with axes and voxel size.

    Deflate carries a checksum and every program reads it. ``.ome.tif`` gets OME metadata; types
    that ImageJ knows get ImageJ's, so that Fiji shows the voxel size; all others (label types of
    32 and 64 bits) a line of JSON.
    """
    array, axes = content.array, content.axes
    colour = axes == "CYX" and array.dtype == np.uint8 and array.shape[0] in (3, 4)
    if colour:
        array, axes = np.moveaxis(array, 0, -1), "YXS"
    kind = _kind(location, array.dtype, array.nbytes)
    if kind == "imagej" and axes == "CZYX":
        array, axes = np.moveaxis(array, 0, 1), "ZCYX"
    rows, columns = array.shape[axes.index("Y")], array.shape[axes.index("X")]
    options: dict[str, Any] = {"tile": (_TILE, _TILE)} if min(rows, columns) >= _TILED else {}
    if kind == "imagej":
        options["imagej"] = True
    with atomic_path(location.path) as aside:
        tifffile.imwrite(
            aside,
            np.ascontiguousarray(array),
            ome=kind == "ome",
            bigtiff=kind != "imagej" and array.nbytes > _CLASSIC,
            photometric="rgb" if colour else "minisblack",
            compression="zlib",
            metadata=described(kind, axes, content.spacing, content.unit),
            **resolution(kind, content.spacing, content.unit),
            **options,
        )


def copy_tiff(location: Location, stored: Stored) -> None:
    """Write a label volume or plane in deflated tiles, one after the other."""
    nbytes = prod(stored.shape) * stored.dtype.itemsize
    kind = _kind(location, stored.dtype, nbytes)
    spacing = spacing_in_order(stored)
    options: dict[str, Any] = {"imagej": True} if kind == "imagej" else {}
    with atomic_path(location.path) as aside:
        tifffile.imwrite(
            aside,
            _tiles(stored),
            shape=stored.shape,
            dtype=stored.dtype,
            tile=(_TILE, _TILE),
            ome=kind == "ome",
            bigtiff=kind != "imagej" and nbytes > _CLASSIC,
            photometric="minisblack",
            compression="zlib",
            buffersize=_BUFFER,
            metadata=described(kind, stored.axes, spacing, stored.unit),
            **resolution(kind, spacing, stored.unit),
            **options,
        )


def _tiles(stored: Stored) -> Iterator[np.ndarray]:
    """Tiles in the order of the file; those at the far edges are filled up with zeros."""
    *pages, rows, columns = stored.shape
    for page in np.ndindex(*pages):
        first = tuple(slice(place, place + 1) for place in page)
        for y, x in itertools.product(range(0, rows, _TILE), range(0, columns, _TILE)):
            height, width = min(_TILE, rows - y), min(_TILE, columns - x)
            tile = np.zeros((_TILE, _TILE), stored.dtype)
            part = stored.read((*first, slice(y, y + height), slice(x, x + width)))
            tile[:height, :width] = part.reshape(height, width)
            yield tile


def _kind(location: Location, dtype: np.dtype[Any], nbytes: int) -> str:
    """Which metadata to write."""
    name = location.path.name.lower()
    if ".ome." in name and dtype not in (np.uint64, np.int64, np.float16):
        return "ome"
    if dtype in (np.uint8, np.uint16, np.float32) and nbytes < _CLASSIC:
        return "imagej"
    return "json"


FORMAT = Format("TIFF", open_tiff, save_tiff, family=".tif", copy=copy_tiff)
OME_FORMAT = Format("OME-TIFF", open_tiff, save_tiff, family=".ome.tif", copy=copy_tiff)
