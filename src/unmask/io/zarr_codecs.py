"""Codecs of Zarr chunks: a fixed list, each with a bound on what it returns.

Metadata of a store choose the code that decodes it. The codec registry of numcodecs holds
``pickle`` among others, which runs what it reads, and most codecs believe the size that a stream
claims. So chunks are decoded here, by `unmask.io.unpack`, and a codec that is not listed is refused
by name.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
from numcodecs.compat import ensure_bytes
from zarr.core.metadata import ArrayV2Metadata

from unmask.io.unpack import (
    DAMAGED,
    Decoder,
    decode_blosc,
    decode_bz2,
    decode_lz4,
    decode_lzma,
    decode_zstd,
    inflate_gzip,
    inflate_zlib,
    packed_limit,
    unpack,
)

# Filters of Zarr 2 change the type of values, to one of at most eight times fewer or more bytes.
_FILTER_GROWTH = 8
_FILTERS = {
    *("delta", "shuffle", "fixedscaleoffset", "quantize", "bitround", "astype", "packbits"),
    *("crc32", "adler32", "fletcher32"),
}


class UnknownCodecError(ValueError):
    """The metadata ask for a codec that is not listed."""


@dataclass(frozen=True)
class Pipeline:
    """From the bytes of a chunk to its values.

    Attributes:
        stored: type of the values, with the byte order of the file.
        decoders: of bytes, in the order of writing.
        order: of the axes in the file; each number is an axis of the array.
        filters: codecs of numcodecs (Zarr 2), in the order of writing.
    """

    stored: np.dtype[Any]
    decoders: tuple[Decoder, ...]
    order: tuple[int, ...]
    filters: tuple[Any, ...] = ()

    def limit(self, shape: Sequence[int]) -> int:
        """The most bytes that a packed chunk can have."""
        size = prod(shape) * self.stored.itemsize
        return packed_limit(packed_limit(size * (_FILTER_GROWTH if self.filters else 1)))

    def decode(self, data: bytes, shape: Sequence[int]) -> np.ndarray:
        """Values of a chunk.

        Raises:
            ValueError: the chunk is damaged.
        """
        size = prod(shape) * self.stored.itemsize
        try:
            undo = self._unfilter if self.filters else self._unpack
            data = undo(data, size)
        except DAMAGED as error:
            raise ValueError(str(error)) from error
        if len(data) != size:
            raise ValueError(f"expected {size} bytes, found {len(data)}")
        values = np.frombuffer(data, self.stored)
        if self.order == tuple(range(len(shape))):
            return values.reshape(shape)
        inverse = np.argsort(self.order)
        return values.reshape([shape[axis] for axis in self.order]).transpose(inverse)

    def _unpack(self, data: bytes, size: int) -> bytes:
        return unpack(data, self.decoders, size)

    def _unfilter(self, data: bytes, size: int) -> bytes:
        for decode in reversed(self.decoders):
            data = decode(data, packed_limit(size * _FILTER_GROWTH))
        for codec in reversed(self.filters):
            data = ensure_bytes(codec.decode(data))
            if len(data) > packed_limit(size * _FILTER_GROWTH):
                raise ValueError(f"a filter returned {len(data)} bytes for a chunk of {size}")
        return data


def pipeline_of(array: Any) -> Pipeline:
    """The codecs of an array; of a sharded array, those of a shard.

    Raises:
        UnknownCodecError: names the codec.
    """
    metadata = array.metadata
    if isinstance(metadata, ArrayV2Metadata):
        return _version_2(metadata, array.dtype)
    return parse_codecs([codec.to_dict() for codec in metadata.codecs], array.dtype, array.ndim)


def parse_codecs(codecs: Sequence[Mapping[str, Any]], dtype: np.dtype[Any], ndim: int) -> Pipeline:
    """A pipeline of Zarr 3: permutations of axes, ``bytes``, then codecs of bytes.

    Raises:
        UnknownCodecError: names the codec.
    """
    order, stored, decoders = tuple(range(ndim)), None, []
    for codec in codecs:
        name, options = str(codec["name"]), codec.get("configuration") or {}
        if name == "transpose" and stored is None:
            step = [int(axis) for axis in options["order"]]
            order = tuple(order[axis] for axis in step)
        elif name == "bytes" and stored is None:
            endian = options.get("endian")
            # An enumeration or a word, depending on the version of zarr-python.
            big = str(getattr(endian, "value", endian)) == "big"
            stored = dtype.newbyteorder(">" if big else "<")
        elif stored is not None and name in _DECODERS:
            decoders.append(_DECODERS[name])
        else:
            raise UnknownCodecError(name)
    if stored is None or sorted(order) != list(range(ndim)):
        raise UnknownCodecError("none that makes bytes out of values")
    return Pipeline(stored, tuple(decoders), order)


def _version_2(metadata: ArrayV2Metadata, dtype: np.dtype[Any]) -> Pipeline:
    """A pipeline of Zarr 2: filters, then one compressor."""
    name = "" if metadata.compressor is None else _config(metadata.compressor)["id"]
    filters = tuple(metadata.filters or ())
    names = [str(_config(each)["id"]) for each in filters]
    strange = [f"{each} as a filter" for each in names if each not in _FILTERS]
    if name and name not in _DECODERS:
        strange.append(name)
    if strange:
        raise UnknownCodecError(", ".join(strange))
    order = tuple(range(len(metadata.shape)))
    return Pipeline(
        dtype,
        (_DECODERS[name],) if name else (),
        order[::-1] if metadata.order == "F" else order,
        tuple(numcodecs.get_codec(_config(each)) for each in filters),
    )


def _config(codec: Any) -> dict[str, Any]:
    return codec.get_config()


def _check_crc32c(data: bytes, size: int) -> bytes:
    del size
    body, stored = data[:-4], data[-4:]
    if len(stored) < 4 or struct.unpack("<I", stored)[0] != google_crc32c.value(body):
        raise ValueError("the checksum does not fit")
    return body


_DECODERS: dict[str, Decoder] = {
    "crc32c": _check_crc32c,
    **{
        f"{prefix}{name}": decoder
        for prefix in ("", "numcodecs.")
        for name, decoder in {
            "zstd": decode_zstd,
            "blosc": decode_blosc,
            "gzip": inflate_gzip,
            "zlib": inflate_zlib,
            "lz4": decode_lz4,
            "bz2": decode_bz2,
            "lzma": decode_lzma,
        }.items()
    },
}
