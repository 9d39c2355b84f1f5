"""Chunks and shards of a Zarr array in a folder or at an address, read without zarr-python.

zarr-python spends a quarter to half a millisecond on each read in its asynchronous machinery, tens
of times the cost of decoding a chunk, and its codecs have no bound (`unmask.io.zarr_codecs`).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io.chunked import Cell, reader
from unmask.io.contract import Index, Location, mark_of
from unmask.io.outside import check_inside
from unmask.io.remote import RemotePath
from unmask.io.zarr_codecs import Pipeline, UnknownCodecError, parse_codecs, pipeline_of

# The clock of a file system ticks every 10 ms at the slowest usual setting of the kernel.
_TICK_NS = 50 * 10**6
# An entry of a shard's index that says that there is no chunk.
_MISSING = 2**64 - 1


class ChunkFiles(Protocol):
    """The files of an array's chunks, on a disk or at an address."""

    def version(self, key: str) -> Hashable:
        """Changes when the file does; 0 if it was never written."""
        ...

    def read(self, key: str, limit: int) -> bytes | None:
        """Content of a file; None if there is none.

        Raises:
            ValueError: not a file, or more than ``limit`` bytes.
            DataError: a link out of the store, or a server that does not answer.
        """
        ...

    def read_range(self, key: str, start: int, count: int, limit: int) -> bytes | None:
        """Some bytes, counted from the end if ``start`` is negative; fewer if there are no more.

        ``limit`` is the largest size of a file that may be read whole for them.
        """
        ...


@dataclass(frozen=True)
class LocalFiles:
    """Files in a local folder."""

    location: Location
    folder: Path

    def version(self, key: str) -> Hashable:
        """Identity of a stored file; 0 if it was never written."""
        try:
            # Joining paths as text takes a third of the time of a chunk that is in memory.
            status = os.stat(f"{self.folder}/{key}")  # noqa: PTH116
        except FileNotFoundError:
            return 0
        mark = mark_of(status)
        age = time.time_ns() - max(mark.modified, mark.changed)
        # A chunk rewritten twice within one tick may even get its old inode back, so a chunk that
        # has just been written is not served from memory.
        return mark if abs(age) > _TICK_NS else (mark, time.monotonic_ns())

    def read(self, key: str, limit: int) -> bytes | None:
        """Content of a file."""
        file = self.folder / key
        try:
            size = _check_file(self.location, file)
        except FileNotFoundError:
            return None
        if size > limit:
            raise ValueError(f"{size} bytes, more than {limit}")
        return file.read_bytes()

    def read_range(self, key: str, start: int, count: int, limit: int) -> bytes | None:
        """Some bytes of a file; the rest of it is not read."""
        del limit
        file = self.folder / key
        try:
            size = _check_file(self.location, file)
        except FileNotFoundError:
            return None
        with file.open("rb") as handle:
            handle.seek(min(start, size) if start >= 0 else max(0, size + start))
            # An index of lies asks for more than any memory holds.
            return handle.read(min(count, size))


@dataclass(frozen=True)
class RemoteFiles:
    """Files at an address or in an archive; they are taken not to change while they are read."""

    folder: RemotePath

    def version(self, key: str) -> Hashable:
        """The same for every file: asking a server costs as much as reading."""
        del key
        return 1

    def read(self, key: str, limit: int) -> bytes | None:
        """Content of a file."""
        return (self.folder / key).read_bytes(limit)

    def read_range(self, key: str, start: int, count: int, limit: int) -> bytes | None:
        """Some bytes of a file."""
        return (self.folder / key).read_range(start, count, limit)


@dataclass(frozen=True)
class Plain:
    """An array whose chunks are files."""

    files: ChunkFiles
    array: Any
    pipeline: Pipeline

    def key(self, cell: Cell) -> str:
        """Name of the file of a chunk."""
        return self.array.metadata.encode_chunk_key(cell)

    def version(self, cell: Cell) -> Hashable:
        """Identity of a stored chunk; 0 if it was never written."""
        return self.files.version(self.key(cell))

    def load(self, cell: Cell) -> np.ndarray:
        """A decoded chunk, whole even at the far edge.

        Raises:
            ValueError: the chunk is damaged; its key is named.
            DataError: the chunk is a link out of the store.
        """
        shape, key = self.array.chunks, self.key(cell)
        try:
            data = self.files.read(key, self.pipeline.limit(shape))
            return (
                _fill(self.array, self.pipeline)
                if data is None
                else self.pipeline.decode(data, shape)
            )
        except DataError:
            raise
        except ValueError as error:
            raise ValueError(f"chunk {key}: {error}") from error


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
        shape, pipeline = self.plain.array.chunks, self.plain.pipeline
        key = self.plain.key(shard)
        inner = tuple(a % n for a, n in zip(cell, self.ratio, strict=True))
        try:
            index = self.indexes.get((shard, self.version(cell)), lambda: self._read_index(key))
            start, count = (int(number) for number in index[inner])
            if start == count == _MISSING:
                return _fill(self.plain.array, pipeline)
            most = min(count, pipeline.limit(shape))
            data = self.plain.files.read_range(key, start, most, self._largest())
            return pipeline.decode(data or b"", shape)
        except DataError:
            raise
        except ValueError as error:
            raise ValueError(f"chunk {inner} of shard {key}: {error}") from error

    def _shard(self, cell: Cell) -> Cell:
        return tuple(a // n for a, n in zip(cell, self.ratio, strict=True))

    def _largest(self) -> int:
        """The most bytes that a shard can have."""
        each = self.plain.pipeline.limit(self.plain.array.chunks)
        return each * prod(self.ratio) + 32 * prod(self.ratio)

    def _read_index(self, key: str) -> np.ndarray:
        """The index of a shard; one of missing chunks if there is no shard."""
        checksum = 4 * len(self.index.decoders)
        count = 16 * prod(self.ratio) + checksum
        start = 0 if self.first else -count
        data = self.plain.files.read_range(key, start, count, self._largest())
        if data is None:
            return np.full((*self.ratio, 2), _MISSING, np.uint64)
        if len(data) < count:
            raise ValueError(f"{len(data)} bytes, fewer than its index has")
        return self.index.decode(data, (*self.ratio, 2))


def chunk_reader(location: Location, folder: Path, array: Any) -> Callable[[Index], np.ndarray]:
    """Reader over the chunks of an open array.

    Raises:
        DataError: a codec that is not supported.
    """
    try:
        files = _files(location, folder)
        source = _shards(files, array) or Plain(files, array, pipeline_of(array))
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


def _files(location: Location, folder: Path) -> ChunkFiles:
    if isinstance(folder, Path):
        return LocalFiles(location, folder)
    return RemoteFiles(folder)


def _shards(files: ChunkFiles, array: Any) -> Shards | None:
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
    plain = Plain(files, array, inner)
    return Shards(plain, ratio, index, first, recent.make_decoded_shelf())


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
