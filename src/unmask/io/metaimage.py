"""MetaImage (.mha, .mhd) of ITK: LUNA16 and other medical sets; raw values by box.

SimpleITK reads the format, but only whole and in 90 MB of code; the header is a dozen lines of
text. The format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Format, Location, Stored, only_level, signature
from unmask.io.flat import Flat, flat_reader, sibling
from unmask.io.placed import LPS_TO_RAS, make_affine, placed_volume
from unmask.wording import format_count

_MOST_HEADER = 1 << 16
_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_AXES = "TZYX"


def open_metaimage(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header; positions are in mm.

    Raises:
        DataError: damaged, text values, several data files, one in another folder, or another
            length than the header claims.
    """
    del labels
    only_level(location, level)
    fields, end = _header(location)
    count = int(_numbers(location, fields, "NDims", 1)[0])
    if not 2 <= count <= len(_AXES):
        raise _refused(location, "2 to 4 axes", f"NDims = {count}")
    sizes = _numbers(location, fields, "DimSize", count)
    if any(size < 1 or not size.is_integer() for size in sizes):
        raise _refused(location, "sizes of at least 1", fields.get("DimSize", ""))
    channels = int(_numbers(location, fields, "ElementNumberOfChannels", 1, [1.0])[0])
    if not 1 <= channels <= 1 << 16:
        raise _refused(location, "at least one channel", f"{channels}")
    space = tuple(int(size) for size in sizes)[::-1]
    flat = _flat(location, fields, end, (*space, channels))
    read = flat_reader(flat, lambda array: np.moveaxis(array, -1, 0))
    shape, dtype, packed = (channels, *space), flat.stored.newbyteorder("="), bool(flat.packing)
    axes = _AXES[-count:]
    steps = _steps(location, fields, count)
    if count == 2 or steps is None:
        known = {} if steps is None else {
            letter: float(np.linalg.norm(step))
            for letter, step in zip(reversed(axes), steps, strict=True) if letter != "T"
        }  # fmt: skip
        return Stored(shape, dtype, f"c{axes}" if channels == 1 else f"C{axes}", read, known,
                      "mm" if known else None, packed)  # fmt: skip
    names = ("Offset", "Position", "Origin")
    name = next((name for name in names if name in fields), "Offset")
    origin = _numbers(location, fields, name, count, [0.0] * count)[:3]
    affine = LPS_TO_RAS @ make_affine(steps[:3, :3], np.array(origin))
    lead = ("c" if channels == 1 else "C") + axes.removesuffix("ZYX")
    return placed_volume(location.source, shape, dtype, read, affine, lead=lead, whole=packed)


def _header(location: Location) -> tuple[dict[str, str], int]:
    """Fields, and the first byte after the line that names the values."""
    with location.path.open("rb") as handle:
        start = handle.read(_MOST_HEADER)
    last = re.search(rb"^[ \t]*ElementDataFile[ \t]*=[^\n]*(\n|\Z)", start, re.MULTILINE)
    if last is None or b"=" not in start[:200]:
        raise DataError(
            message(
                location.source,
                expected="a MetaImage, whose header ends with ElementDataFile",
                found=f"a file that starts {start[:12]!r}",
                do="Copy it again, or give it the suffix of its format.",
            )
        )
    fields: dict[str, str] = {}
    for line in start[: last.end()].decode("latin-1").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            fields.setdefault(name.strip(), value.strip())
    return fields, last.end()


def _flat(location: Location, fields: Mapping[str, str], end: int, shape: tuple[int, ...]) -> Flat:
    kind = fields.get("ElementType", "").removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise _refused(location, f"one of {', '.join(_TYPES)}", f"ElementType = {kind}")
    if not _is_true(fields, "BinaryData", default=True):
        raise _refused(location, "binary values", "values as text")
    big = any(_is_true(fields, name) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    stored = np.dtype(_TYPES[kind]).newbyteorder(">" if big else "<")
    name = fields["ElementDataFile"]
    if name.upper().startswith("LIST") or "%" in name:
        raise _refused(location, "one data file", f"several ({name})")
    place, offset = (location, end) if name.upper() == "LOCAL" else (sibling(location, name), 0)
    mark = signature(place.path)
    if _is_true(fields, "CompressedData"):
        return Flat(place, mark, shape, stored, offset, "zlib")
    skip = int(_numbers(location, fields, "HeaderSize", 1, [0.0])[0])
    length = int(np.prod(shape, dtype=object)) * stored.itemsize
    # -1 means that the values end with the file.
    offset = mark.size - length if skip == -1 else offset + max(skip, 0)
    if offset < 0:
        raise _refused(location, f"{length} bytes of values", f"{mark.size} (truncated)")
    return Flat(place, mark, shape, stored, offset)


def _steps(location: Location, fields: Mapping[str, str], count: int) -> np.ndarray | None:
    """The step along each axis, the fast axis first; None if the voxel size is not stated."""
    name = next((name for name in ("ElementSpacing", "ElementSize") if name in fields), None)
    if name is None:
        return None
    sizes = _numbers(location, fields, name, count)
    if min(sizes) <= 0:
        raise _refused(location, "voxel sizes above 0", fields[name])
    names = ("TransformMatrix", "Rotation", "Orientation")
    turn = next((name for name in names if name in fields), "TransformMatrix")
    matrix = _numbers(location, fields, turn, count**2, np.eye(count).ravel().tolist())
    return np.array(matrix).reshape(count, count) * np.array(sizes)[:, None]


def _numbers(
    location: Location,
    fields: Mapping[str, str],
    name: str,
    count: int,
    default: list[float] | None = None,
) -> list[float]:
    text = fields.get(name)
    if text is None and default is not None:
        return default
    try:
        numbers = [float(word) for word in (text or "").split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all() or max(map(abs, numbers)) > 1e15:
        raise _refused(location, f"{format_count(count, 'number')} after {name} =", text or "none")
    return numbers


def _is_true(fields: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    return fields[name].lower() in ("true", "t", "1") if name in fields else default


def _refused(location: Location, expected: str, found: str) -> DataError:
    return DataError(
        message(
            location.source,
            expected=expected,
            found=found[:200],
            do="Export it again, in one file (.mha).",
        )
    )


FORMAT = Format("MetaImage", open_metaimage, family=".nii.gz")
