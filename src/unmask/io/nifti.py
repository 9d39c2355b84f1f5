"""NIfTI-1 and -2 (.nii, .nii.gz), turned to the canonical order and back.

A volume with a known position is read as RAS+ (`unmask.io.orientation`) and written as its image
was stored, header fields of the position included. One of unknown position (both codes 0), of one
slice or of two axes keeps its order: stored x fastest, it is (z, y, x) in C order.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from math import prod
from typing import Any

import nibabel
import numpy as np

from unmask.atomic import atomic_path
from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.contract import (
    Content,
    Format,
    Index,
    Location,
    Stored,
    check_file,
    map_file,
    only_level,
    signature,
    spacing_in_order,
    unit_symbol,
)
from unmask.io.nifti_header import read_header, unpack
from unmask.io.orientation import Turn, turn_of, turned_affine

# NIfTI's fourth axis is time, its fifth holds vectors.
_AXES = "CTZYX"
# The units of length that the header knows.
_UNIT_NAMES = {"mm": "mm", "um": "micron", "m": "meter"}
# What a header says about the position, in both versions of the format.
_ROWS = ("srow_x", "srow_y", "srow_z")
_POSITION = (
    *("sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", *_ROWS),
)


def open_nifti(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header; ``scl_slope`` and ``scl_inter`` are applied.

    Scaled values are float32 for integers of 16 bits and fewer, otherwise float64.

    Raises:
        DataError: damaged header, colors, a singular affine, or another length than the header
            claims.
    """
    del labels
    only_level(location, level)
    mark = signature(location.path)
    packed = location.path.name.lower().endswith(".gz")
    header = read_header(location, mark.size, packed=packed)
    stored, shape, offset = header.stored, header.shape, header.offset
    slope, inter = header.slope, header.inter
    scaled = (slope, inter) != (1.0, 0.0)
    # float32 holds integers of 24 bits exactly.
    small = stored.itemsize <= (2 if stored.kind in "iu" else 4)
    dtype = np.dtype("f4" if small else "f8") if scaled else stored.newbyteorder("=")
    shelf, maps = recent.make_decoded_shelf(), recent.make_opened_shelf()

    def whole() -> np.ndarray:
        if packed:
            limits.check_memory(location.source, header.nbytes, what="decompressing")
            values = unpack(location, header)
            check_file(location, mark)
            return values.view(stored).reshape(shape)
        buffer = map_file(location, mark)
        return np.frombuffer(buffer, stored, prod(shape), offset).reshape(shape)

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
        full = all(part == slice(0, n) for part, n in zip(index, shape, strict=True))
        # What is read whole is kept by the caller, not twice.
        array = whole() if packed and full else (shelf if packed else maps).get_alone("all", whole)
        part = array[index]
        if scaled:
            return part.astype(dtype) * dtype.type(slope) + dtype.type(inter)
        return part.astype(dtype, copy=not (packed and full))

    fields = header.fields
    affine = fields.get_best_affine() if fields["sform_code"] or fields["qform_code"] else None
    turn, position = _place(affine, shape, location.source)
    return Stored(
        turn.shape(shape),
        dtype,
        _AXES[-len(shape) :],
        turn.reader(read, shape),
        spacing=_spacing(fields, position, turn),
        unit=unit_symbol(fields.get_xyzt_units()[0]),
        whole=packed,
        meta={"nifti": position_fields(fields), "turn": turn, "position": position},
    )


def _place(
    affine: np.ndarray | None, shape: tuple[int, ...], source: str
) -> tuple[Turn, np.ndarray | None]:
    """The turn to the canonical order, and the affine after it; None where it is unknown."""
    count = min(3, len(shape))
    still = Turn(tuple(range(count)), (False,) * count)
    # One slice may lie in any plane of the body; turned, it would be a line of an image.
    if affine is None or count < 3 or min(shape[-3:]) == 1:
        return still, affine
    turn = turn_of(affine, source)
    return turn, turned_affine(affine, turn, shape[-3:])


def _spacing(header: Any, position: np.ndarray | None, turn: Turn) -> dict[str, float]:
    """Voxel size by axis; empty where the file does not know it."""
    sizes = [float(size) for size in header.get_zooms()[: len(turn.order)]][::-1]
    sizes = [sizes[axis] for axis in turn.order] if len(sizes) == len(turn.order) else sizes
    if position is None:
        # There always is a voxel size; 1 of an unknown unit is what a missing one looks like.
        unknown = set(sizes) == {1.0} and unit_symbol(header.get_xyzt_units()[0]) is None
        return {} if unknown else dict(zip(_AXES[-len(sizes) :], sizes, strict=True))
    # Where the header contradicts itself, the affine is what other programs go by.
    steps = np.linalg.norm(position[:3, :3], axis=0)[: len(sizes)][::-1]
    if not np.allclose(sizes, steps, rtol=1e-3) and steps.all():
        sizes = [float(step) for step in steps]
    return dict(zip(_AXES[-len(sizes) :], sizes, strict=True))


