"""The first page of a TIFF, read on its own: enough to see what a file belongs to."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from unmask.io.ome import MAX_XML

_DESCRIPTION = 270
_MOST_TAGS = 4096


def first_description(path: Path) -> str:
    """The text of the first page; "" if there is none, or if the file is not a TIFF.

    Raises:
        OSError: the file cannot be read.
    """
    # A pipe would block the open itself.
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
            return ""
        try:
            return _description(handle)
        except struct.error:
            return ""


def _description(handle: BinaryIO) -> str:
    start = handle.read(16)
    if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return ""
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:4] in (b"+\0", b"\0+")
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)
    handle.seek(offset)
    (count,) = struct.unpack(order + ("Q" if big else "H"), handle.read(8 if big else 2))
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    table = handle.read(min(count, _MOST_TAGS) * entry.size)
    for tag, kind, length, value in entry.iter_unpack(
        table[: len(table) // entry.size * entry.size]
    ):
        if tag == _DESCRIPTION and kind in (1, 2, 7) and length <= MAX_XML:
            if length <= len(value):
                return _text(value[:length])
            (place,) = struct.unpack(order + ("Q" if big else "I"), value)
            handle.seek(place)
            return _text(handle.read(length))
    return ""


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("utf-8", errors="replace")
