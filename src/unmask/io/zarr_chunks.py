"""Chunks of a Zarr array, read past zarr-python where the codecs are everyday ones.

zarr-python spends a quarter to half a millisecond on each read in its asynchronous machinery, tens
of times what decoding a chunk costs. Arrays with other codecs, filters or shards go through it.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from zarr.core.metadata import ArrayV2Metadata

from unmask.io.chunked import Cell, reader
from unmask.io.codecs import imagecodecs
from unmask.io.stored import Index, mark_of

# The clock of a file system ticks every 10 ms at the slowest usual setting of the kernel.
_TICK_NS = 50 * 10**6
# Unpacks bytes into at most as many as given, so that a chunk cannot grow into a bomb.
Decoder = Callable[[bytes, int], bytes]


@dataclass(frozen=True)
class Plain:
    """An array whose chunks are files of their own, packed by at most one known codec."""

    folder: Path
    array: Any
    stored: np.dtype[Any]
    decode: Decoder
    order: Any = "C"

    def file(self, cell: Cell) -> Path:
        """Where a chunk lies."""
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
        """
        shape = self.array.chunks
        try:
            data = self.file(cell).read_bytes()
        except FileNotFoundError:
            return np.full(shape, self.array.fill_value, self.stored)
        key = self.array.metadata.encode_chunk_key(cell)
        try:
            plain = self.decode(data, prod(shape) * self.stored.itemsize)
        except (RuntimeError, ValueError, zlib.error) as error:
            raise ValueError(f"chunk {key}: {error}") from error
        values = np.frombuffer(plain, np.uint8)
        if values.size != prod(shape) * self.stored.itemsize:
            raise ValueError(f"chunk {key} has {values.size} bytes")
        return values.view(self.stored).reshape(shape, order=self.order)


def chunk_reader(folder: Path, array: Any) -> Callable[[Index], np.ndarray]:
    """Reader over the chunks of an open array in a local folder."""
    dtype = array.dtype.newbyteorder("=")
    plain = _plain(folder, array)
    if plain is not None:
        return reader(array.chunks, dtype, plain.load, plain.version)

    def read(index: Index) -> np.ndarray:
        return np.asarray(array[index]).astype(dtype, copy=False)

    return read


def _plain(folder: Path, array: Any) -> Plain | None:
    """The array as plain chunks; None where zarr-python has to read it."""
    metadata = array.metadata
    if isinstance(metadata, ArrayV2Metadata):
        packer = metadata.compressor
        name = "" if packer is None else packer.get_config()["id"]
        if metadata.filters or metadata.fill_value is None or name not in _DECODERS:
            return None
        return Plain(folder, array, array.dtype, _DECODERS[name], metadata.order)
    first, *packers = [codec.to_dict() for codec in metadata.codecs]
    name = packers[0]["name"] if packers else ""
    if first["name"] != "bytes" or len(packers) > 1 or name not in _DECODERS:
        return None
    endian = first.get("configuration", {}).get("endian", "little")
    stored = array.dtype.newbyteorder("<" if endian == "little" else ">")
    return Plain(folder, array, stored, _DECODERS[name])


def _copied(data: bytes, size: int) -> bytes:
    return data[: size + 1]


def _zstd(data: bytes, size: int) -> bytes:
    return bytes(imagecodecs("A Zarr chunk packed with zstd").zstd_decode(data, out=size))


def _blosc(data: bytes, size: int) -> bytes:
    # Blosc itself decodes a truncated chunk without an error; its header has both sizes.
    if len(data) < 16:
        raise ValueError(f"{len(data)} bytes, fewer than a header")
    unpacked, _, packed = struct.unpack("<III", data[4:16])
    if (unpacked, packed) != (size, len(data)):
        raise ValueError(
            f"expected {packed} bytes that unpack to {size}, found {len(data)} to {unpacked}"
        )
    return bytes(imagecodecs("A Zarr chunk packed with blosc").blosc_decode(data, out=size))


def _deflate(window: int) -> Decoder:
    def decode(data: bytes, size: int) -> bytes:
        stream = zlib.decompressobj(wbits=window)
        plain = stream.decompress(data, size + 1)
        if not stream.eof:
            raise ValueError("truncated, or more bytes than a chunk has")
        return plain

    return decode


_DECODERS: dict[str, Decoder] = {
    "": _copied,
    "zstd": _zstd,
    "blosc": _blosc,
    "gzip": _deflate(31),
    "zlib": _deflate(15),
}
