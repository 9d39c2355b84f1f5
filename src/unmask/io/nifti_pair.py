"""Analyze 7.5 and NIfTI in two files: values in .img, the header in .hdr next to it.

Analyze does not say which side of the body is left, so its volumes keep the order of the file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.analyze import AnalyzeHeader
from nibabel.nifti1 import Nifti1PairHeader

from unmask.errors import DataError, message
from unmask.io.contract import Format, Index, Location, Stored, only_level, signature, unit_symbol
from unmask.io.flat import Flat, flat_reader, truncated
from unmask.io.placed import placed_volume

_HEADER = 348
_AXES = "TZYX"


def open_pair(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header; ``scl_slope`` and ``scl_inter`` of NIfTI are applied.

    Raises:
        DataError: one of the two files is missing or damaged, or the values have another length
            than the header claims.
    """
    del labels
    only_level(location, level)
    head, values = (_other(location, suffix) for suffix in (".hdr", ".img"))
    mark = signature(values.path)
    with head.path.open("rb") as handle:
        block = handle.read(_HEADER)
    fields, nifti = _fields(head, block)
    stored = fields.get_data_dtype()
    shape = tuple(int(size) for size in fields.get_data_shape())[::-1]
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    if stored.fields or not 2 <= len(shape) <= len(_AXES) or min(shape) < 1:
        raise _damaged(head, "2 to 4 axes of gray values", f"shape {shape[::-1]} of {stored}")
    if int(fields["bitpix"]) != stored.itemsize * 8:
        raise _damaged(head, f"{stored.itemsize * 8} bits for {stored}", f"{fields['bitpix']}")
    offset = float(fields["vox_offset"])
    if not 0 <= offset <= mark.size:
        raise _damaged(head, "values inside their file", f"an offset of {offset}")
    plain = flat_reader(Flat(values, mark, shape, stored, int(offset)))
    slope, inter = fields.get_slope_inter() if nifti else (None, None)
    dtype, read = _scaled(stored, plain, slope, inter)
    axes = _AXES[-len(shape) :]
    if nifti and len(shape) > 2 and (fields["sform_code"] or fields["qform_code"]):
        affine, lead = fields.get_best_affine(), axes.removesuffix("ZYX")
        return placed_volume(location.source, shape, dtype, read, affine, lead=lead)
    sizes = [abs(float(size)) for size in fields.get_zooms()][: len(shape)]
    known = all(np.isfinite(size) and size > 0 for size in sizes) and set(sizes) != {1.0}
    spacing = dict(zip(reversed(axes), sizes, strict=True)) if known else {}
    unit = unit_symbol(fields.get_xyzt_units()[0]) if nifti else "mm"
    notes = () if nifti else (
        f"{location.source}: Analyze does not state which side is left; the order of the file is "
        "kept.",
    )  # fmt: skip
    return Stored(shape, dtype, axes, read, spacing, unit if known else None, meta={"notes": notes})


def _other(location: Location, suffix: str) -> Location:
    """One of the two files; the names differ in their suffix only, whatever its case."""
    path = location.path
    if path.suffix.lower() == suffix:
        return location
    for name in (suffix, suffix.upper()):
        other = path.with_suffix(name)
        if other.is_file():
            return Location(str(other), other)
    raise DataError(
        message(
            location.source,
            expected=f"{Path(path.stem + suffix)} next to it",
            found="none",
            do="Copy both files, .hdr and .img, into one folder.",
        )
    )


def _fields(head: Location, block: bytes) -> tuple[Any, bool]:
    """The header, and whether it is NIfTI."""
    if len(block) < _HEADER:
        raise truncated(head, _HEADER, len(block))
    sizes = {struct.unpack(order + "i", block[:4])[0] for order in "<>"}
    if _HEADER not in sizes:
        raise _damaged(head, "an Analyze or NIfTI header", f"a file that starts {block[:12]!r}")
    if block[344:347] == b"n+1":
        raise _damaged(head, "a header whose values are in another file", "NIfTI in one file")
    nifti = block[344:347] == b"ni1"
    kind: Any = Nifti1PairHeader if nifti else AnalyzeHeader
    return kind(block, check=False), nifti


def _scaled(
    stored: np.dtype[Any], read: Any, slope: float | None, inter: float | None
) -> tuple[np.dtype[Any], Any]:
    factor, shift = 1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter)
    if (factor, shift) == (1.0, 0.0):
        return stored.newbyteorder("="), read
    # float32 holds integers of 24 bits exactly.
    small = stored.itemsize <= (2 if stored.kind in "iu" else 4)
    dtype = np.dtype("f4" if small else "f8")

    def scaled(index: Index) -> np.ndarray:
        return read(index).astype(dtype) * dtype.type(factor) + dtype.type(shift)

    return dtype, scaled


def _damaged(head: Location, expected: str, found: str) -> DataError:
    return DataError(
        message(head.source, expected=expected, found=found, do="Copy or export the files again.")
    )


FORMAT = Format("Analyze or NIfTI pair", open_pair, family=".nii.gz")
