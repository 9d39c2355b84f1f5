"""Bounds for the shards of a precomputed volume, whose chunks tensorstore unpacks without one.

A shard is a file of many chunks with an index in two steps, and index and chunks may be packed with
gzip: 8 GB of zeros are 8 MB then. So the places of the chunks that a read needs are looked up here
first, and what would unpack to more than a chunk can have is refused. The format:
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.io import cache as recent
from unmask.io.contract import Location
from unmask.io.unpack import packed_limit
from unmask.io.zarr_chunks import LocalFiles

Cell = tuple[int, ...]
# Deflate cannot pack better.
_RATIO = 1032
# An entry of an index of chunks: number, first byte and count.
_ENTRY = 24
_WORD = 2**32 - 1
_CHECKED = 1 << 16


@dataclass(frozen=True)
class Shards:
    """The shards of a resolution.

    Attributes:
        files: of the resolution.
        grid: number of chunks along x, y and z.
        limit: the most bytes that a chunk can have before gzip.
        options: the entry ``sharding`` of the file ``info``, which tensorstore has checked.
        indexes: of the chunks, by shard and part of a shard.
        check_once: looks at a packed chunk, unless it did so before.
    """

    files: LocalFiles
    grid: tuple[int, ...]
    limit: int
    options: Mapping[str, Any]
    indexes: recent.Shelf[np.ndarray]
    check_once: Callable[[str, Hashable, int, int], None]

    def check(self, cell: Cell) -> None:
        """Look at a chunk before it is read.

        Raises:
            ValueError: it would unpack to more than a chunk can have, or is damaged.
            DataError: the shard is a link out of the volume.
        """
        number = chunk_number(cell, self.grid)
        key, part = self._place(number)
        version = self.files.version(key)
        index = self.indexes.find((key, part), version)
        if index is None:
            index = self.indexes.keep((key, part), self._read_index(key, part), version)
        for entry in np.flatnonzero(index[0] == np.uint64(number)):
            start, count = (int(value) for value in index[1:, entry])
            packed = self.options.get("data_encoding", "raw") == "gzip"
            if count > (packed_limit(self.limit) if packed else self.limit):
                raise ValueError(f"{count} bytes in {key} for a chunk of at most {self.limit}")
            if packed and count * _RATIO > self.limit:
                self.check_once(key, version, self._base + start, count)

    @property
    def _base(self) -> int:
        """Bytes before the first chunk: an index of the indexes."""
        return 16 << int(self.options["minishard_bits"])

    def _place(self, number: int) -> tuple[str, int]:
        """File of a chunk, and the part of the file whose index has it."""
        options = self.options
        number >>= int(options.get("preshift_bits", 0))
        hashed = murmur_hash(number) if options["hash"] != "identity" else number
        bits, parts = int(options["shard_bits"]), int(options["minishard_bits"])
        shard = hashed >> parts & (1 << bits) - 1
        return f"{shard:0{-(-bits // 4)}x}.shard", hashed & (1 << parts) - 1

    def _read_index(self, key: str, part: int) -> np.ndarray:
        """Numbers, first bytes and counts of the chunks of a part, ``(3, chunks)``."""
        most = _ENTRY * prod(self.grid)
        ends = self._read(key, 16 * part, 16)
        if len(ends) < 16:
            return np.empty((3, 0), np.uint64)
        start, stop = (int(value) for value in np.frombuffer(ends, "<u8"))
        packed = self.options.get("minishard_index_encoding", "raw") == "gzip"
        if not 0 <= stop - start <= (packed_limit(most) if packed else most):
            raise ValueError(
                f"an index of {stop - start} bytes in {key} for {prod(self.grid)} chunks"
            )
        data = self._read(key, self._base + start, stop - start)
        if packed and data:
            data = unpack_gzip(data, most)
        if len(data) % _ENTRY:
            raise ValueError(f"an index of {len(data)} bytes in {key}")
        numbers, gaps, counts = np.frombuffer(data, "<u8").reshape(3, -1).astype(np.uint64)
        ends_before = np.cumsum(counts, dtype=np.uint64) - counts
        return np.stack([np.cumsum(numbers), np.cumsum(gaps) + ends_before, counts])

    def _read(self, key: str, start: int, count: int) -> bytes:
        return self.files.read_range(key, start, count, count) or b""


def shards_of(
    location: Location, folder: Path, grid: tuple[int, ...], limit: int, options: Mapping[str, Any]
) -> Shards:
    """The shards in a folder; see `Shards` for the arguments."""
    files = LocalFiles(location, folder)

    def check(key: str, version: Hashable, start: int, count: int) -> None:
        # The version is a part of the key of the cache.
        del version
        unpack_gzip(files.read_range(key, start, count, count) or b"", limit)

    remembered = lru_cache(maxsize=_CHECKED)(check)
    return Shards(files, grid, limit, options, recent.make_decoded_shelf(), remembered)


def unpack_gzip(data: bytes, most: int) -> bytes:
    """Unpack one gzip stream.

    Raises:
        ValueError: damaged, more than ``most`` bytes, or followed by something.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(plain) > most:
        raise ValueError(f"{len(data)} bytes that unpack to more than {most}")
    if not stream.eof or stream.unused_data:
        raise ValueError(f"{len(data)} bytes that are not one gzip stream")
    return plain


def chunk_number(cell: Cell, grid: tuple[int, ...]) -> int:
    """Compressed Morton code: bits of x, y and z in turn, as many as each axis needs.

    Examples:
        >>> chunk_number((1, 1, 0), (3, 2, 1))
        3
        >>> chunk_number((2, 0, 0), (3, 2, 1))
        4
    """
    number = shift = 0
    for bit in range(max(grid).bit_length()):
        for position, count in zip(cell, grid, strict=True):
            if 1 << bit < count:
                number |= (position >> bit & 1) << shift
                shift += 1
    return number


def murmur_hash(number: int) -> int:
    """The low 64 bits of MurmurHash3_x86_128 of a number of 64 bits.

    The function: https://github.com/aappleby/smhasher
    """
    low, high = number & _WORD, number >> 32 & _WORD
    first = _rotate(low * 0x239B961B, 15) * 0xAB0E9789 & _WORD
    second = _rotate(high * 0xAB0E9789, 16) * 0x38B34AE5 & _WORD
    # The number has eight bytes, so that the third and fourth word are empty.
    words = _add_all([first ^ 8, second ^ 8, 8, 8])
    words = _add_all([_mix(word) for word in words])
    return words[0] | words[1] << 32


def _add_all(words: list[int]) -> list[int]:
    """The sum in the place of the first word, and added to the others."""
    total = sum(words) & _WORD
    return [total, *((word + total) & _WORD for word in words[1:])]


def _rotate(word: int, bits: int) -> int:
    word &= _WORD
    return (word << bits | word >> 32 - bits) & _WORD


def _mix(word: int) -> int:
    word = (word ^ word >> 16) * 0x85EBCA6B & _WORD
    word = (word ^ word >> 13) * 0xC2B2AE35 & _WORD
    return word ^ word >> 16
