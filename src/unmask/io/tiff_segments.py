"""Strips and tiles of TIFF pages, decoded only where a read meets them."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io.contract import Index, Location, Mark, check_file, map_file
from unmask.io.file_bytes import FileBytes
from unmask.io.tiff_checks import check_page
from unmask.io.tiff_decode import Layout, check_table, layout_of

# A page of any TIFF has five axes: planar samples, depth, rows, columns, interleaved samples.
Page = tuple[slice, slice, slice, slice, slice]


@dataclass(frozen=True)
class Source:
    """One file of an image.

    Attributes:
        location: where it is.
        mark: what it was when its header was read.
    """

    location: Location
    mark: Mark


@dataclass(frozen=True)
class Table:
    """Where the segments of one page lie.

    Attributes:
        file: number of the file among those of the image.
        layout: of the page.
        offsets: first byte of each segment.
        counts: stored bytes of each segment.
        jpeg: tables that its segments share.
    """

    file: int
    layout: Layout
    offsets: np.ndarray
    counts: np.ndarray
    jpeg: bytes | None


class Pages:
    """Reader over the pages of one series.

    Args:
        sources: the files; the first is the one that was opened.
        page: a page like all others.
        shape: of the series, with axes of length 1.
        tables: of all pages, or a function that looks them up when they are first needed.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        page: Any,
        shape: tuple[int, ...],
        tables: Sequence[Table | None] | Callable[[], Sequence[Table | None]],
    ) -> None:
        self._sources = tuple(sources)
        self._source = self._sources[0].location.source
        self._shape, self._page_shape = shape, tuple(int(n) for n in page.shaped)
        self._dtype = page.dtype.newbyteorder("=")
        self._count = prod(shape) // prod(self._page_shape)
        self._outer = _outer_axes(shape, self._count)
        self._inner = _inner_axes(shape[self._outer :], self._page_shape)
        self._lock = Lock()
        self._look_up = tables if callable(tables) else None
        self._tables: Sequence[Table | None] = () if callable(tables) else tables
        self._maps: recent.Shelf[mmap.mmap] = recent.make_opened_shelf()
        self._files: recent.Shelf[FileBytes] = recent.make_opened_shelf()
        self._decoded = recent.make_decoded_shelf()

    def read(self, index: Index) -> np.ndarray:
        """Values inside one slice for every axis of the series."""
        ranges = [range(part.start, part.stop) for part in index]
        inner = self._page_index(index[self._outer :])
        part_shape = tuple(part.stop - part.start for part in inner)
        out = np.empty((prod(len(r) for r in ranges[: self._outer]), *part_shape), self._dtype)
        checked: set[int] = set()
        for row, outer in enumerate(itertools.product(*ranges[: self._outer])):
            number = 0
            for position, length in zip(outer, self._shape, strict=False):
                number = number * length + position
            table = self._table(number)
            if table.file not in checked:
                # Decoded segments are kept; those of an older file must not be served.
                check_file(self._sources[table.file].location, self._sources[table.file].mark)
                checked.add(table.file)
            self._read_page(number, table, inner, out[row])
        return out.reshape([len(r) for r in ranges])

    def _page_index(self, index: Index) -> Page:
        """Slices for the five axes of a page from those of the series."""
        whole = [slice(0, n) for n in self._page_shape]
        for axis, part in zip(self._inner, index, strict=True):
            if axis is not None:
                whole[axis] = part
        return (whole[0], whole[1], whole[2], whole[3], whole[4])

    def _read_page(self, number: int, table: Table, inner: Page, out: np.ndarray) -> None:
        extent = (1, *table.layout.segment[:3])
        cells = [
            range(part.start // step, -(-part.stop // step))
            for part, step in zip(inner[:4], extent, strict=True)
        ]
        for cell in itertools.product(*cells):
            segment = 0
            for position, length in zip(cell, table.layout.grid, strict=True):
                segment = segment * length + position
            corner = tuple(a * step for a, step in zip(cell, extent, strict=True))
            here, there = [], []
            for part, start, length in zip(inner[:4], corner, extent, strict=True):
                low, high = max(part.start, start), min(part.stop, start + length)
                here.append(slice(low - part.start, high - part.start))
                there.append(slice(low - start, high - start))
            values = self._values(number, segment, table)
            target = out[tuple(here)]
            if values is None:
                target[...] = table.layout.nodata
            else:
                target[0] = values[(*there[1:], inner[4])]

    def _values(self, number: int, segment: int, table: Table) -> np.ndarray | None:
        """One decoded segment ``(depth, rows, columns, samples)``; None where it was left out."""
        offset, count = int(table.offsets[segment]), int(table.counts[segment])
        if count == 0 or offset == 0:
            return None
        source = self._sources[table.file]
        size = source.mark.size
        if offset + count > size:
            raise DataError(
                message(
                    source.location.source,
                    expected=f"{offset + count} bytes, as page {number} says",
                    found=f"{size} bytes (truncated)",
                    do="Copy the file again.",
                )
            )
        raw = table.layout.raw
        if raw is not None:
            # A segment may be a whole page, of which few rows are needed.
            buffer = self._maps.get(table.file, lambda: map_file(source.location, source.mark))
            return _view(buffer, raw, table.layout, offset, count)

        def decode() -> np.ndarray:
            file = self._files.get(table.file, lambda: FileBytes(source.location, source.mark))
            return table.layout.decode(file.read(offset, count), segment, table.jpeg)

        return self._decoded.get((number, segment), decode)

    def _table(self, number: int) -> Table:
        if not self._tables and self._look_up is not None:
            with self._lock:
                if not self._tables:
                    self._tables = self._look_up()
        table = self._tables[number] if number < len(self._tables) else None
        if table is None:
            raise DataError(
                message(
                    self._source,
                    expected=f"{self._count} pages",
                    found=f"no page {number}",
                    do="The file is incomplete; export it again.",
                )
            )
        return table


def table_of(page: Any, layouts: dict[int, Layout], file: int = 0) -> Table:
    """Where the segments of a page lie.

    Args:
        page: the page.
        layouts: those known already, by the page that they come from.
        file: number of the file among those of the image.

    Raises:
        ValueError: the page contradicts itself.
    """
    key = page.keyframe
    if id(key) not in layouts:
        layouts[id(key)] = layout_of(key)
    layout = layouts[id(key)]
    if page is not key:
        check_table(layout, key, page.dataoffsets, page.databytecounts)
    return Table(
        file,
        layout,
        np.asarray(page.dataoffsets, np.int64),
        np.asarray(page.databytecounts, np.int64),
        page.jpegtables,
    )


def tables_of_set(
    sources: Sequence[Source], series: Any, layouts: dict[int, Layout]
) -> list[Table | None]:
    """Tables of an image whose pages lie in several files.

    Args:
        sources: the files.
        series: the pages.
        layouts: those known already.

    Raises:
        DataError: a page is of another size or type than the others, or lies in a file that was not
            checked.
    """
    numbers = {source.location.path.resolve(): n for n, source in enumerate(sources)}
    shape, dtype = series.keyframe.shaped, series.keyframe.dtype
    tables: list[Table | None] = []
    for page in series.pages:
        if page is None:
            tables.append(None)
            continue
        path = Path(page.parent.filehandle.path)
        key = page.keyframe
        if key.shaped != shape or key.dtype != dtype:
            raise DataError(
                message(
                    path,
                    expected=f"pages of shape {shape}, {dtype}, as in {sources[0].location.source}",
                    found=f"shape {key.shaped}, {key.dtype}",
                    do="It belongs to another image; export the set again.",
                )
            )
        number = numbers[path.resolve()]
        if id(key) not in layouts:
            check_page(sources[number].location, key, sources[number].mark.size)
        tables.append(table_of(page, layouts, number))
    return tables


def _view(
    buffer: mmap.mmap, raw: np.dtype[Any], layout: Layout, offset: int, count: int
) -> np.ndarray:
    """An uncompressed segment, without a copy."""
    depth, rows, columns, samples = layout.segment
    rows = min(rows, count // (depth * columns * samples * raw.itemsize))
    values = np.frombuffer(buffer, raw, depth * rows * columns * samples, offset)
    return values.reshape(depth, rows, columns, samples)


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
