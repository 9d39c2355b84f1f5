"""Chunks and shards of a Zarr array in a folder or at an address, read without zarr-python.

zarr-python spends a quarter to half a millisecond on each read in its asynchronous machinery, tens
of times the cost of decoding a chunk, and its codecs have no bound (`unmask.io.zarr_codecs`).
"""

from __future__ import annotations

import errno
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
# After this long the times of a file tell its versions apart (`unmask.io.contract.mark_of`).
_AT_REST_NS = 10 * 10**9
# A pipe in the place of a chunk must not block. Windows has neither flag.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_LINK_ERRORS = (errno.ELOOP, errno.EMLINK)
# An entry of a shard's index that says that there is no chunk.
_MISSING = 2**64 - 1
# Names of chunks that are remembered per array, about 10 MB.
_KEYS = 1 << 16


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


class LocalFiles:
    """Files in a local folder.

    Paths are texts and files are descriptors here: `pathlib` and file objects took longer than the
    decoding of a chunk of 128 x 128.
    """

    def __init__(self, location: Location, folder: Path) -> None:
        self._location, self._prefix = location, f"{folder}/"
        self._inside: set[str] = set()

    def version(self, key: str) -> Hashable:
        """Identity of a stored file; 0 if it was never written."""
        try:
            status = os.stat(self._prefix + key)  # noqa: PTH116
        except FileNotFoundError:
            return 0
        modified, changed = status.st_mtime_ns, status.st_ctime_ns
        now = time.time_ns()
        if modified < now - _AT_REST_NS > changed:
            return status.st_size, modified, changed
        mark, age = mark_of(status), now - max(modified, changed)
        # A chunk rewritten twice within one tick may even get its old inode back, so a chunk that
        # has just been written is not served from memory.
        return mark if abs(age) > _TICK_NS else (mark, time.monotonic_ns())

    def read(self, key: str, limit: int) -> bytes | None:
        """Content of a file."""
        handle = self._open(key)
        if handle is None:
            return None
        try:
            size = self._size(handle, key)
            if size > limit:
                raise ValueError(f"{size} bytes, more than {limit}")
            return _read_bytes(handle, size)
        finally:
            os.close(handle)

    def read_range(self, key: str, start: int, count: int, limit: int) -> bytes | None:
        """Some bytes of a file; the rest of it is not read."""
        del limit
        handle = self._open(key)
        if handle is None:
            return None
        try:
            size = self._size(handle, key)
            os.lseek(handle, min(start, size) if start >= 0 else max(0, size + start), os.SEEK_SET)
            # A damaged index may ask for more memory than any machine has.
            return _read_bytes(handle, min(count, size))
        finally:
            os.close(handle)

    def _open(self, key: str) -> int | None:
        """Descriptor of a chunk's file, which must be in the store; None if there is no file."""
        path = self._prefix + key
        try:
            if not _NO_LINKS and os.path.islink(path):  # noqa: PTH114
                check_inside(self._location, Path(path))
            try:
                return os.open(path, _READ | _NO_LINKS)
            except OSError as error:
                if error.errno not in _LINK_ERRORS:
                    raise
            check_inside(self._location, Path(path))
            return os.open(path, _READ)
        except FileNotFoundError:
            return None

    def _size(self, handle: int, key: str) -> int:
        """Bytes of an open file; following every link of its folder is done once per folder."""
        folder = key.rpartition("/")[0]
        if folder not in self._inside:
            check_inside(self._location, Path(self._prefix + folder))
            self._inside.add(folder)
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{key.rpartition('/')[2]} is not a file")
        return status.st_size


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
    """An array whose chunks are files.

    Attributes:
        files: of the chunks.
        array: as zarr-python has it.
        pipeline: from the bytes of a chunk to its values.
        key: name of the file of a chunk.
        shape: of a chunk; zarr-python takes as long to tell it as for the copy of a chunk.
        limit: the most bytes that a packed chunk can have.
    """

    files: ChunkFiles
    array: Any
    pipeline: Pipeline
    key: Callable[[Cell], str]
    shape: tuple[int, ...]
    limit: int

    def version(self, cell: Cell) -> Hashable:
        """Identity of a stored chunk; 0 if it was never written."""
        return self.files.version(self.key(cell))

    def load(self, cell: Cell) -> np.ndarray:
        """A decoded chunk, whole even at the far edge.

        Raises:
            ValueError: the chunk is damaged; its key is named.
            DataError: the chunk is a link out of the store.
        """
        key = self.key(cell)
        try:
            data = self.files.read(key, self.limit)
            if data is None:
                return _fill(self.array, self.pipeline)
            return self.pipeline.decode(data, self.shape)
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
        shape, pipeline = self.plain.shape, self.plain.pipeline
        key = self.plain.key(shard)
        inner = tuple(a % n for a, n in zip(cell, self.ratio, strict=True))
        try:
            index = self.indexes.get((shard, self.version(cell)), lambda: self._read_index(key))
            start, count = (int(number) for number in index[inner])
            if start == count == _MISSING:
                return _fill(self.plain.array, pipeline)
            most = min(count, self.plain.limit)
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
        return self.plain.limit * prod(self.ratio) + 32 * prod(self.ratio)

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
        source = _shards(files, array) or _plain(files, array, pipeline_of(array))
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


def _plain(files: ChunkFiles, array: Any, pipeline: Pipeline) -> Plain:
    shape = tuple(array.chunks)
    return Plain(files, array, pipeline, _keys(array), shape, pipeline.limit(shape))


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
    plain = _plain(files, array, inner)
    return Shards(plain, ratio, index, first, recent.make_decoded_shelf())


def _fill(array: Any, pipeline: Pipeline) -> np.ndarray:
    value = 0 if array.fill_value is None else array.fill_value
    return np.full(array.chunks, value, pipeline.stored)


def _keys(array: Any) -> Callable[[Cell], str]:
    """Names of files by chunk; zarr-python takes as long for a name as for the copy of a chunk."""
    return lru_cache(maxsize=_KEYS)(array.metadata.encode_chunk_key)


def _read_bytes(handle: int, count: int) -> bytes:
    """As many bytes as there are, at most ``count``; a system call gives at most 2 GiB."""
    data = os.read(handle, count)
    if not data or len(data) == count:
        return data
    parts, missing = [data], count - len(data)
    while missing and (data := os.read(handle, missing)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)
