"""TIFF: plain, tiled, BigTIFF, OME-TIFF, ImageJ, LSM; only the strips or tiles asked for are read.

An OME-TIFF may be a set of files (`unmask.io.ome_files`), and a file may hold several images, of
which ``file.tif:1`` means the second (`unmask.io.tiff_series`).

Values are those in the file: palettes stay indices (ImageJ stores color tables of gray images so).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from unmask.atomic import atomic_path
from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io import exif, limits
from unmask.io.contract import (
    Content,
    Format,
    Index,
    Location,
    Mark,
    Stored,
    check_file,
    map_file,
    signature,
    spacing_in_order,
)
from unmask.io.ome_files import is_ome, ome_source
from unmask.io.tiff_checks import (
    check_chain,
    check_magic,
    check_ome,
    check_page,
    check_series,
    check_tags,
)
from unmask.io.tiff_decode import Layout, layout_of
from unmask.io.tiff_header import first_description
from unmask.io.tiff_metadata import describe, facts_of, image_of, resolution
from unmask.io.tiff_segments import Pages, Source, Table, table_of, tables_of_set
from unmask.io.tiff_series import choose_series

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
        DataError: damaged, a bomb, several images in one file, a missing file of a set, or no such
            level.
        MissingPackageError: a compression that needs imagecodecs.
    """
    del labels
    first = _checked(location, location.path)
    description = first_description(location.path)
    ome = ome_source(location, description) if is_ome(description) else None
    sources = [first, *(_checked(location, path) for path in (ome.partners if ome else ()))]
    with tifffile.TiffFile(location.path, omexml=ome.text if ome else None) as file:
        _only_this_file(location, file)
        check_page(location, file.pages.first, first.mark.size)
        number = choose_series(location, file)
        levels = file.series[number].levels
        if not 0 <= level < len(levels):
            raise DataError(
                message(
                    location.source,
                    expected=f"a level from 0 to {len(levels) - 1}",
                    found=f"level={level}",
                    do="Choose one of these.",
                )
            )
        chosen: Any = levels[level]
        check_page(location, chosen.keyframe, sum(source.mark.size for source in sources))
        check_series(location, file, chosen, first.mark.size)
        if ome:
            check_ome(location, file.series[number], image_of(file.series[number], ome.document))
        stored = _stored(sources, chosen, (number, level))
        facts = facts_of(file, file.series[number], ome.document if ome else None)
        orientation = chosen.keyframe.tags.valueof(exif.TAG)
        doubts = _doubt_color(location, chosen)
    ratio = [a / b for a, b in zip(levels[0].shape, chosen.shape, strict=True)]
    factor = dict(zip(levels[0].axes, ratio, strict=True))
    spacing = {axis: size * factor.get(axis, 1.0) for axis, size in facts.spacing.items()}
    meta: dict[str, Any] = {"channels": facts.channels} if any(facts.channels) else {}
    if chosen.keyframe.photometric == tifffile.PHOTOMETRIC.RGB and "S" in chosen.axes:
        meta["color"] = True
    if doubts:
        meta["doubts"] = doubts
    if len(sources) > 1:
        meta["files"] = tuple(str(source.location.path) for source in sources)
    found = replace(stored, spacing=spacing, unit=facts.unit, meta=meta)
    return exif.apply_orientation(found, orientation)


def _doubt_color(location: Location, series: Any) -> tuple[str, ...]:
    """A note on planes that may be a stack although the file calls them colors.

    tifffile writes an array of three or four planes as planar RGB unless ``photometric`` is given.
    """
    lengths = dict(zip(series.axes, series.shape, strict=True))
    if series.kind != "shaped" or not series.axes.startswith("SYX"):
        return ()
    return (
        f"{location.source}: its {lengths['S']} planes are read as the colors of one image, as the "
        "file says; Python programs often save stacks so. If they are slices or points in time, "
        "give --set data.axes=ZYX or TYX, and --planes z or t to predict them one by one; if they "
        "are colors, --set data.axes=CYX.",
    )


def _checked(location: Location, path: Path) -> Source:
    """A file of the image, of which nothing is believed yet."""
    own = location if path == location.path else Location(str(path), path)
    mark = signature(path)
    if mark.size < 16:
        raise DataError(
            message(own.source, expected="a TIFF", found=f"{mark.size} bytes", do="Copy it again.")
        )
    with map_file(own, mark) as buffer:
        check_magic(own, buffer)
        check_chain(own, buffer)
        check_tags(own, buffer)
    return Source(own, mark)


def _only_this_file(location: Location, file: tifffile.TiffFile) -> None:
    """Keep the library from looking for other files of a Micro-Manager data set on its own.

    It would open whatever has a fitting name, pipes too. Such sets carry OME metadata as well,
    whose partners are checked.

    Raises:
        DataError: a set without them.
    """
    folder = location.path.parent
    # The folder is listed for such files only: to list it for each file of a large folder takes
    # longer than to open them all.
    if file.is_mmstack and len([*itertools.islice(folder.glob("*_MMStack*.tif"), 2)]) > 1:
        file.is_mmstack = False
    if file.is_ndtiff and (folder / "NDTiff.index").exists():
        raise DataError(
            message(
                location.source,
                expected="an image in one file, or in an OME-TIFF set",
                found="a part of an NDTiff data set",
                do="Export it as OME-TIFF.",
            )
        )