def save_nifti(location: Location, content: Content) -> None:
    """Write a volume; order and position are those in ``content.meta`` where given."""
    array = content.array
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    if content.axes == "CYX":
        array = array[:, None, None]
    elif content.axes == "CZYX":
        # The fourth axis is time; channels are the fifth, so that no reader takes them for it.
        array = array[:, None]
    turn = _turn_back(content.axes, content.meta)
    array = array if turn is None else np.ascontiguousarray(turn.array(array))
    image = _described(array, content.axes, content.spacing, content.unit, content.meta)
    with atomic_path(location.path) as aside:
        nibabel.save(image, aside)


def copy_nifti(location: Location, stored: Stored) -> None:
    """Write a label volume line by line of its slowest axis."""
    if stored.axes == "TYX":
        stored = _with_slices(stored)
    turn = _turn_back(stored.axes, stored.meta)
    shape = stored.shape if turn is None else turn.shape(stored.shape)
    read = stored.read if turn is None else turn.reader(stored.read, stored.shape)
    # The header wants an array of the shape; one that repeats a single value takes no memory.
    empty = np.broadcast_to(np.zeros((), stored.dtype), shape)
    image = _described(empty, stored.axes, spacing_in_order(stored), stored.unit, stored.meta)
    header = image.header
    header.set_data_offset(header.single_vox_offset)
    packed = location.path.name.lower().endswith(".gz")
    rest = tuple(slice(0, n) for n in shape[1:])
    with atomic_path(location.path) as aside, aside.open("wb") as raw:
        # Without a time of writing the same labels give the same bytes.
        stream = gzip.GzipFile("", "wb", 1, raw, mtime=0) if packed else nullcontext(raw)
        with stream as handle:
            head = header.binaryblock
            handle.write(head + bytes(int(header["vox_offset"]) - len(head)))
            for line in range(shape[0]):
                handle.write(read((slice(line, line + 1), *rest)).tobytes())


def _with_slices(stored: Stored) -> Stored:
    """A movie of planes as the format wants it: time is its fourth axis, after z of length 1."""

    def read(index: Index) -> np.ndarray:
        return stored.read((index[0], *index[2:]))[:, None]

    first, *plane = stored.shape
    spacing = {"Z": 1.0, **stored.spacing} if stored.spacing else {}
    return replace(stored, shape=(first, 1, *plane), axes="TZYX", read=read, spacing=spacing)


def _described(
    array: np.ndarray,
    axes: str,
    spacing: tuple[float, ...] | None,
    unit: str | None,
    meta: Mapping[str, Any],
) -> Any:
    """The NIfTI image of an array in the file's order, with position and unit."""
    kind = nibabel.Nifti2Image if max(array.shape) > 32767 else nibabel.Nifti1Image
    header: Any = kind.header_class()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.T.shape)
    sizes = (spacing or (1.0,) * len(axes.strip("C")))[::-1]
    affine = np.diag([*sizes, *(1.0,) * (4 - len(sizes))])
    # A position that nobody has measured is not claimed.
    code = 0 if spacing is None else 1
    header.set_sform(affine, code=code)
    header.set_qform(affine, code=code)
    for name, value in meta.get("nifti", {}).items():
        header[name] = value
    header.set_xyzt_units(_UNIT_NAMES.get(unit or "", "unknown"))
    # Without an affine next to it the header stays as it is.
    return kind(array.T, None, header)


def _turn_back(axes: str, meta: Mapping[str, Any]) -> Turn | None:
    """From the canonical order to that of the file that the array belongs to."""
    turn = meta.get("turn")
    return turn.inverse if turn is not None and len(turn.order) == len(axes.strip("CT")) else None


def position_fields(header: Any) -> dict[str, Any]:
    """Fields of the position, to be written again as they are."""
    kept = {name: np.array(header[name]) for name in _POSITION}
    # Sizes of axes beyond space belong to this file alone.
    return kept | {"pixdim": np.where(np.arange(8) < 4, header["pixdim"], 1)}


FORMAT = Format("NIfTI", open_nifti, save_nifti, family=".nii", copy=copy_nifti)
PACKED_FORMAT = Format("NIfTI (gzip)", open_nifti, save_nifti, family=".nii.gz", copy=copy_nifti)
