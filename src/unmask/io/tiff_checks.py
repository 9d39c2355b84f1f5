"""What is checked in a TIFF before any of it is believed."""

from __future__ import annotations

import mmap
import struct
from math import prod
from typing import Any

import tifffile

from unmask.errors import DataError, MissingPackageError, message
from unmask.io import limits
from unmask.io.contract import Location
from unmask.io.ome import OmeImage

# Walking the chain of a million pages takes a second; no microscope writes as many.
_MOST_PAGES = 200_000
# Bytes of a value by the type code of its tag; others have one.
_TYPE_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check_magic(location: Location, buffer: mmap.mmap) -> None:
    """Refuse what is no TIFF by its first bytes.

    Raises:
        DataError: it is not a TIFF file.
    """
    start = buffer[:4]
    if start not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise DataError(
            message(
                location.source,
                expected="a TIFF file",
                found=f"a file that starts {bytes(buffer[:12])!r}",
                do="Export it again, or give it the suffix of its real format.",
            )
        )


def check_chain(location: Location, buffer: mmap.mmap) -> None:
    """Walk the chain of pages: it must end, inside the file, after a sane number of pages.

    Raises:
        DataError: it does not.
    """
    order = "<" if buffer[:2] == b"II" else ">"
    big = buffer[2:4] in (b"+\0", b"\0+")
    count = struct.Struct(order + ("Q" if big else "H"))
    link = struct.Struct(order + ("Q" if big else "I"))
    tag = 20 if big else 12
    (offset,) = link.unpack_from(buffer, 8 if big else 4)
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= _MOST_PAGES or offset + count.size > len(buffer):
            problem = (
                ("a loop of pages" if offset in seen else f"more than {_MOST_PAGES} pages")
                if offset + count.size <= len(buffer)
                else f"page {len(seen)} past its end (truncated)"
            )
            raise DataError(
                message(
                    location.source,
                    expected="a chain of pages that ends",
                    found=problem,
                    do="The file is damaged; copy or export it again.",
                )
            )
        seen.add(offset)
        (tags,) = count.unpack_from(buffer, offset)
        after = offset + count.size + tags * tag
        if after + link.size > len(buffer):
            raise DataError(
                message(
                    location.source,
                    expected=f"{tags} tags on page {len(seen) - 1}",
                    found="the end of the file (truncated)",
                    do="Copy the file again.",
                )
            )
        (offset,) = link.unpack_from(buffer, after)


def check_tags(location: Location, buffer: mmap.mmap) -> None:
    """Values of the first page's tags must lie inside the file; a parser may just leave them out.

    Raises:
        DataError: the file is truncated.
    """
    order = "<" if buffer[:2] == b"II" else ">"
    big = buffer[2:4] in (b"+\0", b"\0+")
    entry = struct.Struct(order + ("HHQQ" if big else "HHII"))
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), buffer, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), buffer, start)
    start += 8 if big else 2
    for number in range(count):
        tag, kind, values, offset = entry.unpack_from(buffer, start + number * entry.size)
        nbytes = values * _TYPE_SIZES.get(kind, 1)
        if nbytes > (8 if big else 4) and offset + nbytes > len(buffer):
            raise DataError(
                message(
                    location.source,
                    expected=f"{offset + nbytes} bytes, as its tag {tag} says",
                    found=f"{len(buffer)} bytes (truncated)",
                    do="Copy the file again.",
                )
            )


