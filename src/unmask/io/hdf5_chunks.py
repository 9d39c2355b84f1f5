"""Packed chunks of HDF5 data sets, decoded here and not by the HDF5 library.

The library inflates a chunk until its stream ends, whatever size a chunk has. A file of one
megabyte can fill a gigabyte in this way. So packed chunks are read as they are stored and decoded
by `unmask.io.unpack`, which knows the size of the result. Filters that only the library can undo
are left to it after their headers were checked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np

from unmask.errors import DataError, message
from unmask.io.chunked import Cell
from unmask.io.codecs import imagecodecs
from unmask.io.contract import Location
from unmask.io.unpack import (
    DAMAGED,
    Decoder,
    decode_blosc,
    decode_bz2,
    decode_lzf,
    decode_zstd,
    inflate_zlib,
    packed_limit,
    unpack,
)

# Registered numbers of filters, https://github.com/HDFGroup/hdf5_plugins
_DEFLATE, _SHUFFLE, _FLETCHER, _SZIP, _NBIT, _SCALEOFFSET = 1, 2, 3, 4, 5, 6
_PACKERS: dict[int, Decoder] = {
    _DEFLATE: inflate_zlib,
    307: decode_bz2,
    32000: decode_lzf,
    32001: decode_blosc,
    32015: decode_zstd,
}
_LIBRARY = {_SZIP, _NBIT, _SCALEOFFSET}
# A chunk is checked before the library inflates it if it could grow beyond this.
_HARMLESS, _DEFLATE_RATIO = 256 * 2**20, 1032


@dataclass(frozen=True)
class Packed:
    """The chunks of a data set.

    Attributes:
        filters: number, parameters and name of every filter, in the order of writing.
        native: stored values are those of ``dtype``, so that bytes can be taken as values.
    """

    location: Location
    key: str
    open: Callable[[], h5py.File]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    filters: tuple[tuple[int, tuple[int, ...], str], ...]
    native: bool

    def load(self, cell: Cell) -> np.ndarray:
        """A decoded chunk, whole even at the far edge.

        Raises:
            DataError: the chunk is damaged, or larger than a chunk of the data set.
        """
        dataset: Any = self.open()[self.key]
        corner = tuple(a * n for a, n in zip(cell, self.chunks, strict=True))
        info = dataset.id.get_chunk_info_by_coord(corner)
        if info.byte_offset is None:
            return np.full(self.chunks, dataset.fillvalue, self.dtype)
        plain = self.check(dataset, corner, info.size)
        if plain is not None and self.native:
            return np.frombuffer(plain, self.dtype).reshape(self.chunks)
        edges = zip(corner, self.chunks, dataset.shape, strict=True)
        return np.asarray(dataset[tuple(slice(a, min(a + n, end)) for a, n, end in edges)])

    def check(self, dataset: Any, corner: tuple[int, ...], stored: int) -> bytes | None:
        """The bytes of a chunk; None if only the library can decode it.

        Raises:
            DataError: as `load`.
        """
        size = prod(self.chunks) * self.dtype.itemsize
        try:
            if stored > packed_limit(size):
                raise ValueError(f"{stored} packed bytes for a chunk of {size}")
            skipped, data = dataset.id.read_direct_chunk(corner)
            filters = [f for n, f in enumerate(self.filters) if not skipped >> n & 1]
            if any(number in _LIBRARY for number, *_ in filters):
                _check_library(filters, data, size)
                return None
            decoders = [self._decoder(*each) for each in filters]
            return unpack(data, decoders, size)
        except DAMAGED as error:
            place = ", ".join(map(str, corner))
            raise DataError(
                message(
                    self.location.source,
                    expected=f"a chunk of {size} bytes at ({place}) of {self.key}",
                    found=f"a damaged one ({' '.join(str(error).split())[:200]})",
                    do="Copy the file again.",
                )
            ) from error

    def _decoder(self, number: int, options: tuple[int, ...], name: str) -> Decoder:
        if number == _SHUFFLE:
            return _unshuffle(options[0] if options else self.dtype.itemsize)
        if number == _FLETCHER:
            return _verify_fletcher32
        if number not in _PACKERS:
            raise ValueError(f"the filter {name or number} is not supported")
        return _PACKERS[number]


def find_packed_chunks(
    location: Location, dataset: h5py.Dataset, key: str, open_file: Callable[[], h5py.File]
) -> Packed | None:
    """The chunks of a data set with filters; None for one without.

    Args:
        location: the file.
        dataset: the data set, open.
        key: its path in the file.
        open_file: opens the file again; threads share what it returns.

    Raises:
        DataError: a filter that is not supported.
    """
    plist = dataset.id.get_create_plist()
    found = [plist.get_filter(number) for number in range(plist.get_nfilters())]
    if not found or dataset.chunks is None:
        return None
    filters = tuple(
        (int(f[0]), tuple(map(int, f[2])), f[3].decode("ascii", "replace")) for f in found
    )
    strange = [name or str(number) for number, _, name in filters if not _supported(number)]
    if strange:
        raise DataError(
            message(
                location.source,
                expected="HDF5 filters gzip, lzf, szip, shuffle, blosc, zstd, bzip2 or fletcher32",
                found=", ".join(strange),
                do="Repack the file, for example with h5repack -f GZIP=1.",
            )
        )
    native = h5py.h5t.py_create(dataset.dtype) == dataset.id.get_type()
    return Packed(location, key, open_file, dataset.chunks, dataset.dtype, filters, native)


def check_all(
    location: Location, datasets: Iterable[h5py.Dataset], open_file: Callable[[], h5py.File]
) -> None:
    """Check chunks that the library is going to decode, because a virtual data set reads them.

    Chunks that cannot grow beyond 256 MiB are skipped.

    Raises:
        DataError: a chunk is larger than a chunk of its data set.
    """
    for dataset in datasets:
        chunks = find_packed_chunks(location, dataset, str(dataset.name), open_file)
        if chunks is None:
            continue
        limit = packed_limit(prod(chunks.chunks) * chunks.dtype.itemsize)
        found: list[Any] = []
        dataset.id.chunk_iter(found.append)
        for info in found:
            if info.size > limit or info.size * _DEFLATE_RATIO > _HARMLESS:
                chunks.check(dataset, info.chunk_offset, info.size)


def _supported(number: int) -> bool:
    return number in _PACKERS or number in _LIBRARY or number in (_SHUFFLE, _FLETCHER)


def _check_library(filters: list[tuple[int, tuple[int, ...], str]], data: bytes, size: int) -> None:
    """Compare what a header says about the plain size with the size of a chunk."""
    others = {number for number, *_ in filters} - _LIBRARY - {_SHUFFLE, _FLETCHER}
    if others:
        raise ValueError("a combination of filters that is not supported")
    for number, options, name in filters:
        claim = 0
        if number == _SZIP:
            (claim,) = struct.unpack("<I", data[:4])
        elif len(options) > 4:
            claim = options[2] * options[4]
        if claim > size:
            raise ValueError(f"the filter {name} states {claim} bytes")


def _unshuffle(itemsize: int) -> Decoder:
    def decode(data: bytes, size: int) -> bytes:
        del size
        count = len(data) // itemsize if itemsize > 1 else 0
        if count < 2:
            return data
        body = np.frombuffer(data, np.uint8, count * itemsize).reshape(itemsize, count)
        return body.T.tobytes() + data[count * itemsize :]

    return decode


def _verify_fletcher32(data: bytes, size: int) -> bytes:
    del size
    if len(data) < 4:
        raise ValueError(f"{len(data)} bytes, fewer than a checksum")
    body, (stored,) = data[:-4], struct.unpack("<I", data[-4:])
    found = int(imagecodecs("A checksum").h5checksum_fletcher32(body))
    # Versions before 1.6.3 stored the bytes of both halves swapped.
    swapped = (found & 0x00FF00FF) << 8 | (found & 0xFF00FF00) >> 8
    if stored not in (found, swapped):
        raise ValueError("the checksum does not fit")
    return body
