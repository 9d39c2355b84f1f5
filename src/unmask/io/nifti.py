"""NIfTI-1 and -2 (.nii, .nii.gz): stored x fastest, so the array read in C order is (z, y, x)."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from contextlib import nullcontext
from math import prod
from typing import Any

import nibabel
import numpy as np

from unmask.atomic import atomic_path
from unmask.errors import DataError, told
from unmask.io import limits, recent
from unmask.io.stored import (
    Content,
    Format,
    Index,
    Location,
    Stored,
    map_file,
    only_level,
    signature,
    spacing_in_order,
    unit_symbol,
)

# NIfTI's fourth axis is time, its fifth holds vectors.
_AXES = "CTZYX"
# The units of length that the header knows.
_UNIT_NAMES = {"mm": "mm", "um": "micron", "m": "meter"}


def open_nifti(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header; ``scl_slope`` and ``scl_inter`` are applied.

    Scaled values are float32 for integers of 16 bits and fewer, otherwise float64.

    Raises:
        DataError: damaged header, colours, or fewer bytes than the header claims.
    """
    del labels
    only_level(location, level)
    mark = signature(location.path)
    proxy: Any = nibabel.load(location.path)
    header = proxy.header
    stored, shape = header.get_data_dtype(), tuple(int(n) for n in header.get_data_shape())[::-1]
    offset, slope, inter = int(proxy.dataobj.offset), proxy.dataobj.slope, proxy.dataobj.inter
    if stored.fields:
        raise DataError(
            told(
                location.source,
                expected="grey values",
                found="RGB values",
                do="Save the channels as a fourth axis.",
            )
        )
    packed = location.path.name.lower().endswith(".gz")
    nbytes = prod(shape) * stored.itemsize
    _check_size(location, offset + nbytes, mark[0], packed=packed)
    scaled = (float(slope), float(inter)) != (1.0, 0.0)
    # float32 holds integers of 24 bits exactly.
    small = stored.itemsize <= (2 if stored.kind in "iu" else 4)
    dtype = np.dtype("f4" if small else "f8") if scaled else stored.newbyteorder("=")
    shelf, maps = recent.decoded(), recent.opened()

    def whole() -> np.ndarray:
        if packed:
            limits.check_memory(location.source, nbytes, what="decompressing")
            return _unpack(location, offset, nbytes).view(stored).reshape(shape)
        buffer = map_file(location, mark)
        return np.frombuffer(buffer, stored, prod(shape), offset).reshape(shape)

    def read(index: Index) -> np.ndarray:
        full = all(part == slice(0, n) for part, n in zip(index, shape, strict=True))
        # What is read whole is kept by whoever asked, not twice.
        array = whole() if packed and full else (shelf if packed else maps).get_alone("all", whole)
        part = array[index]
        if scaled:
            return part.astype(dtype) * dtype.type(slope) + dtype.type(inter)
        return part.astype(dtype, copy=not (packed and full))

    zooms = dict(zip("XYZ", (float(z) for z in header.get_zooms()[:3]), strict=False))
    unit = unit_symbol(header.get_xyzt_units()[0])
    if unit is None and set(zooms.values()) == {1.0}:
        # NIfTI always has a voxel size; 1 of an unknown unit is what a missing one looks like.
        zooms = {}
    return Stored(
        shape,
        dtype,
        _AXES[-len(shape) :],
        read,
        spacing=zooms,
        unit=unit,
        whole=packed,
        meta={"affine": np.array(proxy.affine), "nifti": _codes(header)},
    )


def save_nifti(location: Location, content: Content) -> None:
    """Write a volume; the affine and its codes are those in ``content.meta`` where given."""
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
    image = _described(array, content.axes, content.spacing, content.unit, content.meta)
    with atomic_path(location.path) as aside:
        nibabel.save(image, aside)


def copy_nifti(location: Location, stored: Stored) -> None:
    """Write a label volume line by line of its slowest axis."""
    # The header wants an array of the shape; one that repeats a single value takes no memory.
    empty = np.broadcast_to(np.zeros((), stored.dtype), stored.shape)
    image = _described(empty, stored.axes, spacing_in_order(stored), stored.unit, stored.meta)
    header = image.header
    header.set_data_offset(header.single_vox_offset)
    packed = location.path.name.lower().endswith(".gz")
    rest = tuple(slice(0, n) for n in stored.shape[1:])
    with atomic_path(location.path) as aside, aside.open("wb") as raw:
        # Without a time of writing the same labels give the same bytes.
        stream = gzip.GzipFile("", "wb", 1, raw, mtime=0) if packed else nullcontext(raw)
        with stream as handle:
            head = header.binaryblock
            handle.write(head + bytes(int(header["vox_offset"]) - len(head)))
            for line in range(stored.shape[0]):
                handle.write(stored.read((slice(line, line + 1), *rest)).tobytes())


def _described(
    array: np.ndarray,
    axes: str,
    spacing: tuple[float, ...] | None,
    unit: str | None,
    meta: Mapping[str, Any],
) -> Any:
    """The NIfTI image of an array in stored order, with affine and unit."""
    kind = nibabel.Nifti2Image if max(array.shape) > 32767 else nibabel.Nifti1Image
    affine = meta.get("affine")
    if affine is None:
        affine = np.diag([*(spacing or (1.0,) * len(axes.strip("C")))[::-1]])
        affine = np.pad(affine, (0, 4 - len(affine)))
        affine[2:, 2:] = np.where(np.diag(affine)[2:] == 0, np.eye(2), affine[2:, 2:])
    image: Any = kind(array.T, affine, dtype=array.dtype)
    codes = meta.get("nifti", {})
    image.set_sform(affine, code=codes.get("sform", 1))
    image.set_qform(affine, code=codes.get("qform", 1))
    image.header.set_xyzt_units(_UNIT_NAMES.get(unit or "", "unknown"))
    return image


def _check_size(location: Location, needed: int, size: int, *, packed: bool) -> None:
    if packed:
        limits.check_claim(
            location.source,
            needed,
            size,
            ratio=limits.WHOLE_RATIO,
            harmless=limits.WHOLE_HARMLESS,
        )
    elif needed > size:
        raise DataError(
            told(
                location.source,
                expected=f"{needed} bytes, as its header says",
                found=f"{size} bytes (truncated)",
                do="Copy the file again.",
            )
        )


def _unpack(location: Location, offset: int, nbytes: int) -> np.ndarray:
    """The data part of a gzip file; reading to the end checks its checksum."""
    values = np.empty(nbytes, np.uint8)
    with gzip.open(location.path) as handle:
        handle.seek(offset)
        filled = 0
        view = memoryview(values.data)
        while filled < nbytes:
            count = handle.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                raise EOFError(f"{filled} of {nbytes} bytes are there (truncated)")
            filled += count
        handle.read(1)
    return values


def _codes(header: Any) -> dict[str, int]:
    return {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}


FORMAT = Format("NIfTI", open_nifti, save_nifti, family=".nii", copy=copy_nifti)
PACKED_FORMAT = Format("NIfTI (gzip)", open_nifti, save_nifti, family=".nii.gz", copy=copy_nifti)
