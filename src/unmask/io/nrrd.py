"""NRRD (.nrrd, .nhdr) of 3D Slicer and others: raw values by box, packed ones whole.

The header is a page of text. It is read here because pynrrd reads all values at once and follows a
data file to any folder. The format: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Format, Location, Stored, only_level, signature, unit_symbol
from unmask.io.flat import Flat, flat_reader, sibling
from unmask.io.placed import make_affine, placed_volume

_MOST_HEADER = 1 << 20
_MOST_AXES = 6
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
                    "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long",
                     "signed long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64",
                     "uint64_t"), "u8"),
    "float": "f4", "double": "f8",
}  # fmt: skip
_PACKING = {"raw": "", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
# Signs of x, y and z from a space to right, front, head.
_SPACES = {
    "RAS": (1, 1, 1), "LAS": (-1, 1, 1), "LPS": (-1, -1, 1),
}  # fmt: skip
_WORDS = {"right": "R", "left": "L", "anterior": "A", "posterior": "P", "superior": "S"}
_SPATIAL = ("domain", "space")
_TIME = ("time",)


@dataclass(frozen=True)
class _Header:
    location: Location
    fields: Mapping[str, str]
    end: int

    def refused(self, expected: str, found: object) -> DataError:
        return DataError(
            message(
                self.location.source,
                expected=expected,
                found=f"{found}"[:200],
                do="Export it again, raw or with gzip, in one file.",
            )
        )

    def integer(self, name: str, default: int | None = None) -> int:
        text = self.fields.get(name)
        if text is None and default is not None:
            return default
        if text is None or not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise self.refused(f"a whole number after {name!r}", text)
        return int(text)

    def words(self, name: str, count: int) -> list[str]:
        """One word per axis; "" for each if the field is missing."""
        text = self.fields.get(name)
        found = [""] * count if text is None else re.findall(r'"[^"]*"|\S+', text)
        if len(found) != count:
            raise self.refused(f"{count} entries of {name!r}", text)
        return [word.strip('"') for word in found]


def open_nrrd(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header.

    Raises:
        DataError: damaged, text or hexadecimal values, several data files, one in another folder,
            or another length than the header claims.
    """
    del labels
    only_level(location, level)
    header = _header(location)
    count = header.integer("dimension")
    if not 1 <= count <= _MOST_AXES:
        raise header.refused(f"1 to {_MOST_AXES} axes", count)
    sizes = header.words("sizes", count)
    if not all(re.fullmatch(r"[1-9]\d{0,14}", size) for size in sizes):
        raise header.refused("sizes of at least 1", header.fields.get("sizes"))
    flat = _flat(header, tuple(int(size) for size in sizes)[::-1])
    letters = _letters(header, count)
    # Channels and time may be the fast axes of the file; space comes last here.
    order = sorted(range(count), key=lambda axis: (letters[axis] in "ZYX", axis))
    moved = "".join(letters[axis] for axis in order)
    shape = tuple(flat.shape[axis] for axis in order)
    read = flat_reader(flat, lambda array: array.transpose(order))
    dtype, packed = flat.stored.newbyteorder("="), bool(flat.packing)
    affine = _affine(header, letters)
    if affine is not None:
        lead = moved.removesuffix("ZYX")
        return placed_volume(location.source, shape, dtype, read, affine, lead=lead, whole=packed)
    spacing, unit = _spacing(header, letters)
    return Stored(shape, dtype, moved, read, spacing, unit, packed)


def _header(location: Location) -> _Header:
    with location.path.open("rb") as handle:
        start = handle.read(_MOST_HEADER)
    if not re.match(rb"NRRD000\d", start):
        raise DataError(
            message(
                location.source,
                expected="a NRRD file",
                found=f"a file that starts {start[:12]!r}",
                do="Export it again, or give it the suffix of its format.",
            )
        )
    # The header ends at an empty line, or with the file if the values are elsewhere.
    empty = re.search(rb"\r?\n\r?\n", start)
    text = start[: empty.start() if empty else len(start)].decode("ascii", "replace")
    fields: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        name, colon, value = line.partition(":")
        # "key:=value" is a remark of the user.
        if colon and not line.startswith("#") and not value.startswith("="):
            fields.setdefault(name.strip().lower(), value.strip())
    return _Header(location, fields, empty.end() if empty else len(start))


