"""Decoders with a bound: none returns, or allocates, more bytes than the caller expects.

A packed chunk of a megabyte can claim a gigabyte, and most libraries believe it. Every reader of
chunks (Zarr, HDF5) decodes through the functions here and passes the size that follows from shape
and data type.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Sequence

from unmask.io.codecs import imagecodecs

# From packed bytes and the largest allowed result to plain bytes.
Decoder = Callable[[bytes, int], bytes]
# An honest encoder expands what it cannot compress by less than this.
_OVERHEAD_DIVISOR, _OVERHEAD_BYTES = 8, 4096
# The dictionary that a stream may ask an LZMA decoder for: that of "xz -9".
_LZMA_MEMORY = 96 * 2**20


def unpack(data: bytes, decoders: Sequence[Decoder], size: int) -> bytes:
    """Undo encoders, the last one first.

    Args:
        data: the packed chunk.
        decoders: in the order in which the encoders were applied.
        size: bytes of the plain chunk.

    Raises:
        ValueError: the chunk is damaged, or does not hold ``size`` bytes.

    Examples:
        >>> unpack(zlib.compress(b"abc"), [inflate_zlib], 3)
        b'abc'
    """
    if len(data) > packed_limit(size):
        raise ValueError(f"{len(data)} packed bytes for a chunk of {size}")
    for number, decode in reversed(list(enumerate(decoders))):
        data = decode(data, packed_limit(size) if number else size)
    if len(data) != size:
        raise ValueError(f"expected {size} bytes, found {len(data)}")
    return data


def packed_limit(size: int) -> int:
    """Bytes that ``size`` bytes can grow to when an encoder fails to compress them."""
    return size + size // _OVERHEAD_DIVISOR + _OVERHEAD_BYTES


def copy_bytes(data: bytes, size: int) -> bytes:
    """Bytes that were not packed."""
    return data[: size + 1]


def decode_zstd(data: bytes, size: int) -> bytes:
    """Zstandard, one frame or several."""
    return bytes(imagecodecs("A chunk packed with zstd").zstd_decode(data, out=size))


def decode_blosc(data: bytes, size: int) -> bytes:
    """Blosc, whose header states both sizes.

    Raises:
        ValueError: damaged, or larger than ``size`` bytes.
    """
    # Blosc itself decodes a truncated chunk without an error.
    if len(data) < 16:
        raise ValueError(f"{len(data)} bytes, fewer than a header")
    unpacked, _, packed = struct.unpack("<III", data[4:16])
    if unpacked > size or packed != len(data):
        raise ValueError(
            f"expected {packed} bytes that unpack to {size}, found {len(data)} to {unpacked}"
        )
    return bytes(imagecodecs("A chunk packed with blosc").blosc_decode(data, out=unpacked))


def decode_lz4(data: bytes, size: int) -> bytes:
    """An LZ4 block after its size, as numcodecs writes it."""
    if len(data) < 4:
        raise ValueError(f"{len(data)} bytes, fewer than a header")
    (unpacked,) = struct.unpack("<I", data[:4])
    if unpacked > size:
        raise ValueError(f"expected at most {size} bytes, found a header of {unpacked}")
    return bytes(imagecodecs("A chunk packed with lz4").lz4_decode(data[4:], out=unpacked))


def decode_lzf(data: bytes, size: int) -> bytes:
    """LZF without a header, as h5py writes it."""
    return bytes(imagecodecs("A chunk packed with lzf").lzf_decode(data, out=size))


def _inflate(window: int) -> Decoder:
    def decode(data: bytes, size: int) -> bytes:
        return _finish(zlib.decompressobj(wbits=window), data, size)

    return decode


def decode_bz2(data: bytes, size: int) -> bytes:
    """Bzip2."""
    return _finish(bz2.BZ2Decompressor(), data, size)


def decode_lzma(data: bytes, size: int) -> bytes:
    """LZMA in an xz container."""
    return _finish(lzma.LZMADecompressor(memlimit=_LZMA_MEMORY), data, size)


def _finish(
    stream: zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes, size: int
) -> bytes:
    # With room for one byte more, a stream of exactly ``size`` bytes reaches its checksum.
    plain = stream.decompress(data, size + 1)
    if not stream.eof:
        raise ValueError(f"truncated, or more than {size} bytes")
    return plain


inflate_zlib, inflate_gzip, inflate_raw = _inflate(15), _inflate(31), _inflate(-15)
# What decoders raise on damaged bytes.
DAMAGED = (RuntimeError, ValueError, EOFError, OSError, zlib.error, lzma.LZMAError, struct.error)
