"""DICOM series: a folder with one file for each slice, read with the extra ``dicom`` (pydicom).

Slices are sorted by their position along the normal of the plane, not by name or number. Values are
those after rescale slope and intercept (Hounsfield units in CT). The volume is turned to the
canonical order (`unmask.io.orientation`); results are written as NIfTI that lies where it lies.

DICOM PS3.3, Image Plane Module (C.7.6.2): positions are in mm, left, back and head of the patient.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import Nifti1Header

from unmask.errors import DataError, told
from unmask.io.nifti import position_fields
from unmask.io.orientation import Turn, turn_of, turned_affine
from unmask.io.stored import Format, Index, Location, Stored, only_level
from unmask.lookup import optional_import

# Share of the usual distance of slices by which one distance may differ.
_EVEN = 0.05
# Directions of all slices, as cosines, agree up to this.
_PARALLEL = 1e-3
_TAGS = (
    *("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "RescaleSlope", "RescaleIntercept", "NumberOfFrames", "SamplesPerPixel"),
    *("BitsStored", "PixelRepresentation", "SliceThickness"),
)


@dataclass(frozen=True)
class _Slice:
    """One file and what its header says."""

    path: Path
    header: Any

    @property
    def name(self) -> str:
        return self.path.name

    def numbers(self, tag: str, count: int) -> np.ndarray:
        value = self.header.get(tag)
        if value is None or len(value) != count:
            raise DataError(
                told(
                    self.path,
                    expected=f"{tag}, {count} numbers",
                    found="none" if value is None else str(value),
                    do="Export the series again, or remove what is no slice of it.",
                )
            )
        return np.array([float(each) for each in value])

    @property
    def rescale(self) -> tuple[float, float]:
        header = self.header
        return float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files, by the first one that is not hidden."""
    try:
        files = (each for each in sorted(folder.iterdir()) if not each.name.startswith("."))
        first = next((each for each in files if each.name.upper() != "DICOMDIR"), None)
        return first is not None and first.is_file() and _is_dicom(first)
    except OSError:
        # No folder, or one that may not be read: whoever opens it says so.
        return False


