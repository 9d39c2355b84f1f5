"""LIF files of Leica: a list of images, whose values lie unpacked in memory blocks.

``file.lif:1`` is the second image. liffile reads the format as well, but only whole images or
planes; a block is an array with strides, which a mapping of the file reads by box.
"""

from __future__ import annotations

import mmap
import struct
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io.contract import (
    METERS,
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
    unit_symbol,
)
from unmask.io.xml_text import parse_xml

_LETTERS = {1: "X", 2: "Y", 3: "Z", 4: "T"}
_OTHERS = {5: "wavelengths", 10: "tiles of a mosaic"}
_BLOCK, _TEST = 0x70, 0x2A
_MOST_BLOCKS = 1_000_000
_SHOWN = 10
# Numbers of red, green and blue.
_COLORS = (1, 2, 3)


@dataclass(frozen=True)
class _Picture:
    """An image of the file.

    Attributes:
        name: with those of the folders around it.
        axes: letter, length, bytes from one element to the next, and spacing in um (0: unknown).
        channels: first byte of each channel in the block.
        names: of the channels.
        dtype: little-endian.
        block: first byte and length of the values in the file.
    """

    name: str
    axes: tuple[tuple[str, int, int, float], ...]
    channels: tuple[int, ...]
    names: tuple[str, ...]
    dtype: np.dtype[Any]
    block: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.channels), *(length for _, length, _, _ in self.axes))


