"""DICOM, read with the extra ``dicom`` (pydicom): a folder of slices is a volume, a file an image.

Slices are sorted by their position along the normal of the plane, not by name or number. Values are
those after rescale slope and intercept (Hounsfield units in CT). The volume is turned to the
canonical order (`unmask.io.orientation`); results are NIfTI files at the same position. A single
slice is an image of two axes, or a volume of one slice; a radiograph, which has no position, is an
image of two axes.

DICOM PS3.3, Image Plane Module (C.7.6.2): positions are in mm, left, back and head of the patient.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Format, Index, Location, Stored, only_level
from unmask.io.dicom_files import Slice, is_dicom, read_header, read_pixels
from unmask.io.dicom_frames import open_frames
from unmask.io.dicom_labels import (
    CONTOURS,
    SEGMENTATIONS,
    class_of,
    open_contours,
    open_segmentation,
)
from unmask.io.dicom_series import axes_of, is_multiple, read_series, sort_slices
from unmask.io.orientation import Turn, turn_of, turned_affine
from unmask.io.placed import nifti_fields
from unmask.lookup import optional_import

# Pixel sizes, the first that is there: in the body, at the detector.
_PIXEL_SIZES = ("PixelSpacing", "ImagerPixelSpacing")


def open_dicom(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the headers of all slices; pixels are read when they are asked for.

    Raises:
        DataError: damaged slices, several series or volumes, slices of unlike size or direction,
            one that is missing or there twice, or a tilted stack; names the files.
        MissingPackageError: pydicom is not installed.
    """
    del labels
    only_level(location, level)
    pydicom: Any = optional_import("pydicom", "dicom")
    slices, notes = read_series(pydicom, location.path, location.source)
    slices, step = sort_slices(location.source, slices)
    stored = _volume(pydicom, location, slices, step, notes)
    # A segmentation of the series refers to its slices.
    return replace(stored, meta={**stored.meta, "dicom": str(location.path)})


def open_slice(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header of one file.

    Raises:
        DataError: a damaged file, or frames that are no volume.
        MissingPackageError: pydicom is not installed.
    """
    del labels
    only_level(location, level)
    pydicom: Any = optional_import("pydicom", "dicom")
    if not is_dicom(location.path):
        raise DataError(
            message(
                location.source,
                expected="a DICOM file",
                found="another format, or a damaged header",
                do="Copy the file again, or give it the suffix of its format.",
            )
        )
    kind = class_of(pydicom, location.path)
    if kind == CONTOURS:
        return open_contours(pydicom, location)
    one = read_header(pydicom, location.path)
    if kind in SEGMENTATIONS:
        return open_segmentation(pydicom, location, one)
    if is_multiple(one):
        return open_frames(pydicom, location, one)
    if one.placed:
        stored = _volume(pydicom, location, *sort_slices(location.source, [one]), [])
        return Stored(
            stored.shape, stored.dtype, "zYX", stored.read, stored.spacing, "mm", meta=stored.meta
        )
    dtype = _dtype([one])

    def read(index: Index) -> np.ndarray:
        return _values(pydicom, one, dtype)[index]

    sizes = next((t for t in _PIXEL_SIZES if one.header.get(t) is not None), None)
    spacing = {} if sizes is None else dict(zip("YX", one.numbers(sizes, 2), strict=True))
    notes = ["bright means low (MONOCHROME1); values are as stored"] if _inverted(one) else []
    return Stored(
        one.shape,
        dtype,
        "YX",
        read,
        spacing={a: float(size) for a, size in spacing.items()},
        unit="mm" if spacing else None,
        whole=True,
        meta={"notes": tuple(f"{location.source}: {note}." for note in notes)},
    )


def _inverted(one: Slice) -> bool:
    return str(one.header.get("PhotometricInterpretation")) == "MONOCHROME1"


def _volume(
    pydicom: Any, location: Location, slices: list[Slice], step: np.ndarray, notes: list[str]
) -> Stored:
    affine = _affine(slices[0], step)
    shape = (len(slices), *slices[0].shape)
    dtype = _dtype(slices)
    still = Turn((0, 1, 2), (False,) * 3)
    turn = still if min(shape) == 1 else turn_of(affine, location.source)
    position = turned_affine(affine, turn, shape)

    def read(index: Index) -> np.ndarray:
        result = np.empty([part.stop - part.start for part in index], dtype)
        for number, one in enumerate(slices[index[0]]):
            result[number] = _values(pydicom, one, dtype)[index[1:]]
        return result

    sizes = np.linalg.norm(position[:3, :3], axis=0)[::-1]
    return Stored(
        turn.shape(shape),
        dtype,
        "ZYX",
        turn.reader(read, shape),
        spacing=dict(zip("ZYX", map(float, sizes), strict=True)),
        unit="mm",
        meta={
            "nifti": nifti_fields(affine),
            "turn": turn,
            "position": position,
            "notes": tuple(notes),
        },
    )


def _values(pydicom: Any, one: Slice, dtype: np.dtype[Any]) -> np.ndarray:
    slope, intercept = one.rescale
    return read_pixels(pydicom, one) * dtype.type(slope) + dtype.type(intercept)


def _affine(first: Slice, step: np.ndarray) -> np.ndarray:
    """From voxel (column, row, slice) to mm to the right, front and head."""
    along, down, _ = axes_of(first)
    # The first number is the distance of rows, the second that of columns.
    rows, columns = first.numbers("PixelSpacing", 2)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = along * columns, down * rows, step
    affine[:3, 3] = first.numbers("ImagePositionPatient", 3)
    # DICOM counts to the left and the back.
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _dtype(slices: list[Slice]) -> np.dtype[Any]:
    """int16 where all rescaled values fit and are whole, else int32 or float32."""
    pairs = {one.rescale for one in slices}
    if any(not value.is_integer() for pair in pairs for value in pair):
        return np.dtype(np.float32)
    ends = []
    for one in slices:
        bits, signed = int(one.header.BitsStored), int(one.header.PixelRepresentation)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        slope, intercept = one.rescale
        ends += [low * slope + intercept, high * slope + intercept]
    info = np.iinfo(np.int16)
    return np.dtype(np.int16 if info.min <= min(ends) and max(ends) <= info.max else np.int32)


# A folder is known by its content, so no suffix stands for the series.
FORMAT = Format("DICOM series", open_dicom, family=".nii.gz", folder=True)
FILE_FORMAT = Format("DICOM", open_slice, family=".nii.gz")