def check_page(location: Location, page: Any, size: int) -> None:
    """Refuse bombs, colors without meaning and codecs that are not installed.

    Raises:
        DataError: the page is damaged, too large or of an unknown kind.
        MissingPackageError: its codec needs a package that is not installed.
    """
    dtype = page.dtype
    if dtype is None:
        raise DataError(
            message(
                location.source,
                expected="bool, integer or float values",
                found=f"{page.bitspersample} bits of sample format {page.sampleformat}",
                do="Export it with 8, 16 or 32 bits.",
            )
        )
    limits.check_claim(location.source, prod(page.shaped) * dtype.itemsize, size)
    unit = page.chunks
    limits.check_claim(location.source, prod(unit) * dtype.itemsize, size)
    limits.check_unit(location.source, unit, dtype.itemsize, name="tile or strip")
    # Border tiles are padded, but nothing writes tiles many times as large as the image.
    if prod(unit) * dtype.itemsize > limits.HARMLESS and prod(unit) > 4 * prod(page.shaped):
        raise _contradiction(
            location,
            f"tiles no larger than the image, {tuple(page.shaped)}",
            f"tiles of {tuple(unit)}",
        )
    if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
        raise DataError(
            message(location.source, expected="gray or RGB", found="CMYK", do="Convert it to RGB.")
        )
    try:
        _ = page.compression == 1 or tifffile.TIFF.DECOMPRESSORS[page.compression]
        _ = page.predictor == 1 or tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        if "imagecodecs" in str(error):
            raise MissingPackageError(
                f"{location.source}: {error.args[0]}. Install it with: pip install imagecodecs"
            ) from error
        raise


def check_series(location: Location, file: tifffile.TiffFile, series: Any, size: int) -> None:
    """The metadata, the chain of pages and the bytes of the file must describe the same planes.

    Args:
        location: the file.
        file: the same, open.
        series: the chosen image.
        size: bytes of the file.

    Raises:
        DataError: planes are missing, or there are more than the image has.
    """
    if file.is_imagej and not file.is_ome and series.kind == "generic":
        raise _contradiction(location, "pages as its ImageJ metadata say", "others")
    claimed = prod(series.shape) // max(prod(series.keyframe.shaped), 1)
    pages = [page for page in series.pages if page is not None]
    virtual = len(series.pages) == 1 < claimed
    found = claimed if virtual else len(pages)
    if virtual:
        # All planes lie behind the first page, which alone is listed.
        found = _planes_behind(file, series, size)
    elif series.kind == "imagej":
        found = max(found, len(file.pages))
    if found != claimed:
        raise _contradiction(
            location, f"{claimed} planes, as its {series.kind} metadata say", f"{found}"
        )


def check_ome(location: Location, series: Any, image: OmeImage | None) -> None:
    """The sizes in OME metadata must be those of the pages.

    Raises:
        DataError: they are others.
    """
    if image is None:
        return
    height, width = (int(image.pixels.get(f"Size{axis}", 0)) for axis in "YX")
    page = series.keyframe
    # What the library could not apply comes as a bare stack of pages.
    found = image.listed if series.kind == "ome" else len(series.pages)
    # Some programs leave out how many samples a plane has.
    fitting = (found, found * page.samplesperpixel)
    wrong = found > image.planes if series.kind == "ome" else image.planes not in fitting
    if (height, width) != (page.imagelength, page.imagewidth) or wrong:
        raise _contradiction(
            location,
            f"{image.planes} planes of {width} x {height}, as its OME metadata say",
            f"{found} of {page.imagewidth} x {page.imagelength}",
        )


def _contradiction(location: Location, expected: str, found: str) -> DataError:
    return DataError(
        message(
            location.source,
            expected=expected,
            found=found,
            do="The file is incomplete or was changed; export it again.",
        )
    )


def _planes_behind(file: tifffile.TiffFile, series: Any, size: int) -> int:
    """How many planes fit between the first one and the next page, or the end of the file."""
    page = series.keyframe
    plane = prod(page.shaped) * page.dtype.itemsize
    start = page.dataoffsets[0] if page.dataoffsets else size
    claimed = prod(series.shape) // prod(page.shaped)
    offsets = [other.offset for other in file.pages if other.offset >= start + plane]
    end = min([size, *offsets])
    return int((end - start) // max(plane, 1)) if len(page.dataoffsets) else claimed
