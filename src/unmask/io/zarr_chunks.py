"""Chunks and shards of a Zarr array in a local folder, read without zarr-python.

zarr-python spends a quarter to half a millisecond on each read in its asynchronous machinery, tens
of times the cost of decoding a chunk, and its codecs have no bound (`unmask.io.zarr_codecs`).
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io.chunked import Cell, reader
from unmask.io.contract import Index, Location, mark_of
from unmask.io.outside import check_inside
from unmask.io.zarr_codecs import Pipeline, UnknownCodecError, parse_codecs, pipeline_of

# The clock of a file system ticks every 10 ms at the slowest usual setting of the kernel.
_TICK_NS = 50 * 10**6
# An entry of a shard's index that says that there is no chunk.
_MISSING = 2**64 - 1


@dataclass(frozen=True)
class Plain:
    """An array whose chunks are files."""

    location: Location
    folder: Path
    array: Any
    pipeline: Pipeline

    def file(self, cell: Cell) -> Path:
        """Path of a chunk."""
        return self.folder / self.array.metadata.encode_chunk_key(cell)

    def version(self, cell: Cell) -> Hashable:
        """Identity of a stored chunk; 0 if it was never written."""
        try:
            status = self.file(cell).stat()
        except FileNotFoundError:
            return 0
        mark = mark_of(status)
        age = time.time_ns() - max(mark.modified, mark.changed)
        # A chunk rewritten twice within one tick may even get its old inode back, so a chunk that
        # has just been written is not served from memory.
        return mark if abs(age) > _TICK_NS else (mark, time.monotonic_ns())

    def load(self, cell: Cell) -> np.ndarray:
        """A decoded chunk, whole even at the far edge.

        Raises:
            ValueError: the chunk is damaged; its key is named.
            DataError: the chunk is a link out of the store.
        """
        shape, file = self.array.chunks, self.file(cell)
        try:
            size = _check_file(self.location, file)
        except FileNotFoundError:
            return _fill(self.array, self.pipeline)
        limit = self.pipeline.limit(shape)
        if size > limit:
            raise ValueError(f"chunk {self._key(cell)} has {size} bytes, more than {limit}")
        try:
            return self.pipeline.decode(file.read_bytes(), shape)
        except ValueError as error:
            raise ValueError(f"chunk {self._key(cell)}: {error}") from error

    def _key(self, cell: Cell) -> str:
        return self.array.metadata.encode_chunk_key(cell)


@dataclass(frozen=True)
class Shards:
    """An array whose files hold many chunks each, with an index.

    Attributes:
        ratio: chunks per shard, per axis.
        index: codecs of the index.
        first: the index is at the start of the file, not at its end.
        indexes: of the shards that were read last.
    """

    plain: Plain
    ratio: tuple[int, ...]
    index: Pipeline
    first: bool
    indexes: recent.Shelf[np.ndarray]

    def version(self, cell: Cell) -> Hashable:
        """Identity of the shard of a chunk."""
        return self.plain.version(self._shard(cell))

    def load(self, cell: Cell) -> np.ndarray:
        """A decoded chunk.

        Raises:
            ValueError: the chunk or the index is damaged.
            DataError: the shard is a link out of the store.
        """
        shard = self._shard(cell)
        file = self.plain.file(shard)
        shape, pipeline = self.plain.array.chunks, self.plain.pipeline
        try:
            size = _check_file(self.plain.location, file)
        except FileNotFoundError:
            return _fill(self.plain.array, pipeline)
        key = self.plain.array.metadata.encode_chunk_key(shard)
        inner = tuple(a % n for a, n in zip(cell, self.ratio, strict=True))
        try:
            with file.open("rb") as handle:
                index = self.indexes.get(
                    (shard, self.version(cell)), lambda: self._read_index(handle, size)
                )
                start, count = (int(number) for number in index[inner])
                if start == count == _MISSING:
                    return _fill(self.plain.array, pipeline)
                handle.seek(min(start, size))
                data = handle.read(min(count, pipeline.limit(shape)))
                return pipeline.decode(data, shape)
        except ValueError as error:
            raise ValueError(f"chunk {inner} of shard {key}: {error}") from error

    def _shard(self, cell: Cell) -> Cell:
        return tuple(a // n for a, n in zip(cell, self.ratio, strict=True))

    def _read_index(self, handle: BinaryIO, size: int) -> np.ndarray:
        checksum = 4 * len(self.index.decoders)
        count = 16 * prod(self.ratio) + checksum
        if count > size:
            raise ValueError(f"{size} bytes, fewer than its index has")
        handle.seek(0 if self.first else size - count)
        return self.index.decode(handle.read(count), (*self.ratio, 2))


def chunk_reader(location: Location, folder: Path, array: Any) -> Callable[[Index], np.ndarray]:
    """Reader over the chunks of an open array in a local folder.

    Raises:
        DataError: a codec that is not supported.
    """
    try:
        source = _shards(location, folder, array) or Plain(
            location, folder, array, pipeline_of(array)
        )
    except UnknownCodecError as error:
        raise DataError(
            message(
                location.source,
                expected="a Zarr codec out of blosc, zstd, gzip, zlib, lz4, bz2 and lzma",
                found=str(error),
                do="Write the array again with one of these.",
            )
        ) from error
    dtype = array.dtype.newbyteorder("=")
    return reader(array.chunks, dtype, source.load, source.version)


def _shards(location: Location, folder: Path, array: Any) -> Shards | None:
    """The array as shards; None if every chunk is a file."""
    codecs = [codec.to_dict() for codec in getattr(array.metadata, "codecs", ())]
    if [codec["name"] for codec in codecs] != ["sharding_indexed"]:
        return None
    options: Any = codecs[0]["configuration"]
    inner, ndim = parse_codecs(options["codecs"], array.dtype, array.ndim), array.ndim
    index = parse_codecs(options["index_codecs"], np.dtype(np.uint64), ndim + 1)
    if any(codec["name"] not in ("bytes", "crc32c") for codec in options["index_codecs"]):
        raise UnknownCodecError("a packed index of shards")
    ratio = tuple(a // n for a, n in zip(array.shards, array.chunks, strict=True))
    place = options.get("index_location", "end")
    first = str(getattr(place, "value", place)) == "start"
    plain = Plain(location, folder, array, inner)
    return Shards(plain, ratio, index, first, recent.decoded())


def _fill(array: Any, pipeline: Pipeline) -> np.ndarray:
    value = 0 if array.fill_value is None else array.fill_value
    return np.full(array.chunks, value, pipeline.stored)


def _check_file(location: Location, file: Path) -> int:
    """Bytes of a chunk's file, which must be a file of the store."""
    status = file.lstat()
    _check_folder(location, file.parent)
    if stat.S_ISLNK(status.st_mode):
        check_inside(location, file)
        status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{file.name} is not a file")
    return status.st_size


@lru_cache(maxsize=4096)
def _check_folder(location: Location, folder: Path) -> None:
    """Following every link of a path costs more than decoding a small chunk."""
    check_inside(location, folder)
