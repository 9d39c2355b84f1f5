"""Strips and tiles of TIFF pages, decoded only where a read meets them."""

from __future__ import annotations

import itertools
import mmap
from dataclasses import dataclass
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import tifffile

from unmask.errors import DataError, told
from unmask.io import recent
from unmask.io.stored import Index, Location, map_file

# A page of any TIFF has five axes: planar samples, depth, rows, columns, interleaved samples.
Page = tuple[slice, slice, slice, slice, slice]


@dataclass(frozen=True)
class Table:
    """Where the segments of one page lie in the file."""

    offsets: np.ndarray
    counts: np.ndarray
    jpeg: bytes | None


class Pages:
    """Reader over the pages of one series.

    Args:
        location: the file.
        mark: its signature when the header was read.
        series: the chosen resolution level.
        shape: of the series, with axes of length 1.
        place: number of the series in the file and of the level in the series.
    """

    def __init__(
        self,
        location: Location,
        mark: tuple[int, int],
        series: tifffile.TiffPageSeries,
        *,
        shape: tuple[int, ...],
        place: tuple[int, int],
    ) -> None:
        page: Any = series.keyframe
        self._location, self._mark, self._place = location, mark, place
        self._shape, self._page_shape = shape, tuple(int(n) for n in page.shaped)
        self._dtype = page.dtype.newbyteorder("=")
        self._count = prod(shape) // prod(self._page_shape)
        self._outer = _outer_axes(shape, self._count)
        self._inner = _inner_axes(shape[self._outer :], self._page_shape)
        self._segment = _segment_shape(page)
        self._grid = _segment_grid(page, self._segment)
        self._decode = page.decode
        self._nodata = page.nodata
        self._raw = _raw_dtype(page)
        self._lock = Lock()
        # One page says all there is to know; the pages of a stack are looked up when needed.
        self._tables: list[Table | None] = [_table(page)] if self._count == 1 else []
        self._maps: recent.Shelf[mmap.mmap] = recent.opened()
        self._decoded = recent.decoded()

    def read(self, index: Index) -> np.ndarray:
        """Values inside one slice for every axis of the series."""
        ranges = [range(part.start, part.stop) for part in index]
        inner = self._page_index(index[self._outer :])
        part_shape = tuple(part.stop - part.start for part in inner)
        out = np.empty((prod(len(r) for r in ranges[: self._outer]), *part_shape), self._dtype)
        for row, outer in enumerate(itertools.product(*ranges[: self._outer])):
            number = 0
            for position, length in zip(outer, self._shape, strict=False):
                number = number * length + position
            self._read_page(number, inner, out[row])
        return out.reshape([len(r) for r in ranges])

    def _page_index(self, index: Index) -> Page:
        """Slices for the five axes of a page from those of the series."""
        whole = [slice(0, n) for n in self._page_shape]
        for axis, part in zip(self._inner, index, strict=True):
            if axis is not None:
                whole[axis] = part
        return (whole[0], whole[1], whole[2], whole[3], whole[4])

    def _read_page(self, number: int, inner: Page, out: np.ndarray) -> None:
        table = self._table(number)
        steps = (1, *self._segment[:3])
        cells = [
            range(part.start // step, -(-part.stop // step))
            for part, step in zip(inner[:4], steps, strict=True)
        ]
        for cell in itertools.product(*cells):
            segment = 0
            for position, length in zip(cell, self._grid, strict=True):
                segment = segment * length + position
            corner = tuple(a * step for a, step in zip(cell, steps, strict=True))
            here, there = [], []
            extent = (1, *self._segment[:3])
            for part, start, length in zip(inner[:4], corner, extent, strict=True):
                low, high = max(part.start, start), min(part.stop, start + length)
                here.append(slice(low - part.start, high - part.start))
                there.append(slice(low - start, high - start))
            values = self._values(number, segment, table)
            target = out[tuple(here)]
            if values is None:
                target[...] = self._nodata
            else:
                target[0] = values[(*there[1:], inner[4])]

    def _values(self, number: int, segment: int, table: Table) -> np.ndarray | None:
        """One decoded segment ``(depth, rows, columns, samples)``; None where it was left out."""
        offset, count = int(table.offsets[segment]), int(table.counts[segment])
        if count == 0 or offset == 0:
            return None
        buffer = self._maps.get("map", lambda: map_file(self._location, self._mark))
        if offset + count > len(buffer):
            raise DataError(
                told(
                    self._location.source,
                    expected=f"{offset + count} bytes, as page {number} says",
                    found=f"{len(buffer)} bytes (truncated)",
                    do="Copy the file again.",
                )
            )
        if self._raw is not None:
            return self._view(buffer, offset, count)

        def decode() -> np.ndarray:
            data = buffer[offset : offset + count]
            values, _, _ = self._decode(data, segment, jpegtables=table.jpeg)
            if values is None:
                raise ValueError(f"segment {segment} of page {number} is empty")
            return values

        return self._decoded.get((number, segment), decode)

    def _view(self, buffer: mmap.mmap, offset: int, count: int) -> np.ndarray:
        """An uncompressed segment, without a copy."""
        depth, rows, columns, samples = self._segment
        rows = min(rows, count // (depth * columns * samples * self._dtype.itemsize))
        values = np.frombuffer(buffer, self._raw, depth * rows * columns * samples, offset)
        return values.reshape(depth, rows, columns, samples)

    def _table(self, number: int) -> Table:
        if not self._tables:
            with self._lock:
                if not self._tables:
                    self._tables = self._look_up()
        table = self._tables[number]
        if table is None:
            raise DataError(
                told(
                    self._location.source,
                    expected=f"{self._count} pages",
                    found=f"no page {number}",
                    do="The file is incomplete; export it again.",
                )
            )
        return table

    def _look_up(self) -> list[Table | None]:
        # The mapping is opened for its check that the file is still the same.
        self._maps.get("map", lambda: map_file(self._location, self._mark))
        number, level = self._place
        with tifffile.TiffFile(self._location.path) as file:
            pages = file.series[number].levels[level].pages
            return [None if page is None else _table(page) for page in pages]


def _table(page: Any) -> Table:
    return Table(
        np.asarray(page.dataoffsets, np.int64),
        np.asarray(page.databytecounts, np.int64),
        page.jpegtables,
    )


def _outer_axes(shape: tuple[int, ...], count: int) -> int:
    """How many leading axes number the pages."""
    axes, product = 0, 1
    while product < count:
        product *= shape[axes]
        axes += 1
    if product != count:
        raise ValueError(f"{count} pages do not make up shape {shape}")
    return axes


def _inner_axes(inner: tuple[int, ...], page: tuple[int, ...]) -> list[int | None]:
    """The axis of a page for each remaining axis of the series, None for those of length 1."""
    long = [axis for axis, length in enumerate(page) if length != 1]
    found: list[int | None] = []
    for length in inner:
        found.append(None if length == 1 else long.pop(0))
        if found[-1] is not None and page[found[-1]] != length:
            raise ValueError(f"page of shape {page} does not fit into {inner}")
    return found


def _segment_shape(page: Any) -> tuple[int, int, int, int]:
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    if page.is_tiled:
        return (page.tiledepth, page.tilelength, page.tilewidth, samples)
    return (1, min(page.rowsperstrip, page.imagelength), page.imagewidth, samples)


def _segment_grid(page: Any, segment: tuple[int, ...]) -> tuple[int, ...]:
    return (page.shaped[0], *(-(-n // s) for n, s in zip(page.shaped[1:4], segment, strict=False)))


def _raw_dtype(page: Any) -> np.dtype[Any] | None:
    """Type of segments that need no decoding, None for others."""
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    if not plain or page.bitspersample not in (8, 16, 32, 64) or page.is_subsampled:
        return None
    return np.dtype(page.parent.byteorder + page.dtype.char)
