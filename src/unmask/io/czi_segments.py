"""Segments of a CZI file: its directory of pieces, its metadata, and the pieces.

The format: ZEISS, "ZISRAW (CZI) File Format", DS_ZISRAW-FileFormat. czifile needs Python 3.12, and
its versions for older ones predate NumPy 2; the format is small enough to be read here.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from unmask.io.codecs import imagecodecs
from unmask.io.contract import Location, file_error
from unmask.io.tiff_decode import jpeg_shape
from unmask.io.unpack import decode_zstd
from unmask.io.xml_text import parse_xml

# Type and samples per pixel by number; colors are stored as blue, green, red.
_PIXELS = {
    0: ("u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("u1", 3), 4: ("<u2", 3), 8: ("<f4", 3),
    9: ("u1", 4), 12: ("<i4", 1), 13: ("<f8", 1),
}  # fmt: skip
_COMPRESSIONS = {0: "none", 1: "JPEG", 2: "LZW", 4: "JPEG XR", 5: "zstd", 6: "zstd"}
_HEADER = struct.Struct("<16sqq")
_ENTRY = struct.Struct("<2siqiiB5xi")
_DIMENSION = struct.Struct("<4siifi")
# The start of a sub-block is padded to this size.
_FIXED = 240
_MOST_DIMENSIONS = 32
# Axes that a piece has more than one position on.
_PLANE = "XY"


@dataclass(frozen=True)
class Piece:
    """A sub-block: a rectangle of one plane.

    Attributes:
        position: of its segment in the file.
        starts: first coordinate on every axis.
        sizes: length on every axis, in pixels of the finest level.
        stored: rows and columns as stored.
        dtype: of the values, little-endian.
        samples: per pixel.
        compression: number.
    """

    position: int
    starts: Mapping[str, int]
    sizes: Mapping[str, int]
    stored: tuple[int, int]
    dtype: np.dtype[Any]
    samples: int
    compression: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and samples."""
        return (*self.stored, self.samples)

    @property
    def factor(self) -> int:
        """Pixels of the finest level per stored pixel."""
        return max(1, round(self.sizes["X"] / self.stored[1]))


def read_directory(location: Location, data: Any) -> tuple[list[Piece], ET.Element]:
    """All pieces of the file, and its metadata.

    Args:
        location: the file.
        data: its bytes.

    Raises:
        DataError: damaged, of several files, or with values that are not supported.
    """
    start, length = _segment(location, data, 0, b"ZISRAWFILE")
    if length < 80:
        raise refused(location, "a file header", f"{length} bytes")
    part, directory, metadata, pending = struct.unpack_from("<iqqi", data, start + 48)
    if part:
        raise refused(location, "an image in one file", f"part {part} of a set")
    if pending:
        raise refused(location, "a finished file", "one that was being written")
    start, length = _segment(location, data, directory, b"ZISRAWDIRECTORY")
    (count,) = struct.unpack_from("<i", data, start)
    pieces, place, end = [], start + 128, start + length
    for _ in range(count):
        piece, place = _entry(location, data, place, end)
        pieces.append(piece)
    if not pieces or bytes(data[place : min(place + 2, end)]) == b"DV":
        found = "more" if pieces else "none"
        raise refused(location, f"{max(count, 1)} pieces, as its directory says", found)
    return pieces, _metadata(location, data, metadata)


def read_piece(location: Location, data: Any, piece: Piece) -> np.ndarray:
    """The values of a piece, ``(rows, columns, samples)``, colors as red, green, blue.

    Raises:
        DataError: its segment says something else than the directory.
        ValueError: its values cannot be decoded.
    """
    start, length = _segment(location, data, piece.position, b"ZISRAWSUBBLOCK")
    if length < 16 + _ENTRY.size:
        raise refused(location, "a piece with a header", f"{length} bytes at {piece.position}")
    described, _, size = struct.unpack_from("<iiq", data, start)
    copy, after = _entry(location, data, start + 16, start + length)
    alike = (copy.starts, copy.sizes, copy.shape, copy.dtype, copy.compression)
    if alike != (piece.starts, piece.sizes, piece.shape, piece.dtype, piece.compression):
        raise refused(location, "a piece as its directory says", f"another at {piece.position}")
    place = start + 16 + max(_FIXED, after - start - 16) + described
    if described < 0 or size < 0 or place + size > len(data):
        raise refused(location, f"{size} bytes of a piece", "the end of the file (truncated)")
    values = _decode(bytes(data[place : place + size]), piece)
    # Blue comes first, alpha last.
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[piece.samples]
    return values if piece.samples == 1 else np.ascontiguousarray(values[..., order])


