"""DICOM segmentations (SEG) and contours (RTSTRUCT) as label volumes.

They lie on the grid of the series that they were drawn on, if a folder next to the file holds it.
A label is the number of its segment or region of interest. Where several overlap, the highest
number counts.
"""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import limits
from unmask.io.contract import Index, Location, Stored, check_file, file_error, signature
from unmask.io.dicom_files import Slice, is_dicom, read_dataset, read_header
from unmask.io.dicom_frames import Frames, find_grid, frame_reader, read_frames
from unmask.io.dicom_series import axes_of, is_multiple, sort_slices, visible_files
from unmask.io.placed import LPS_TO_RAS, make_affine, placed_volume

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
CONTOURS = "1.2.840.10008.5.1.4.1.1.481.3"
_LABELMAP = SEGMENTATIONS[1]
_MOST_FOLDERS = 200
_LARGEST = 65535
# A contour belongs to a slice that is at most this share of a slice away.
_NEAR = 0.25
# Filling tests every voxel of a contour's box against every corner: half a minute per slice.
_MOST_TESTS = 10**10


def class_of(pydicom: Any, path: Path) -> str:
    """What a file is, as a number of the standard; "" if it does not say."""
    header = read_dataset(pydicom, path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")


def open_segmentation(pydicom: Any, location: Location, one: Slice) -> Stored:
    """A SEG file.

    Raises:
        DataError: damaged, or frames that are not on the grid of their series.
    """
    frames = read_frames(pydicom, one)
    grid = find_grid(frames)
    if grid is None:
        raise one.refused("positions of the frames", "none")
    header = frames.header
    labelmap = str(header.get("SOPClassUID")) == _LABELMAP
    numbers = [1] * frames.count if labelmap else [_segment(frames, n) for n in range(frames.count)]
    notes = []
    several = len({*numbers}) > 1 and str(header.get("SegmentsOverlap", "UNDEFINED")) != "NO"
    if several:
        notes.append(f"{location.source}: where segments overlap, the highest number counts.")
    level = _half(header)
    if level > 0:
        notes.append(f"{location.source}: fractions from one half on count as the segment.")
    affine, slices, places = grid.affine, grid.slices, grid.place
    series = _series_of(pydicom, location, header)
    if series is None:
        notes.append(
            f"{location.source}: its series is not in a folder next to it; slices in front of the "
            "first segment and behind the last one are missing."
        )
    else:
        affine, slices = _grid_of(series)
        places = _on_grid(one, grid.affine, grid.place, affine, slices)
    decode = frame_reader(pydicom, location, frames)
    at: list[list[int]] = [[] for _ in range(slices)]
    for number in sorted(range(frames.count), key=lambda n: numbers[n]):
        at[places[number]].append(number)

    def read(index: Index) -> np.ndarray:
        out = np.zeros([part.stop - part.start for part in index], np.uint16)
        for row, place in enumerate(range(index[0].start, index[0].stop)):
            for number in at[place]:
                values = decode(number)[index[1:]]
                if labelmap:
                    out[row] = values
                else:
                    out[row][values > level] = numbers[number]
        return out

    shape = (slices, *one.shape)
    return placed_volume(
        location.source, shape, np.dtype(np.uint16), read, affine, meta={"notes": tuple(notes)}
    )


def open_contours(pydicom: Any, location: Location) -> Stored:
    """An RTSTRUCT file: the inside of its contours, on the grid of its series.

    Raises:
        DataError: damaged, no series in a folder next to it, or contours between its slices.
    """
    mark = signature(location.path)
    header = read_dataset(pydicom, location.path)
    series = _series_of(pydicom, location, header)
    if series is None:
        raise DataError(
            message(
                location.source,
                expected="the series that its contours were drawn on, in a folder next to it",
                found="none",
                do="Copy the folder of the series next to the file.",
            )
        )
    affine, slices = _grid_of(series)
    shape = (slices, *series[0][0].shape)
    contours = _contours(location, header, np.linalg.inv(affine), slices)
    _check_effort(location, contours, shape[1:])

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
        out = np.zeros([part.stop - part.start for part in index], np.uint16)
        for row, place in enumerate(range(index[0].start, index[0].stop)):
            out[row] = _fill(contours.get(place, []), shape[1:])[index[1:]]
        return out

    limits.check_memory(location.source, shape[1] * shape[2] * 8, what="one slice")
    return placed_volume(location.source, shape, np.dtype(np.uint16), read, affine)


def _fill(contours: list[tuple[int, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """One slice; a contour inside another one of the same region is a hole."""
    # scikit-image takes 0.3 s to import.
    from skimage.draw import polygon2mask

    out = np.zeros(shape, np.uint16)
    for number in sorted({number for number, _ in contours}):
        inside = np.zeros(shape, bool)
        for other, points in contours:
            if other == number:
                inside ^= polygon2mask(shape, points)
        out[inside] = number
    return out


def _contours(
    location: Location, header: Any, inverse: np.ndarray, slices: int
) -> dict[int, list[tuple[int, np.ndarray]]]:
    """Region and corners (row, column) of the contours of every slice."""
    found: dict[int, list[tuple[int, np.ndarray]]] = {}
    for region in header.get("ROIContourSequence") or []:
        number = int(region.get("ReferencedROINumber") or 0)
        if not 1 <= number <= _LARGEST:
            raise _refused(location, f"numbers of regions from 1 to {_LARGEST}", f"{number}")
        for contour in region.get("ContourSequence") or []:
            if str(contour.get("ContourGeometricType")) not in (
                "CLOSED_PLANAR",
                "CLOSEDPLANAR_XOR",
            ):
                continue
            points = np.array([float(value) for value in contour.get("ContourData") or []])
            if points.size < 9 or points.size % 3 or not np.isfinite(points).all():
                raise _refused(location, "contours of three points or more", f"{points.size}")
            world = np.pad(points.reshape(-1, 3), ((0, 0), (0, 1)), constant_values=1)
            voxels = (world @ LPS_TO_RAS.T @ inverse.T)[:, :3]
            place = float(np.median(voxels[:, 2]))
            if np.abs(voxels[:, 2] - round(place)).max() > _NEAR or not -1 < place < slices:
                raise _refused(
                    location, "contours on the slices of their series", f"one at slice {place:.2f}"
                )
            found.setdefault(round(place), []).append((number, voxels[:, 1::-1]))
    if not found:
        raise _refused(location, "closed contours", "none")
    return found


def _check_effort(
    location: Location,
    contours: dict[int, list[tuple[int, np.ndarray]]],
    shape: tuple[int, ...],
) -> None:
    """Refuse contours that take minutes to fill, such as one of a million corners."""
    for place, drawn in contours.items():
        tests = 0
        for _, points in drawn:
            low, high = points.min(0).clip(0, shape), points.max(0).clip(0, shape)
            tests += len(points) * prod((high - low + 1).tolist())
        if tests > _MOST_TESTS:
            corners = sum(len(points) for _, points in drawn)
            raise file_error(
                location,
                f"contours that can be filled in {_MOST_TESTS:.0e} tests of voxels per slice",
                f"{corners} corners on slice {place}",
                do="Simplify the contours where they were drawn, or export a segmentation (SEG).",
            )


def _segment(frames: Frames, number: int) -> int:
    value = frames.find(number, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
    if value is None or not 1 <= int(value) <= _LARGEST:
        raise frames.one.refused("the segment of every frame", f"{value}")
    return int(value)


def _half(header: Any) -> float:
    """The value above which a voxel belongs to a segment."""
    if str(header.get("SegmentationType", "BINARY")) != "FRACTIONAL":
        return 0.0
    return (float(header.get("MaximumFractionalValue") or 255) - 1) / 2


def _series_of(
    pydicom: Any, location: Location, header: Any
) -> tuple[list[Slice], np.ndarray] | None:
    """The slices of the series that a file refers to, from a folder next to it."""
    wanted = {str(uid) for uid in _references(header)}
    here = location.path.absolute().parent
    folders = [here, *sorted(entry for entry in here.iterdir() if entry.is_dir())]
    folders += sorted(entry for entry in here.parent.iterdir() if entry.is_dir() and entry != here)
    for folder in folders[:_MOST_FOLDERS]:
        slices, failed = [], []
        for file in visible_files(folder):
            if file == location.path.absolute() or not is_dicom(file):
                continue
            try:
                one = read_header(pydicom, file)
            except DataError as error:
                failed.append((file, error))
                continue
            if str(one.header.get("SeriesInstanceUID")) not in wanted:
                break
            if one.placed and not is_multiple(one):
                slices.append(one)
        for file, error in failed if slices else ():
            # Without this slice the labels would have another size.
            if _may_belong(pydicom, file, wanted):
                raise error
        if slices:
            return sort_slices(str(folder), slices)
    return None


def _may_belong(pydicom: Any, file: Path, wanted: set[str]) -> bool:
    """Whether a file that is not a readable slice is of a series, or too damaged to tell."""
    options = {"stop_before_pixels": True, "specific_tags": ["SeriesInstanceUID"]}
    try:
        return str(read_dataset(pydicom, file, **options).get("SeriesInstanceUID")) in wanted
    except DataError:
        return True


def _references(header: Any) -> list[Any]:
    """Series that a file refers to."""
    found = [item.get("SeriesInstanceUID") for item in header.get("ReferencedSeriesSequence") or []]
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            found += [
                item.get("SeriesInstanceUID")
                for item in study.get("RTReferencedSeriesSequence") or []
            ]
    return [uid for uid in found if uid]


def _grid_of(series: tuple[list[Slice], np.ndarray]) -> tuple[np.ndarray, int]:
    """Affine of a series, and its number of slices."""
    slices, step = series
    along, down, _ = axes_of(slices[0])
    rows, columns = slices[0].numbers("PixelSpacing", 2)
    directions = np.array([along * columns, down * rows, step])
    first = slices[0].numbers("ImagePositionPatient", 3)
    return LPS_TO_RAS @ make_affine(directions, first), len(slices)


def _on_grid(
    one: Slice, own: np.ndarray, places: tuple[int, ...], affine: np.ndarray, slices: int
) -> tuple[int, ...]:
    """Slices of the series that the frames of a segmentation lie on."""
    moved = np.linalg.inv(affine) @ own
    found = [moved[:, 2] * place + moved[:, 3] for place in places]
    numbers = [round(float(place[2])) for place in found]
    away = max(
        float(np.abs(place[:3] - (0, 0, n)).max()) for place, n in zip(found, numbers, strict=True)
    )
    turned = float(np.abs(moved[:3, :2] - np.eye(3)[:, :2]).max())
    if away > _NEAR or turned > _NEAR or not all(0 <= n < slices for n in numbers):
        raise one.refused("frames on the slices of its series", f"others, {away:.2f} voxels away")
    return tuple(numbers)


_refused = partial(file_error, do="Export the file again.")