def open_lif(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the description of the image that the number after the colon names, or of the only one.

    Raises:
        DataError: damaged, several images without a number, no such image, or axes that have no
            meaning here (wavelengths, mosaics that were not merged).
    """
    del labels
    only_level(location, level)
    mark = signature(location.path)
    with map_file(location, mark) as data:
        root, blocks = _read_blocks(location, data)
    picture = _picture(location, *_choose(location, root), blocks)
    reader = _Reader(location, mark, picture)
    letters = "".join(letter for letter, *_ in picture.axes)
    spacing = {letter: size for letter, _, _, size in picture.axes if size and letter in "ZYX"}
    return Stored(
        picture.shape,
        picture.dtype.newbyteorder("="),
        ("c" if len(picture.channels) == 1 else "C") + letters,
        reader.read,
        spacing,
        "um" if spacing else None,
        meta={"channels": picture.names} if any(picture.names) else {},
    )


class _Reader:
    def __init__(self, location: Location, mark: Mark, picture: _Picture) -> None:
        self._location, self._mark, self._picture = location, mark, picture
        self._maps: recent.Shelf[mmap.mmap] = recent.make_opened_shelf()

    def read(self, index: Index) -> np.ndarray:
        """Values of a box."""
        check_file(self._location, self._mark)
        picture = self._picture
        data = self._maps.get("map", lambda: map_file(self._location, self._mark))
        parts = [self._channel(data, first)[index[1:]] for first in picture.channels[index[0]]]
        return np.stack(parts).astype(picture.dtype.newbyteorder("="), copy=False)

    def _channel(self, data: mmap.mmap, first: int) -> np.ndarray:
        picture = self._picture
        start, _ = picture.block
        return np.ndarray(
            picture.shape[1:],
            picture.dtype,
            data,
            start + first,
            tuple(step for _, _, step, _ in picture.axes),
        )


def _read_blocks(location: Location, data: Any) -> tuple[ET.Element, dict[str, tuple[int, int]]]:
    """The description, and where every memory block lies."""
    marks = struct.unpack_from("<IIBI", data) if len(data) > 13 else (0, 0, 0, 0)
    if (marks[0], marks[2]) != (_BLOCK, _TEST):
        raise _refused(location, "a LIF file", f"a file that starts {bytes(data[:13])!r}")
    place = 13 + 2 * marks[3]
    if place > len(data):
        raise _refused(location, "its description", "the end of the file (truncated)")
    try:
        root = parse_xml(bytes(data[13:place]).decode("utf-16-le").rstrip("\0"))
    except ValueError as error:
        raise _refused(location, "its description", f"{error}") from error
    long = root.get("Version") != "1"
    header = struct.Struct("<IIBQBI" if long else "<IIBIBI")
    blocks: dict[str, tuple[int, int]] = {}
    while place + header.size <= len(data) and len(blocks) < _MOST_BLOCKS:
        first, _, second, size, third, count = header.unpack_from(data, place)
        start = place + header.size + 2 * count
        if (first, second, third) != (_BLOCK, _TEST, _TEST) or start + size > len(data):
            raise _refused(location, "a memory block", f"other bytes at {place} (truncated?)")
        name = bytes(data[place + header.size : start]).decode("utf-16-le", "replace")
        blocks[name.rstrip("\0")] = (start, size)
        place = start + size
    if place != len(data):
        raise _refused(location, "memory blocks up to the end of the file", f"{len(data) - place} "
                       "bytes more")  # fmt: skip
    return root, blocks


def _choose(location: Location, root: ET.Element) -> tuple[str, ET.Element]:
    """Name and element of the image that is meant."""
    images = list(_images(root, ""))
    if not images:
        raise _refused(location, "an image", "none in its description")
    if location.key:
        number = int(location.key)
        if number < len(images):
            return images[number]
    elif len(images) == 1:
        return images[0]
    shown = ", ".join(f":{n} {name!r}" for n, (name, _) in enumerate(images[:_SHOWN]))
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    raise DataError(
        message(
            location.source,
            expected=f"a number from 0 to {len(images) - 1} after the colon"
            if location.key
            else "one image in the file",
            found=f"{location.key}; the images are {shown}{more}"
            if location.key
            else f"{len(images)}: {shown}{more}",
            do=f"Choose one by its number, for example {location.path}:0.",
        )
    )


def _images(element: ET.Element, prefix: str) -> Any:
    """Elements with an image, and their names."""
    # A description of thousands of nested elements would exhaust the stack.
    todo = [(element, prefix)]
    while todo:
        node, path = todo.pop()
        if node.find("Data/Image") is not None:
            yield path, node
        children = [*node.findall("Children/Element"), *node.findall("Element")]
        for child in reversed(children):
            name = child.get("Name", "")
            inner = node.tag == "Element"
            todo.append((child, f"{path}/{name}" if path and inner else name))


def _picture(
    location: Location, name: str, element: ET.Element, blocks: dict[str, tuple[int, int]]
) -> _Picture:
    description = element.find("Data/Image/ImageDescription")
    memory = element.find("Memory")
    block = blocks.get("" if memory is None else memory.get("MemoryBlockID", ""))
    if description is None or block is None:
        raise _refused(location, f"the values of {name!r}", "none")
    channels = description.findall("Channels/ChannelDescription")
    dtype, offsets, names = _channels(location, channels)
    axes = _axes(location, description.findall("Dimensions/DimensionDescription"))
    picture = _Picture(name, axes, offsets, names, dtype, block)
    steps = [step for _, _, step, _ in axes]
    last = max(offsets) + sum((n - 1) * step for (_, n, step, _) in axes) + dtype.itemsize
    # Two elements in one place, or a block that is longer, mean a damaged description.
    least = prod(picture.shape) * dtype.itemsize
    if min(*steps, *offsets, 0) < 0 or min(steps) < 1 or last > block[1] or least > block[1]:
        raise _refused(location, f"{max(last, least)} bytes of {name!r}", f"{block[1]}")
    if not _is_filled(picture):
        raise _refused(location, f"{block[1]} bytes of values of {name!r}", f"{least}")
    return picture


def _is_filled(picture: _Picture) -> bool:
    """Whether the values fill their block; rows of colors are padded to a few bytes."""
    least = prod(picture.shape) * picture.dtype.itemsize
    rows = prod(picture.shape[:-1])
    return picture.block[1] - least < 64 * rows + 64


def _channels(
    location: Location, entries: Sequence[ET.Element]
) -> tuple[np.dtype[Any], tuple[int, ...], tuple[str, ...]]:
    """Type, first bytes and names of the channels; colors come as red, green, blue."""
    found = []
    for entry in entries:
        bits, kind = _integer(location, entry, "Resolution"), _integer(location, entry, "DataType")
        size = next((n for n in (1, 2, 4, 8) if 0 < bits <= 8 * n), 0)
        if not size or kind not in (0, 1) or (kind == 1 and size == 1):
            raise _refused(location, "channels of numbers", f"{bits} bits of kind {kind}")
        tag = _integer(location, entry, "ChannelTag")
        offset = _integer(location, entry, "BytesInc")
        found.append((tag, offset, entry.get("LUTName", ""), f"<{'f' if kind else 'u'}{size}"))
    types = {kind for *_, kind in found}
    if len(types) != 1:
        raise _refused(location, "channels of one type", ", ".join(sorted(types)) or "none")
    if len(found) == len(_COLORS) and {tag for tag, *_ in found} == {*_COLORS}:
        found.sort()
    else:
        found.sort(key=lambda entry: entry[1])
    offsets = tuple(offset for _, offset, *_ in found)
    if len({*offsets}) < len(offsets):
        raise _refused(location, "channels in different places", f"{offsets}")
    return np.dtype(types.pop()), offsets, tuple(name for _, _, name, _ in found)


def _axes(
    location: Location, entries: Sequence[ET.Element]
) -> tuple[tuple[str, int, int, float], ...]:
    found: dict[str, tuple[str, int, int, float]] = {}
    for entry in entries:
        number = _integer(location, entry, "DimID")
        length = _integer(location, entry, "NumberOfElements")
        if length < 1:
            raise _refused(location, "lengths of at least 1", f"{length}")
        if number not in _LETTERS:
            if length > 1:
                name = _OTHERS.get(number, f"positions on axis {number}")
                raise _refused(location, "the axes t, z, y and x", f"{length} {name}")
            continue
        letter, step = _LETTERS[number], _integer(location, entry, "BytesInc")
        if letter in found:
            raise _refused(location, "different axes", f"{letter} twice")
        found[letter] = (letter, length, step, _size(entry, length))
    if "Y" not in found and {"X", "Z"} <= found.keys():
        # A section along the depth: rows are steps of the stage.
        found["Y"] = ("Y", *found.pop("Z")[1:])
    if not {"X", "Y"} <= found.keys():
        raise _refused(location, "the axes x and y", ", ".join(sorted(found)) or "none")
    return tuple(found[letter] for letter in "TZYX" if letter in found)


def _size(entry: ET.Element, length: int) -> float:
    """Distance of two elements in um; 0 if it is not known."""
    meters = METERS.get(unit_symbol(entry.get("Unit")) or "", 0.0)
    try:
        # The stated length goes from the first element to the last.
        size = abs(float(entry.get("Length", ""))) / max(length - 1, 1) * meters * 1e6
    except ValueError:
        return 0.0
    return size if length > 1 and np.isfinite(size) else 0.0


def _integer(location: Location, entry: ET.Element, name: str) -> int:
    text = entry.get(name, "")
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 18:
        raise _refused(location, f"a whole number {name}", repr(text[:40]))
    return int(text)


_refused = partial(
    file_error, do="Copy it again, or export the image from LAS X, as LIF or as OME-TIFF."
)


FORMAT = Format("LIF", open_lif)
