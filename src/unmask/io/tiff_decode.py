"""How the strips and tiles of a TIFF page are laid out, and decoders that stay within them.

A decoder that believes the data it decodes can be made to fill any memory: a strip may hold a PNG
of a gigapixel. So every decoder here gets the room that the page's own header gives its strip, and
data that do not fit are refused before they are decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import tifffile

from unmask.io import limits

# Decoded values ``(depth, rows, columns, samples)`` from stored bytes, number, JPEG tables.
Decode = Callable[[bytes, int, "bytes | None"], np.ndarray]

_JPEG = (6, 7, 33007, 34892)
# LZW and LZMA fill the room they get and stop there; the others refuse data that do not fit.
_SILENT = (5, 34925)
# Codecs of whole pictures, which have a header of their own: JPEG XR, JPEG 2000, LERC, PNG, WebP,
# JPEG XL.
_PICTURES = (22610, 34934, 33003, 33004, 33005, 34712, 34887, 34933, 50001, 34927, 50002, 52546)
# Bytes that a writer may leave after the data of a strip.
_SLACK = 4
# Frame headers of JPEG; C4, C8 and CC are others.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Layout:
    """What the pages of one kind have in common.

    Attributes:
        segment: shape of a strip or tile: depth, rows, columns, samples.
        grid: strips or tiles along planes, depth, rows and columns.
        decode: a strip or tile.
        raw: type of values that need no decoding, None if they do.
        nodata: value of a strip or tile that was left out.
        height: rows of the page.
    """

    segment: tuple[int, int, int, int]
    grid: tuple[int, ...]
    decode: Decode
    raw: np.dtype[Any] | None
    nodata: Any
    height: int

    @property
    def count(self) -> int:
        """Number of strips or tiles."""
        return prod(self.grid)


def layout_of(page: Any) -> Layout:
    """The layout of a page.

    Raises:
        ValueError: the page contradicts itself.
    """
    segment = _segment_shape(page)
    grid = (
        page.shaped[0],
        *(-(-n // step) for n, step in zip(page.shaped[1:4], segment, strict=False)),
    )
    layout = Layout(
        segment, grid, _decoder(page, segment), _raw_dtype(page), page.nodata, page.shaped[2]
    )
    check_table(layout, page, page.dataoffsets, page.databytecounts)
    return layout


def check_table(layout: Layout, page: Any, offsets: Any, counts: Any) -> None:
    """Refuse a page whose strips do not make up its size.

    Raises:
        ValueError: names what contradicts what.
    """
    if len(offsets) != layout.count or len(counts) != layout.count:
        raise ValueError(
            f"a size of {page.imagewidth} x {page.imagelength} needs {layout.count} strips or "
            f"tiles, the page has {len(offsets)}"
        )
    if page.compression != 1 or page.is_subsampled:
        return
    depth, rows, columns, samples = layout.segment
    line = -(-columns * samples * int(np.max(page.bitspersample)) // 8)
    for number, count in enumerate(np.asarray(counts).tolist()):
        top = number % layout.grid[2] * rows
        least = line * depth * (rows if page.is_tiled else min(rows, layout.height - top))
        # Sizes of 4 GiB and more do not fit into the field, and programs write what is left.
        if count and not least <= count < max(depth * rows * line, least) + line and least < 2**32:
            raise ValueError(f"strip or tile {number} has {count} bytes, its size needs {least}")


def _decoder(page: Any, segment: tuple[int, int, int, int]) -> Decode:
    """The bounded decoder of a page."""
    library = page.decode
    itemsize = page.dtype.itemsize

    def bounded(data: bytes, index: int, tables: bytes | None) -> np.ndarray:
        limits.check_claim(
            f"strip or tile {index}",
            prod(segment) * itemsize,
            len(data),
            ratio=limits.WHOLE_RATIO,
            harmless=limits.WHOLE_HARMLESS,
        )
        if page.compression in _JPEG:
            _check_jpeg(data, segment)
        values, _, _ = library(data, index, jpegtables=tables)
        if values is None:
            raise ValueError(f"strip or tile {index} is empty")
        return values

    if page.compression in _PICTURES:
        return _picture_decoder(page, segment)
    if page.compression in _SILENT:
        return _strict(page, segment, bounded)
    return bounded


def _strict(page: Any, segment: tuple[int, int, int, int], library: Decode) -> Decode:
    """Refuse what unpacks to more bytes than its strip has."""
    unpack: Any = tifffile.TIFF.DECOMPRESSORS[page.compression]
    bits = int(np.max(page.bitspersample))
    line = prod(segment[2:]) * bits // 8
    whole = segment[0] * segment[1] * line
    direct = (
        np.ndim(page.bitspersample) == 0
        and bits in (8, 16, 32, 64)
        and page.predictor in (1, 2)
        and page.fillorder == 1
    )
    if not direct:
        return library
    stored = np.dtype(page.parent.byteorder + page.dtype.char)
    across = -(-page.shaped[2] // segment[1])

    def decode(data: bytes, index: int, tables: bytes | None) -> np.ndarray:
        limits.check_claim(
            f"strip or tile {index}", whole, len(data), ratio=limits.WHOLE_RATIO,
            harmless=limits.WHOLE_HARMLESS,
        )  # fmt: skip
        plain = unpack(data, out=whole + _SLACK)
        rows = segment[1]
        if not page.is_tiled and len(plain) < whole:
            rows = min(rows, page.shaped[2] - index % across * rows)
        room = segment[0] * rows * line
        if not room <= len(plain) < room + _SLACK:
            # The library knows a few more ways to be shorter, and none to be longer.
            if len(plain) > room:
                raise ValueError(f"strip or tile {index} unpacks to more than its {room} bytes")
            return library(data, index, tables)
        values = np.frombuffer(plain, stored, room // stored.itemsize)
        values = values.reshape(segment[0], rows, *segment[2:])
        values = values.astype(stored.newbyteorder("="))
        if page.predictor == 2:
            values = tifffile.TIFF.UNPREDICTORS[2](values, axis=-2, out=values)
        return values

    return decode


def _picture_decoder(page: Any, segment: tuple[int, int, int, int]) -> Decode:
    """Decoder into an array of the strip's size; codecs compare it with their own header first."""
    unpack: Any = tifffile.TIFF.DECOMPRESSORS[page.compression]
    options = {"hasalpha": True} if page.compression in (50001, 34927) and segment[3] == 4 else {}

    def decode(data: bytes, index: int, tables: bytes | None) -> np.ndarray:
        del tables
        problems = []
        for shape in _shapes(page, segment, index):
            bare = shape[1:] if shape[0] == 1 else shape
            out = np.empty(bare[:-1] if bare[-1] == 1 else bare, page.dtype.newbyteorder("="))
            limits.check_claim(
                f"strip or tile {index}", out.nbytes, len(data), ratio=limits.WHOLE_RATIO,
                harmless=limits.WHOLE_HARMLESS,
            )  # fmt: skip
            try:
                unpack(data, out=out, **options)
            except (ValueError, RuntimeError) as error:
                problems.append(str(error))
            else:
                return out.reshape(shape)
        raise ValueError(f"strip or tile {index}: {problems[0]}")

    return decode