def _stored(sources: Sequence[Source], series: Any, place: tuple[int, int]) -> Stored:
    """Shape, axes and reader of a series.

    Args:
        sources: the files of the image.
        series: the chosen level.
        place: number of the series in the file, and of the level in the series.
    """
    location, mark = sources[0].location, sources[0].mark
    shape, axes = _axes(series)
    dtype = series.dtype.newbyteorder("=")
    size = sum(source.mark.size for source in sources)
    limits.check_claim(location.source, prod(shape) * dtype.itemsize, size)
    layouts = {id(series.keyframe): layout_of(series.keyframe)}
    if len(sources) == 1 and series.dataoffset is not None and dtype.kind != "b":
        return Stored(shape, dtype, axes, _mapped(location, mark, series, shape))
    tables: Sequence[Table | None] | Callable[[], Sequence[Table | None]]
    if len(sources) > 1:
        tables = tables_of_set(sources, series, layouts)
    elif len(series.pages) == 1:
        # One page says all there is to know; the pages of a stack are looked up when needed.
        tables = [table_of(series.keyframe, layouts)]
    else:
        tables = partial(_look_up, location, mark, place)
    return Stored(shape, dtype, axes, Pages(sources, series.keyframe, shape, tables).read)


def _look_up(location: Location, mark: Mark, place: tuple[int, int]) -> list[Table | None]:
    """Tables of all pages."""
    check_file(location, mark)
    layouts: dict[int, Layout] = {}
    description = first_description(location.path)
    text = ome_source(location, description).text if is_ome(description) else None
    with tifffile.TiffFile(location.path, omexml=text) as file:
        _only_this_file(location, file)
        pages = file.series[place[0]].levels[place[1]].pages
        return [None if page is None else table_of(page, layouts) for page in pages]


def _mapped(
    location: Location,
    mark: Mark,
    series: tifffile.TiffPageSeries,
    shape: tuple[int, ...],
) -> Callable[[Index], np.ndarray]:
    """Reader over uncompressed values that lie in one piece."""
    dtype = np.dtype(series.keyframe.parent.byteorder + series.dtype.char)
    offset = int(series.dataoffset or 0)
    needed = offset + prod(shape) * dtype.itemsize
    if needed > mark.size:
        raise DataError(
            message(
                location.source,
                expected=f"{needed} bytes for shape {shape}, {dtype}",
                found=f"{mark.size} bytes (truncated)",
                do="Copy the file again.",
            )
        )
    shelf: recent.Shelf[np.ndarray] = recent.make_opened_shelf()

    def mapped() -> np.ndarray:
        buffer = map_file(location, mark)
        return np.frombuffer(buffer, dtype, prod(shape), offset).reshape(shape)

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
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
    _refuse_number(location)
    array, axes = content.array, content.axes
    color = axes == "CYX" and array.dtype == np.uint8 and array.shape[0] in (3, 4)
    if color:
        array, axes = np.moveaxis(array, 0, -1), "YXS"
    kind = _kind(location, array.dtype, array.nbytes)
    rows, columns = array.shape[axes.index("Y")], array.shape[axes.index("X")]
    # In ImageJ's order of axes tifffile takes planes of one column for the rows of one plane.
    if kind == "imagej" and columns == 1 < array.size:
        kind = "json"
    if kind == "imagej" and axes == "CZYX":
        array, axes = np.moveaxis(array, 0, 1), "ZCYX"
    options: dict[str, Any] = {"tile": (_TILE, _TILE)} if min(rows, columns) >= _TILED else {}
    if kind == "imagej":
        options["imagej"] = True
    with atomic_path(location.path) as aside:
        tifffile.imwrite(
            aside,
            np.ascontiguousarray(array),
            ome=kind == "ome",
            bigtiff=kind != "imagej" and array.nbytes > _CLASSIC,
            photometric="rgb" if color else "minisblack",
            compression="zlib",
            metadata=describe(kind, axes, content.spacing, content.unit),
            **resolution(kind, content.spacing, content.unit),
            **options,
        )


def copy_tiff(location: Location, stored: Stored) -> None:
    """Write a label volume or plane in deflated tiles, one after the other."""
    _refuse_number(location)
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
            metadata=describe(kind, stored.axes, spacing, stored.unit),
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


def _refuse_number(location: Location) -> None:
    """An image cannot be added to a TIFF, and the file must not be replaced by it."""
    if location.key:
        raise DataError(
            message(
                location.source,
                expected="the name of a TIFF file to write",
                found=f"a number after it, :{location.key}",
                do="Leave it out.",
            )
        )


def _kind(location: Location, dtype: np.dtype[Any], nbytes: int) -> str:
    """Which metadata to write."""
    name = location.path.name.lower()
    if ".ome." in name and dtype not in (np.uint64, np.int64, np.float16):
        return "ome"
    if dtype in (np.uint8, np.uint16, np.float32) and nbytes < _CLASSIC:
        return "imagej"
    return "json"


FORMAT = Format("TIFF", open_tiff, save_tiff, family=".tif", copy=copy_tiff)
SLIDE_FORMAT = Format("Whole slide", open_tiff, family=".tif")
OME_FORMAT = Format("OME-TIFF", open_tiff, save_tiff, family=".ome.tif", copy=copy_tiff)
