"""JPEG 2000 (.jp2, .j2k), decoded whole by imagecodecs after its header was checked."""

from __future__ import annotations

import struct
from functools import partial
from math import prod
from typing import Any

import numpy as np

from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.codecs import imagecodecs
from unmask.io.contract import (
    Format,
    Index,
    Location,
    Stored,
    check_file,
    file_error,
    only_level,
    signature,
)

_START, _END = b"\xff\x4f\xff\x51", b"\xff\xd9"
_BOXES = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODING_STYLE = b"\xff\x52"
_MOST_BOXES = 1000
_MOST_CHANNELS = 64


def open_jpeg2000(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header of the code stream.

    Raises:
        DataError: damaged, truncated, channels of unlike size or type, a bomb, or a lossy file
            that is to be read as labels.
        MissingPackageError: imagecodecs is not installed.
    """
    only_level(location, level)
    mark = signature(location.path)
    data = location.path.read_bytes()
    stream = _code_stream(location, data)
    if not stream.startswith(_START) or not stream.endswith(_END):
        found = "its end is missing (truncated)" if stream.startswith(_START) else "another format"
        raise _refused(location, "a JPEG 2000 code stream", found)
    shape, dtype = _layout(location, stream)
    if labels and not _is_reversible(stream):
        raise _refused(location, "labels in a file that keeps every value", "lossy compression")
    nbytes = prod(shape) * dtype.itemsize
    limits.check_claim(
        location.source, nbytes, mark.size,
        ratio=limits.WHOLE_RATIO, harmless=limits.WHOLE_HARMLESS,
    )  # fmt: skip
    decode: Any = imagecodecs(location.source).jpeg2k_decode
    shelf = recent.make_decoded_shelf()

    def whole() -> np.ndarray:
        limits.check_memory(location.source, nbytes, what="decoding")
        check_file(location, mark)
        values = np.asarray(decode(location.path.read_bytes()))
        values = values.reshape(values.shape[0], values.shape[1], -1)
        if values.shape != shape or values.dtype != dtype:
            raise ValueError(f"{values.shape} values of {values.dtype}, its header says {shape}")
        return values

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
        return shelf.get_alone("whole", whole)[index].copy()

    return Stored(shape, dtype, "YXs" if shape[-1] == 1 else "YXS", read, whole=True)


def _code_stream(location: Location, data: bytes) -> bytes:
    """The code stream: the file itself, or the content of its box ``jp2c``."""
    if not data.startswith(_BOXES):
        return data
    place = 0
    for _ in range(_MOST_BOXES):
        if place + 16 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, place)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, place + 8), 16
        end = len(data) if length == 0 else place + length
        if end > len(data) or end < place + head:
            break
        if name == b"jp2c":
            return data[place + head : end]
        place = end
    raise _refused(location, "a box with a code stream", "none (truncated)")


def _layout(location: Location, stream: bytes) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Rows, columns and channels, and the type of their values."""
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    (channels,) = struct.unpack_from(">H", stream, 40)
    if not 1 <= channels <= _MOST_CHANNELS or min(right - left, bottom - top) < 1:
        raise _refused(location, "at least one pixel and channel", f"{channels} channels")
    kinds = {stream[42 + 3 * n : 45 + 3 * n] for n in range(channels)}
    kind = kinds.pop()
    if kinds or len(kind) < 3 or kind[1:] != b"\x01\x01":
        raise _refused(location, "channels of one size and type", "others")
    bits, signed = (kind[0] & 0x7F) + 1, kind[0] >> 7
    if bits > 32:
        raise _refused(location, "at most 32 bits", f"{bits}")
    size = 1 if bits <= 8 else 2 if bits <= 16 else 4
    return (bottom - top, right - left, channels), np.dtype(f"{'i' if signed else 'u'}{size}")


def _is_reversible(stream: bytes) -> bool:
    place = stream.find(_CODING_STYLE)
    return 0 <= place < len(stream) - 13 and stream[place + 13] == 1


_refused = partial(file_error, do="Copy it again, or convert it to PNG or TIFF.")


FORMAT = Format("JPEG 2000", open_jpeg2000)
