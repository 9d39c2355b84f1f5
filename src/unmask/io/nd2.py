"""ND2 files of Nikon, with the extra ``nd2``; frames are read one by one.

``file.nd2:1`` is the second position of the stage.
"""

from __future__ import annotations

import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.contract import (
    Format,
    Index,
    Location,
    Mark,
    Stored,
    check_file,
    file_error,
    map_file,
    only_level,
    signature,
)
from unmask.lookup import optional_import

_MAGIC, _OLD_MAGIC = 0x0ABECEDA, 0x0C000000
_CHUNK = struct.Struct("<IIQ")
_END_NAME = b"ND2 CHUNK MAP SIGNATURE 0000001!"
# The first part and the end of the list.
_LEAST = 160
_FRAME = b"ImageDataSeq|"
# Descriptions that the library decodes; they are pages of text.
_MOST_TEXT = 64 * 2**20
# A packed part: its kind, eleven bytes about it, and the start of a zlib stream.
_PACKED = re.compile(rb"\x4c.{11}(?=\x78[\x01\x5e\x9c\xda])", re.DOTALL)
_LEAD = "PTZ"


def open_nd2(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the descriptions.

    Raises:
        DataError: damaged, frames that are missing, several positions without a number, or no such
            position.
        MissingPackageError: nd2 is not installed.
    """
    del labels
    only_level(location, level)
    library: Any = optional_import("nd2", "nd2")
    mark = signature(location.path)
    with map_file(location, mark) as data:
        frames = _frames(location, data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with library.ND2File(location.path) as file:
            attributes, sizes = file.attributes, dict(file.sizes)
            loops = [(loop.type, int(loop.count)) for loop in file.experiment]
            spacing = _spacing(file)
            names = _channels(file)
    shape = _frame_shape(location, attributes)
    _check_sizes(location, sizes, shape, loops, len(frames))
    reader = _Frames(location, mark, frames, attributes, shape)
    counts = {axis: sizes.get(axis, 1) for axis in _LEAD}
    order = [axis for axis in sizes if axis in _LEAD]
    position = _position(location, counts["P"])

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
        times, slices = (range(part.start, part.stop) for part in index[:2])
        out = np.empty([part.stop - part.start for part in index], reader.dtype)
        for row, t in enumerate(times):
            for column, z in enumerate(slices):
                place = {"P": position, "T": t, "Z": z}
                number = 0
                for axis in order:
                    number = number * counts[axis] + place[axis]
                values = reader.frame(number)[(*index[3:5], index[2], index[5])]
                out[row, column] = np.moveaxis(values, 2, 0)
        return out

    rows, columns, channels, samples = shape
    letters = "".join(a.lower() if counts[a] == 1 else a for a in "TZ")
    notes = tuple(f"{location.source}: {warning.message}" for warning in caught)
    return Stored(
        (counts["T"], counts["Z"], channels, rows, columns, samples),
        reader.dtype,
        f"{letters}{'c' if channels == 1 else 'C'}YX{'s' if samples == 1 else 'S'}",
        read,
        spacing,
        "um" if spacing else None,
        meta={
            **({"channels": names} if any(names) else {}),
            **({"notes": notes} if notes else {}),
        },
    )


class _Frames:
    """Frames of a file: all channels of one plane each."""

    def __init__(
        self,
        location: Location,
        mark: Mark,
        frames: dict[int, tuple[int, int]],
        attributes: Any,
        shape: tuple[int, int, int, int],
    ) -> None:
        self._location, self._mark, self._frames = location, mark, frames
        self._shape, self._packed = shape, attributes.compressionType == "lossless"
        bits = int(attributes.bitsPerComponentInMemory)
        self.dtype = np.dtype(f"{'f' if bits == 32 else 'u'}{bits // 8}")
        _rows, columns, *samples = shape
        line = columns * prod(samples) * self.dtype.itemsize
        self._line = max(int(attributes.widthBytes or line), line)
        self._lock = threading.Lock()
        self._maps: recent.Shelf[Any] = recent.make_opened_shelf()
        self._decoded = recent.make_decoded_shelf()

    def frame(self, number: int) -> np.ndarray:
        """Values ``(rows, columns, channels, samples)``."""
        data = self._maps.get("map", lambda: map_file(self._location, self._mark))
        start, length = self._frames[number]
        if self._packed:
            return self._decoded.get(number, lambda: self._unpack(data[start : start + length]))
        return self._view(memoryview(data)[start : start + length])

    def _view(self, data: Any) -> np.ndarray:
        rows, columns, *samples = self._shape
        count = prod(samples)
        needed = (rows - 1) * self._line + columns * count * self.dtype.itemsize
        if len(data) < needed:
            raise ValueError(f"a frame of {len(data)} bytes instead of {needed}")
        inner = np.dtype(self.dtype).itemsize
        steps = (self._line, count * inner, samples[1] * inner, inner)
        return np.ndarray(self._shape, self.dtype.newbyteorder("<"), data, 0, steps)

    def _unpack(self, packed: bytes) -> np.ndarray:
        most = self._shape[0] * self._line
        stream = zlib.decompressobj()
        plain = stream.decompress(packed, most + 1)
        if not stream.eof or len(plain) > most:
            raise ValueError(f"a frame that does not unpack to {most} bytes")
        return self._view(plain).copy()


def _frames(location: Location, data: Any) -> dict[int, tuple[int, int]]:
    """First byte and length of the values of every frame.

    Descriptions are checked as well: the library unpacks them without a bound.
    """
    frames: dict[int, tuple[int, int]] = {}
    for part, place in _parts(location, data):
        start, length = _chunk(location, data, place)
        if part.startswith(_FRAME):
            number = part[len(_FRAME) : -1]
            if not number.isdigit():
                raise _refused(location, "numbers of frames", f"{part!r}")
            # A time stamp comes before the values.
            frames[int(number)] = (start + 8, length - 8)
        elif part.startswith(b"Image"):
            _check_text(location, data, start, length)
    if not frames:
        raise _refused(location, "at least one frame", "none")
    return frames


def _parts(location: Location, data: Any) -> Iterator[tuple[bytes, int]]:
    """Name and place of every part, from the list at the end of the file."""
    if len(data) < _LEAST:
        raise _refused(location, "an ND2 file", f"{len(data)} bytes (truncated)")
    (magic,) = struct.unpack_from("<I", data)
    if magic == _OLD_MAGIC:
        raise _refused(location, "ND2 of version 2 or later", "version 1 (JPEG 2000)")
    if magic != _MAGIC:
        raise _refused(location, "an ND2 file", f"a file that starts {bytes(data[:12])!r}")
    name, place = struct.unpack_from("<32sQ", data, len(data) - 40)
    if name != _END_NAME:
        raise _refused(location, "a list of its parts at its end", "none (truncated)")
    start, length = _chunk(location, data, place)
    text = bytes(data[start : start + length])
    position = 0
    while (end := text.find(b"!", position) + 1) and text[position:end] != _END_NAME:
        if end + 16 > len(text):
            end = 0
            break
        (place,) = struct.unpack_from("<Q", text, end)
        yield text[position:end], place
        position = end + 16
    if not end:
        raise _refused(location, "a complete list of its parts", "half of it (truncated)")


def _chunk(location: Location, data: Any, place: int) -> tuple[int, int]:
    """First byte of the content of a part, and its length."""
    if not 0 <= place <= len(data) - _CHUNK.size:
        raise _refused(location, f"a part at byte {place}", "the end of the file (truncated)")
    magic, name, length = _CHUNK.unpack_from(data, place)
    start = place + _CHUNK.size + name
    if magic != _MAGIC or start + length > len(data):
        raise _refused(location, f"a part at byte {place}", "another, or the end of the file")
    return start, length


def _check_text(location: Location, data: Any, start: int, length: int) -> None:
    """Refuse a description that is or unpacks to more than any has."""
    total, todo = length, [bytes(data[start : start + min(length, _MOST_TEXT)])]
    while todo and total <= _MOST_TEXT:
        text = todo.pop()
        for found in _PACKED.finditer(text):
            try:
                inner = zlib.decompressobj().decompress(text[found.end() :], _MOST_TEXT + 1)
            except zlib.error:
                # Bytes that look like packed ones.
                continue
            total += len(inner)
            todo.append(inner)
    if total > _MOST_TEXT:
        raise _refused(location, "descriptions of at most 64 MiB", "more")


def _frame_shape(location: Location, attributes: Any) -> tuple[int, int, int, int]:
    """Rows, columns, channels and samples of a frame."""
    channels = int(attributes.channelCount or 1)
    components, bits = int(attributes.componentCount), int(attributes.bitsPerComponentInMemory)
    size = (int(attributes.heightPx), int(attributes.widthPx))
    if min(*size, channels, components) < 1 or components % channels or bits not in (8, 16, 32):
        raise _refused(
            location, "frames of 8, 16 or 32 bits", f"{size}, {components} components, {bits} bits"
        )
    if attributes.compressionType == "lossy":
        raise _refused(location, "frames without loss", "lossy compression")
    return (*size, channels, components // channels)


def _check_sizes(
    location: Location,
    sizes: dict[str, int],
    shape: tuple[int, int, int, int],
    loops: list[tuple[str, int]],
    frames: int,
) -> None:
    """The experiment, the attributes and the frames of the file must fit each other."""
    strange = set(sizes) - set("TPZCYXS")
    needed = prod(sizes.get(axis, 1) for axis in _LEAD)
    if strange or min(sizes.values(), default=1) < 1:
        raise _refused(location, "the axes t, c, z, y and x", f"{sizes}")
    if needed != frames:
        raise _refused(
            location,
            f"{needed} frames, as its experiment says ({loops})",
            f"{frames} (an interrupted recording?)",
        )
    limits.check_memory(location.source, prod(shape) * 4, what="one frame")


def _position(location: Location, count: int) -> int:
    """The stage position that is meant."""
    if location.key:
        number = int(location.key)
        if number < count:
            return number
    elif count == 1:
        return 0
    raise DataError(
        message(
            location.source,
            expected=f"a position from 0 to {count - 1} after the colon"
            if location.key
            else "one position of the stage",
            found=location.key or f"{count}",
            do=f"Choose one by its number, for example {location.path}:0.",
        )
    )


def _spacing(file: Any) -> dict[str, float]:
    """Voxel size in um along the axes that were calibrated."""
    channels = getattr(file.metadata, "channels", None) or ()
    if not channels:
        return {}
    volume = channels[0].volume
    return {
        axis: float(size)
        for axis, size, known in zip(
            "XYZ", volume.axesCalibration, volume.axesCalibrated, strict=True
        )
        if known and np.isfinite(size) and size > 0
    }


def _channels(file: Any) -> tuple[str, ...]:
    channels = getattr(file.metadata, "channels", None) or ()
    return tuple(str(channel.channel.name) for channel in channels)


_refused = partial(
    file_error, do="Copy it again, or export it from NIS-Elements, as ND2 or as OME-TIFF."
)


FORMAT = Format("ND2", open_nd2)