def open_dicom(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the headers of all slices; pixels are read when they are asked for.

    Raises:
        DataError: several series, slices of unlike size or direction, one that is missing or there
            twice; names the files.
        MissingPackageError: pydicom is not installed.
    """
    del labels
    only_level(location, level)
    pydicom: Any = optional_import("pydicom", "dicom")
    slices = _alike(location.source, _headers(pydicom, location.path))
    slices, step = _sorted(location.source, slices)
    affine = _affine(slices, step)
    shape = (len(slices), int(slices[0].header.Rows), int(slices[0].header.Columns))
    dtype = _dtype(slices)
    still = Turn((0, 1, 2), (False,) * 3)
    turn = still if min(shape) == 1 else turn_of(affine, location.source)
    position = turned_affine(affine, turn, shape)

    def read(index: Index) -> np.ndarray:
        chosen = slices[index[0]]
        result = np.empty([part.stop - part.start for part in index], dtype)
        for number, one in enumerate(chosen):
            pixels = _pixels(pydicom, one, shape[1:])[index[1:]]
            slope, intercept = one.rescale
            result[number] = pixels * dtype.type(slope) + dtype.type(intercept)
        return result

    sizes = np.linalg.norm(position[:3, :3], axis=0)[::-1]
    return Stored(
        turn.shape(shape),
        dtype,
        "ZYX",
        turn.reader(read, shape),
        spacing=dict(zip("ZYX", map(float, sizes), strict=True)),
        unit="mm",
        meta={"nifti": _fields(affine), "turn": turn, "position": position},
    )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as handle:
        head = handle.read(132)
    return head[128:] == b"DICM"


def _headers(pydicom: Any, path: Path) -> list[_Slice]:
    shown = [
        file for file in sorted(path.iterdir()) if not file.name.startswith(".") and file.is_file()
    ]
    found = [file for file in shown if file.name.upper() != "DICOMDIR" and _is_dicom(file)]
    options = {"stop_before_pixels": True, "specific_tags": list(_TAGS)}
    return [_Slice(file, pydicom.dcmread(file, **options)) for file in found]


def _alike(source: str, slices: list[_Slice]) -> list[_Slice]:
    """Slices of one series, all of one size, direction and kind."""
    series = Counter(str(one.header.get("SeriesInstanceUID", "")) for one in slices)
    if len(series) > 1:
        raise DataError(
            told(
                source,
                expected="the slices of one series",
                found=f"{len(series)} series of {', '.join(map(str, series.values()))} files",
                do="Put every series into a folder of its own.",
            )
        )
    several = [one for one in slices if int(one.header.get("NumberOfFrames", 1) or 1) > 1]
    coloured = [one for one in slices if int(one.header.get("SamplesPerPixel", 1)) != 1]
    for strange, found in ((several, "several frames"), (coloured, "colours")):
        if strange:
            raise DataError(
                told(
                    strange[0].path,
                    expected="one grey slice a file",
                    found=found,
                    do="Convert the series to NIfTI.",
                )
            )
    kinds = Counter(map(_kind, slices))
    if len(kinds) > 1:
        usual = kinds.most_common(1)[0][0]
        others = [one.name for one in slices if _kind(one) != usual]
        raise DataError(
            told(
                source,
                expected=f"slices of one size, direction and pixel spacing, {usual}",
                found=f"others in {', '.join(others[:8])}",
                do="Remove them (localizers are a common case), or export the series again.",
            )
        )
    return slices


def _kind(one: _Slice) -> tuple[Any, ...]:
    direction = np.round(one.numbers("ImageOrientationPatient", 6) / _PARALLEL).astype(int) + 0
    pixel = np.round(one.numbers("PixelSpacing", 2), 4)
    size = int(one.header.Rows), int(one.header.Columns)
    return (*size, *pixel.tolist(), *(direction * _PARALLEL).round(3).tolist())


def _sorted(source: str, slices: list[_Slice]) -> tuple[list[_Slice], np.ndarray]:
    """Slices along the normal, and the step from one to the next."""
    normal = _normal(slices[0])
    places = [float(one.numbers("ImagePositionPatient", 3) @ normal) for one in slices]
    order = np.argsort(places, kind="stable")
    slices, heights = [slices[i] for i in order], np.array(places)[order]
    if len(slices) == 1:
        return slices, normal * float(slices[0].header.get("SliceThickness", None) or 1)
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    problems = []
    for gap, below, above in zip(gaps, slices[:-1], slices[1:], strict=True):
        if gap < _EVEN * max(usual, 1e-6):
            problems.append(f"{below.name} and {above.name} at one position")
        elif abs(gap - usual) > _EVEN * usual:
            problems.append(f"{gap:.3g} mm between {below.name} and {above.name}")
    if problems:
        raise DataError(
            told(
                source,
                expected=f"slices every {usual:.3g} mm",
                found="; ".join(problems[:8]),
                do="Copy missing files again and remove those that are there twice.",
            )
        )
    ends = [one.numbers("ImagePositionPatient", 3) for one in (slices[0], slices[-1])]
    return slices, (ends[1] - ends[0]) / (len(slices) - 1)


def _normal(one: _Slice) -> np.ndarray:
    along, down = one.numbers("ImageOrientationPatient", 6).reshape(2, 3)
    return np.cross(along, down)


def _affine(slices: list[_Slice], step: np.ndarray) -> np.ndarray:
    """From voxel (column, row, slice) to mm to the right, front and head."""
    first = slices[0]
    along, down = first.numbers("ImageOrientationPatient", 6).reshape(2, 3)
    # The first number is the distance of rows, the second that of columns.
    rows, columns = first.numbers("PixelSpacing", 2)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = along * columns, down * rows, step
    affine[:3, 3] = first.numbers("ImagePositionPatient", 3)
    # DICOM counts to the left and the back.
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _fields(affine: np.ndarray) -> dict[str, Any]:
    """What a NIfTI header of the same grid says."""
    header: Any = Nifti1Header()
    header.set_data_shape((1, 1, 1))
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    return position_fields(header)


def _dtype(slices: list[_Slice]) -> np.dtype[Any]:
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


def _pixels(pydicom: Any, one: _Slice, shape: tuple[int, ...]) -> np.ndarray:
    try:
        pixels = np.asarray(pydicom.dcmread(one.path).pixel_array)
    except Exception as error:
        # Decoders raise anything; the user needs the slice's name with it.
        raise DataError(
            told(
                one.path,
                expected="pixels that can be decoded",
                found=" ".join(str(error).split())[:300] or type(error).__name__,
                do="Copy the file again, or convert the series to NIfTI.",
            )
        ) from error
    if pixels.shape != shape:
        raise DataError(
            told(one.path, expected=f"{shape} pixels", found=f"{pixels.shape}", do="Copy it again.")
        )
    return pixels


def _save(location: Location, content: object) -> None:
    del content
    raise DataError(
        told(location.source, expected="another format to write", found="DICOM", do="Give .nii.gz.")
    )


# Folders are known by what is in them, so no suffix stands for this format.
FORMAT = Format("DICOM series", open_dicom, _save, family=".nii.gz", folder=True)
