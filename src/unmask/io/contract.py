"""The contract of a file format: what a reader hands out, what a writer is given.

A format is one file with a function ``open``, a function ``save`` and a `Format`; one line in
`unmask.io.formats` adds it.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unmask.errors import DataError, message

Index = tuple[slice, ...]

# Short symbols, whatever word a format uses.
_UNITS = {
    "nm": "nm", "nanometer": "nm", "nanometers": "nm",
    "um": "um", "µm": "um", "μm": "um", "\\u00b5m": "um", "micron": "um", "microns": "um",
    "micrometer": "um", "micrometers": "um", "micrometre": "um",
    "mm": "mm", "millimeter": "mm", "millimeters": "mm", "millimetre": "mm",
    "cm": "cm", "centimeter": "cm", "m": "m", "meter": "m", "metre": "m",
    "å": "angstrom", "angstrom": "angstrom",
    "inch": "inch", "in": "inch",
}  # fmt: skip
METERS = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "angstrom": 1e-10}


@dataclass(frozen=True)
class Location:
    """Where an image is.

    Attributes:
        source: the path as the user gave it.
        path: the file or folder on disk, or at an address (`unmask.io.remote`).
        key: the array inside a container, or the number of the image in a TIFF; "" if the file is
            the image.
        allow_external: whether the file may name other files as the place of its values.
    """

    source: str
    # An address has the part of a path's methods that readers of stores use.
    path: Path
    key: str = ""
    allow_external: bool = False


@dataclass(frozen=True)
class Stored:
    """An array in a file, as the file has it: its own axes, nothing read yet.

    Attributes:
        shape: length of every stored axis.
        dtype: native byte order.
        axes: one letter per axis out of ``T C Z Y X S``, ``?`` where the file does not say,
            lower case where an axis of length 1 may be dropped.
        read: values inside one slice (start and stop given, step 1) for every stored axis; a new
            array in native byte order.
        spacing: voxel size by axis letter, in ``unit``.
        unit: short symbol ("um").
        whole: a part costs as much as everything (PNG, JPEG, .nii.gz): worth keeping in memory.
        meta: what a writer of the same format needs for an exact round trip.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    read: Callable[[Index], np.ndarray]
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    whole: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """What is to be written.

    Attributes:
        array: ``(C, *space)`` or ``(*space)``, C-contiguous, native byte order.
        axes: one letter per axis, such as ``CZYX`` or ``YX``.
        spacing: voxel size of the spatial axes, slow axis first.
        unit: short symbol.
        meta: `Stored.meta` of the image this one belongs to.
    """

    array: np.ndarray
    axes: str
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: for messages.
        open: ``(location, level=, labels=)`` to `Stored`; ``level`` is a resolution level (0 the
            finest), ``labels`` asks for raw ids instead of colors.
        save: ``(location, content)`` writes atomically; None: files are only read.
        family: suffix of predictions made from files of this format.
        folder: the "file" is a folder.
        container: one file may hold several arrays, ``file.h5:key``.
        lossy: values change when written, so ids are not safe.
        copy: ``(location, stored)`` writes an image part by part, however large it is; None: the
            format holds small images only, or is written in parts anyway (Zarr).
        suffixes: ends of names of its files, such as ``(".raw",)``. A format that comes with unmask
            has them in `unmask.io.formats`.
        origin: ``path/to/file.py:Name`` that the format comes from; set when it is added.
    """

    name: str
    open: Callable[..., Stored]
    save: Callable[[Location, Content], None] | None = None
    family: str = ".tif"
    folder: bool = False
    container: bool = False
    lossy: bool = False
    copy: Callable[[Location, Stored], None] | None = None
    suffixes: tuple[str, ...] = ()
    origin: str = ""


def spacing_in_order(stored: Stored) -> tuple[float, ...] | None:
    """Voxel size of the spatial axes, slow axis first; None where it is unknown."""
    letters = [letter for letter in stored.axes if letter in "ZYX"]
    if any(letter not in stored.spacing for letter in letters):
        return None
    return tuple(stored.spacing[letter] for letter in letters)


def unit_symbol(word: object) -> str | None:
    """Short symbol of a unit of length, None for pixels, no unit and unknown words.

    Examples:
        >>> unit_symbol("micrometer")
        'um'
    """
    return _UNITS.get(str(word).strip().lower()) if word else None


def file_error(location: Location, expected: str, found: str, *, do: str) -> DataError:
    """An error about a file; each reader fixes what to do about its files.

    Args:
        location: names the file.
        expected: what the reader needs.
        found: what the file has instead.
        do: how its user gets a file that can be read.
    """
    return DataError(message(location.source, expected=expected, found=found, do=do))


def only_level(location: Location, level: int) -> None:
    """Refuse resolution levels in a format that has one.

    Raises:
        DataError: another level than 0 was asked for.
    """
    if level != 0:
        raise DataError(
            message(
                location.source,
                expected="level 0, its only resolution level",
                found=f"level={level}",
                do="Leave level out, or give an OME-Zarr or pyramidal TIFF.",
            )
        )


class Mark(NamedTuple):
    """What tells one version of a file from the next.

    Size and time of change alone do not: a file that is rewritten within one tick of the clock
    keeps both. The change time cannot be set back, and the inode differs after a replacement.

    Attributes:
        size: bytes.
        modified: time of the last write, in nanoseconds.
        changed: time of the last change of the file or its attributes, in nanoseconds.
        inode: number of the file; 0 if it had been at rest before, when the times suffice. Some
            network file systems give a file another number after a while.
    """

    size: int
    modified: int
    changed: int
    inode: int


# Clocks of file systems tick every 10 ms on disks, every 2 s on FAT and some network mounts.
_AT_REST_NS = 10 * 10**9


def mark_of(status: os.stat_result) -> Mark:
    """The mark of a file from its status."""
    rested = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _AT_REST_NS
    inode = 0 if rested else status.st_ino
    return Mark(status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)


def signature(path: Path) -> Mark:
    """The mark of a file, which differs when the file was replaced or rewritten."""
    return mark_of(path.stat())


def check_same(source: str, status: os.stat_result, expected: Mark) -> None:
    """Refuse a file that is not the one that was opened.

    Raises:
        DataError: the file was replaced or rewritten.
    """
    stamps = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if stamps != expected[:3] or expected.inode not in (0, status.st_ino):
        raise DataError(
            message(
                source,
                expected="the file that was opened",
                found="another size or time of change",
                do="Do not replace inputs during a run; start again.",
            )
        )


def check_file(location: Location, expected: Mark) -> None:
    """Refuse to mix values of two versions of a file: call it before kept values are used.

    Raises:
        DataError: the file was replaced, rewritten or removed.
    """
    try:
        status = location.path.stat()
    except OSError as error:
        raise DataError(
            message(
                location.source,
                expected="the file that was opened",
                found=f"none ({error.strerror})",
                do="Do not remove inputs during a run; start again.",
            )
        ) from error
    check_same(location.source, status, expected)


def map_file(location: Location, expected: Mark) -> mmap.mmap:
    """The bytes of a file as a read-only mapping.

    Raises:
        DataError: the file is not the one whose header was read.
    """
    with location.path.open("rb") as handle:
        check_same(location.source, os.fstat(handle.fileno()), expected)
        return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