def _flat(header: _Header, shape: tuple[int, ...]) -> Flat:
    fields = header.fields
    kind = fields.get("type", "").lower()
    packing = fields.get("encoding", "").lower()
    if kind not in _TYPES:
        raise header.refused("a type of numbers", f"type {kind!r}")
    if packing not in _PACKING:
        raise header.refused("raw, gzip or bzip2 values", f"encoding {packing!r}")
    stored = np.dtype(_TYPES[kind])
    orders: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
    if stored.itemsize > 1:
        endian = fields.get("endian", "").lower()
        if endian not in orders:
            raise header.refused("endian: little or big", endian or "none")
        stored = stored.newbyteorder(orders[endian])
    name = fields.get("data file", fields.get("datafile"))
    if name is None:
        place, offset = header.location, header.end
    elif name.upper().startswith("LIST") or "%" in name:
        raise header.refused("one data file", f"several ({name})")
    else:
        place, offset = sibling(header.location, name), 0
    skip = header.integer("byte skip", header.integer("byteskip", 0))
    if header.integer("line skip", header.integer("lineskip", 0)) or skip < -1:
        raise header.refused("values that begin at a byte", "lines that are left out")
    mark = signature(place.path)
    length = int(np.prod(shape, dtype=object)) * stored.itemsize
    if not _PACKING[packing]:
        # -1 means that the values end with the file.
        offset = mark.size - length if skip == -1 else offset + skip
        if offset < 0:
            raise header.refused(f"{length} bytes of values", f"{mark.size} (truncated)")
        return Flat(place, mark, shape, stored, offset)
    return Flat(place, mark, shape, stored, offset, _PACKING[packing], max(skip, 0))


def _letters(header: _Header, count: int) -> str:
    """A letter per axis, slow axis first."""
    kinds = [kind.lower() for kind in header.words("kinds", count)]
    steps = _steps(header, count)
    spatial = [
        kind in _SPATIAL or (kind in ("", "???", "none") and (not steps or steps[axis] is not None))
        for axis, kind in enumerate(kinds)
    ]
    if steps:
        # Directions say which axes are spatial, whatever the kinds say.
        spatial = [step is not None for step in steps]
    places = [axis for axis in range(count) if spatial[axis]]
    if not 2 <= len(places) <= 3:
        return "?" * count
    names = iter("XYZ")
    letters = [
        next(names) if flag else ("T" if kind in _TIME else "C")
        for flag, kind in zip(spatial, kinds, strict=True)
    ]
    if len(set(letters)) < count:
        return "?" * count
    return "".join(reversed(letters))


def _steps(header: _Header, count: int) -> list[np.ndarray | None]:
    """The step along each axis, the fast axis first; None for axes that are not in space."""
    text = header.fields.get("space directions")
    if text is None:
        return []
    found = re.findall(r"none|\([^)]*\)", text)
    if len(found) != count:
        raise header.refused(f"{count} space directions", text)
    return [None if word == "none" else _vector(header, word) for word in found]


def _vector(header: _Header, text: str) -> np.ndarray:
    try:
        numbers = np.array([float(number) for number in text.strip("() ").split(",")])
    except ValueError as error:
        raise header.refused("numbers in parentheses", text) from error
    if not np.isfinite(numbers).all():
        raise header.refused("finite numbers", text)
    return numbers


def _space(header: _Header) -> tuple[int, ...] | None:
    """Signs of the axes of the space; None if it is not that of a body."""
    name = header.fields.get("space", "").lower()
    short = "".join(_WORDS.get(word, "?") for word in name.split("-"))
    return _SPACES.get(short) or _SPACES.get(name.upper())


def _affine(header: _Header, letters: str) -> np.ndarray | None:
    """From voxel (i, j, k) to right, front, head; None if the position is not known."""
    signs = _space(header)
    steps = [step for step in _steps(header, len(letters)) if step is not None]
    if signs is None or len(steps) != 3 or any(len(step) != 3 for step in steps):
        return None
    origin = header.fields.get("space origin")
    first = np.zeros(3) if origin is None else _vector(header, origin)
    if len(first) != 3:
        raise header.refused("three numbers of the space origin", origin)
    return np.diag([*signs, 1.0]) @ make_affine(np.array(steps), first)


def _spacing(header: _Header, letters: str) -> tuple[dict[str, float], str | None]:
    count = len(letters)
    steps = _steps(header, count)
    if steps:
        sizes = [None if step is None else float(np.linalg.norm(step)) for step in steps]
    else:
        words = [word.lower() for word in header.words("spacings", count)]
        sizes = [_number(word) for word in words]
    units = {unit_symbol(word) for word in _units(header)} - {None}
    found = {
        letter: size
        for letter, size in zip(reversed(letters), sizes, strict=True)
        if size is not None and np.isfinite(size) and size > 0 and letter in "ZYX"
    }
    unit = units.pop() if len(units) == 1 else None
    return found, unit


def _units(header: _Header) -> list[str]:
    text = header.fields.get("space units", header.fields.get("units", ""))
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', text)]


def _number(word: str) -> float | None:
    try:
        return abs(float(word))
    except ValueError:
        return None


FORMAT = Format("NRRD", open_nrrd, family=".nii.gz")