def _shapes(page: Any, segment: tuple[int, ...], index: int) -> Iterator[tuple[int, ...]]:
    """Sizes that a picture in a strip or tile may have: whole, or cut at the far edge."""
    yield (*segment,)
    _, _, height, width, _ = page.shaped
    depth, rows, columns, samples = segment
    across = -(-width // columns)
    top = index // across % -(-height // rows) * rows
    left = index % across * columns
    cut = (min(rows, height - top), min(columns, width - left))
    for size in dict.fromkeys([cut, (cut[0], columns)]):
        if size != (rows, columns):
            yield (depth, *size, samples)


def _check_jpeg(data: bytes, segment: tuple[int, int, int, int]) -> None:
    """Refuse a JPEG that is larger than its strip."""
    rows, columns, samples = jpeg_shape(data)
    if rows > segment[1] or columns > segment[2] or samples != segment[3]:
        raise ValueError(
            f"a JPEG of {columns} x {rows} pixels with {samples} samples, in a strip or tile of "
            f"{segment[2]} x {segment[1]} with {segment[3]}"
        )


def jpeg_shape(data: bytes) -> tuple[int, int, int]:
    """Rows, columns and samples in the frame header of a JPEG.

    Raises:
        ValueError: there is none.
    """
    place = 2
    while place + 10 <= len(data):
        if data[place] != 0xFF:
            break
        code = data[place + 1]
        if code == 0xFF:
            place += 1
            continue
        if code in _FRAMES:
            return struct.unpack_from(">HHB", data, place + 5)
        if 0xD0 <= code <= 0xD8 or code == 0x01:
            place += 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        place += 2 + length
    raise ValueError("a JPEG without a frame header")


def _segment_shape(page: Any) -> tuple[int, int, int, int]:
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    if page.is_tiled:
        return (page.tiledepth, page.tilelength, page.tilewidth, samples)
    return (1, min(page.rowsperstrip, page.imagelength), page.imagewidth, samples)


def _raw_dtype(page: Any) -> np.dtype[Any] | None:
    """Type of strips and tiles that need no decoding, None for others."""
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    if not plain or page.bitspersample not in (8, 16, 32, 64) or page.is_subsampled:
        return None
    return np.dtype(page.parent.byteorder + page.dtype.char)
