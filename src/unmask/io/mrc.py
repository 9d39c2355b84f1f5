"""MRC and CCP4 maps (.mrc, .rec, .map, .st, .ali): electron tomograms, read by box.

The header is a fixed struct of 1024 bytes (MRC2014, doi:10.1016/j.jsb.2015.04.002), so it is read
here: mrcfile warns and opens files whose length contradicts their header.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Format, Location, Stored, only_level, signature
from unmask.io.flat import Flat, flat_reader, truncated

_HEADER = 1024
# Extended headers of microscopes have a few KB for each of some thousand images.
_MOST_EXTENDED = 256 * 2**20
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED = {3: "complex numbers", 4: "complex numbers", 101: "values of 4 bits"}
# IMOD marks its files, and says by a bit whether bytes have a sign.
_IMOD, _SIGNED = 1146047817, 1
# Space groups from here on are stacks of volumes.
_VOLUME_STACK = 401


def open_mrc(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header; the voxel size is in angstrom.

    Raises:
        DataError: damaged, complex numbers, or another length than the header claims.
    """
    del labels
    only_level(location, level)
    mark = signature(location.path)
    with location.path.open("rb") as handle:
        head = handle.read(_HEADER)
    if len(head) < _HEADER:
        raise truncated(location, _HEADER, len(head))
    order = _byte_order(location, head)
    columns, rows, sections, mode = struct.unpack_from(order + "4i", head)
    intervals = struct.unpack_from(order + "3i", head, 28)
    cell = struct.unpack_from(order + "3f", head, 40)
    group, extended = struct.unpack_from(order + "2i", head, 88)
    if min(columns, rows, sections) < 1 or not 0 <= extended <= _MOST_EXTENDED:
        raise _damaged(location, "sizes of at least 1", f"{columns} x {rows} x {sections}")
    stored = np.dtype(_dtype(location, mode, head, order)).newbyteorder(order)
    shape, axes = (sections, rows, columns), _axes(struct.unpack_from(order + "3i", head, 64))
    if group >= _VOLUME_STACK and intervals[2] > 0 and sections % intervals[2] == 0:
        shape, axes = (sections // intervals[2], intervals[2], rows, columns), f"T{axes}"
    elif sections == 1 and axes == "ZYX":
        axes = "zYX"
    read = flat_reader(Flat(location, mark, shape, stored, _HEADER + extended))
    sizes = [
        length / count if count > 0 else 0 for length, count in zip(cell, intervals, strict=True)
    ]
    known = all(np.isfinite(size) and size > 0 for size in sizes)
    return Stored(
        shape,
        stored.newbyteorder("="),
        axes,
        read,
        spacing=dict(zip("XYZ", map(float, sizes), strict=True)) if known else {},
        unit="angstrom" if known else None,
    )


def _byte_order(location: Location, head: bytes) -> Literal["<", ">"]:
    """The byte order in which the mode is a known one; old files have no mark of it."""
    marks: dict[int, Literal["<", ">"]] = {0x44: "<", 0x11: ">"}
    marked = marks.get(head[212])
    for order in (marked,) if marked else marks.values():
        (mode,) = struct.unpack_from(order + "i", head, 12)
        if mode in _MODES or mode in _REFUSED:
            return order
    raise _damaged(location, "an MRC file", f"a header that starts {head[:16]!r}")


def _dtype(location: Location, mode: int, head: bytes, order: str) -> str:
    if mode in _REFUSED:
        raise DataError(
            message(
                location.source,
                expected="real values of at least 8 bits",
                found=f"{_REFUSED[mode]} (mode {mode})",
                do="Convert it, for example with newstack -mode 1 of IMOD.",
            )
        )
    stamp, flags = struct.unpack_from(order + "2i", head, 152)
    return "u1" if mode == 0 and stamp == _IMOD and not flags & _SIGNED else _MODES[mode]


def _axes(numbers: tuple[Any, ...]) -> str:
    """Letters, slow axis first, from the axes of columns, rows and sections."""
    if sorted(numbers) != [1, 2, 3]:
        return "ZYX"
    return "".join("XYZ"[number - 1] for number in reversed(numbers))


def _damaged(location: Location, expected: str, found: str) -> DataError:
    return DataError(
        message(location.source, expected=expected, found=found, do="Copy or export it again.")
    )


FORMAT = Format("MRC", open_mrc)