def _decode(packed: bytes, piece: Piece) -> np.ndarray:
    rows, columns, samples = piece.shape
    nbytes = rows * columns * samples * piece.dtype.itemsize
    kind = piece.compression
    if kind == 0:
        plain = packed[:nbytes]
    elif kind == 2:
        plain = bytes(imagecodecs("LZW in CZI").lzw_decode(packed, out=nbytes))
    elif kind in (5, 6):
        plain = _zstd(packed, piece, nbytes)
    else:
        return _picture(packed, piece)
    if len(plain) != nbytes:
        raise ValueError(f"a piece at {piece.position} of {len(plain)} bytes instead of {nbytes}")
    return np.frombuffer(plain, piece.dtype).reshape(piece.shape)


def _zstd(packed: bytes, piece: Piece, nbytes: int) -> bytes:
    halves = False
    if piece.compression == 6:
        # A header of 1 or 3 bytes says whether low and high bytes were separated.
        head = packed[0] if packed else 0
        if head not in (1, 3):
            raise ValueError(f"a zstd header of {head} bytes")
        halves = head == 3 and bool(packed[2] & 1)
        packed = packed[head:]
    plain = decode_zstd(packed, nbytes)
    if halves and len(plain) == nbytes:
        half = np.frombuffer(plain, np.uint8).reshape(2, -1)
        plain = half.T.tobytes()
    return plain


def _picture(packed: bytes, piece: Piece) -> np.ndarray:
    """JPEG and JPEG XR, into an array of the size that the directory states."""
    bare = piece.shape[:2] if piece.samples == 1 else piece.shape
    if piece.compression == 1:
        if jpeg_shape(packed) != piece.shape:
            raise ValueError(f"a JPEG of {jpeg_shape(packed)} in a piece of {piece.shape}")
        values = imagecodecs("JPEG in CZI").jpeg_decode(packed)
    else:
        out = np.empty(bare, piece.dtype.newbyteorder("="))
        values = imagecodecs("JPEG XR in CZI").jpegxr_decode(packed, out=out)
    if values.shape != bare or values.dtype != piece.dtype:
        raise ValueError(f"{values.shape} values of {values.dtype} in a piece of {piece.shape}")
    return values.reshape(piece.shape)


def _segment(location: Location, data: Any, place: int, name: bytes) -> tuple[int, int]:
    """First byte of the content of a segment, and its length."""
    if not 0 <= place <= len(data) - _HEADER.size:
        raise refused(location, f"a segment {name.decode()}", "the end of the file (truncated)")
    found, allocated, used = _HEADER.unpack_from(data, place)
    if found.rstrip(b"\0") != name:
        raise refused(location, f"a segment {name.decode()}", f"{found!r} at byte {place}")
    start, length = place + _HEADER.size, used or allocated
    if length < 0 or start + length > len(data):
        raise refused(location, f"{length} bytes of {name.decode()}", "fewer (truncated)")
    return start, length


def _entry(location: Location, data: Any, place: int, end: int) -> tuple[Piece, int]:
    """One entry of the directory, and the byte after it."""
    if place + _ENTRY.size > end:
        raise refused(location, "a complete directory", "the end of it (truncated)")
    schema, pixel, position, part, compression, _, count = _ENTRY.unpack_from(data, place)
    place += _ENTRY.size
    if schema != b"DV" or not 2 <= count <= _MOST_DIMENSIONS or place + count * 20 > end:
        raise refused(location, "entries of the directory", f"{schema!r} with {count} axes")
    if part:
        raise refused(location, "an image in one file", f"a piece in part {part}")
    if pixel not in _PIXELS:
        raise refused(location, "real values", f"pixel type {pixel}")
    if compression not in _COMPRESSIONS:
        raise refused(location, "none, JPEG, LZW, JPEG XR or zstd", f"compression {compression}")
    starts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    stored: dict[str, int] = {}
    for number in range(count):
        name, start, size, _, kept = _DIMENSION.unpack_from(data, place + 20 * number)
        axis = name.rstrip(b"\0").decode("ascii", "replace")
        # A stored size of 0 means the size.
        starts[axis], sizes[axis], stored[axis] = start, size, kept or size
    if not {*_PLANE} <= starts.keys() or min(*sizes.values(), *stored.values()) < 1:
        raise refused(location, "pieces with an x and a y", f"the axes {', '.join(starts)}")
    kind, samples = _PIXELS[pixel]
    rows = (stored["Y"], stored["X"])
    piece = Piece(position, starts, sizes, rows, np.dtype(kind), samples, compression)
    return piece, place + 20 * count


def _metadata(location: Location, data: Any, place: int) -> ET.Element:
    """The XML of the file; an empty element if there is none."""
    if place <= 0:
        return ET.Element("none")
    start, length = _segment(location, data, place, b"ZISRAWMETADATA")
    (size,) = struct.unpack_from("<i", data, start)
    if not 0 <= size <= length:
        raise refused(location, f"metadata of {size} bytes", f"{length}")
    try:
        return parse_xml(bytes(data[start + 256 : start + 256 + size]))
    except ValueError as error:
        raise refused(location, "metadata", f"damaged ones ({error})") from error


refused = partial(file_error, do="Copy it again, or export it from ZEN, as one CZI or as OME-TIFF.")
