"""The slices of a DICOM series: all of one kind, sorted, evenly spaced.

What is damaged or does not belong is named; nothing that is named like a slice is left out in
silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io.dicom_files import Slice, has_slice_name, is_dicom, read_header

# Share of the usual distance of slices by which one distance may differ.
_EVEN = 0.05
# Directions of all slices, as cosines, agree up to this, and are at right angles up to this.
_PARALLEL = 1e-3
# Slices at one position, in mm.
_SAME = 1e-2
# Slices may be shifted against each other by this share of a pixel: headers are rounded.
_MOST_SHIFT = 0.5


def visible_files(folder: Path) -> Iterator[Path]:
    """Files of a folder that can be slices, sorted by name."""
    for file in sorted(folder.iterdir()):
        if not file.name.startswith(".") and file.name.upper() != "DICOMDIR" and file.is_file():
            yield file


def read_series(pydicom: Any, folder: Path, source: str) -> tuple[list[Slice], list[str]]:
    """All slices of a folder, of one series, size, direction and kind.

    Returns:
        The slices, and notes about files that were left out.

    Raises:
        DataError: damaged slices, several series, or slices of unlike kind; names the files.
    """
    slices: list[Slice] = []
    problems: list[str] = []
    ignored: list[str] = []
    others: list[Path] = []
    for file in visible_files(folder):
        if not is_dicom(file):
            others.append(file)
            continue
        try:
            slices.append(read_header(pydicom, file))
        except DataError as error:
            problems.append(str(error))
    suffixes = {one.path.suffix.lower() for one in slices}
    for file in others:
        if has_slice_name(file) or file.suffix.lower() in suffixes:
            problems.append(f"{file.name} is no DICOM file ({file.stat().st_size} bytes)")
        else:
            ignored.append(file.name)
    if problems:
        raise DataError(
            message(
                source,
                expected="slices that can be read",
                found="; ".join(problems[:8]),
                do="Copy them again, or move what is no slice to another folder.",
            )
        )
    _check_alike(source, slices)
    notes = [f"{source}: not DICOM and left out: {', '.join(ignored[:8])}."] if ignored else []
    return slices, notes


def _check_alike(source: str, slices: list[Slice]) -> None:
    series = Counter(str(one.header.get("SeriesInstanceUID", "")) for one in slices)
    if len(series) > 1:
        raise DataError(
            message(
                source,
                expected="the slices of one series",
                found=f"{len(series)} series of {', '.join(map(str, series.values()))} files",
                do="Put every series into a folder of its own.",
            )
        )
    for one in slices:
        check_gray(one)
    kinds = Counter(map(_kind, slices))
    if len(kinds) > 1:
        usual = kinds.most_common(1)[0][0]
        strange = [one.name for one in slices if _kind(one) != usual]
        raise DataError(
            message(
                source,
                expected=f"slices of one size, direction and pixel spacing, {usual}",
                found=f"others in {', '.join(strange[:8])}",
                do="Remove them (localizers are a common case), or export the series again.",
            )
        )


def is_multiple(one: Slice) -> bool:
    """Whether a file holds several frames or colors."""
    tags = ("NumberOfFrames", "SamplesPerPixel")
    return any(int(one.header.get(tag) or 1) > 1 for tag in tags)


def check_gray(one: Slice) -> None:
    """Refuse files of several frames or colors.

    Raises:
        DataError: names the file.
    """
    if is_multiple(one):
        frames = int(one.header.get("NumberOfFrames") or 1)
        colored = int(one.header.get("SamplesPerPixel") or 1) != 1
        raise DataError(
            message(
                one.path,
                expected="one gray slice per file",
                found="colors" if colored else f"several frames ({frames})",
                do="Give it as an image of its own, outside of the series.",
            )
        )


def _kind(one: Slice) -> tuple[Any, ...]:
    direction = np.round(one.numbers("ImageOrientationPatient", 6) / _PARALLEL).astype(int) + 0
    pixel = np.round(one.numbers("PixelSpacing", 2), 4)
    return (*one.shape, *pixel.tolist(), *(direction * _PARALLEL).round(3).tolist())


def axes_of(one: Slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors along a row, down a column and along the normal of a slice.

    Raises:
        DataError: rows and columns are not at right angles.
    """
    along, down = one.numbers("ImageOrientationPatient", 6).reshape(2, 3)
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    if max(abs(n - 1) for n in lengths) > 10 * _PARALLEL or abs(along @ down) > 10 * _PARALLEL:
        raise one.refused(
            "ImageOrientationPatient of two directions at right angles",
            f"{np.round([*along, *down], 4).tolist()}",
        )
    normal = np.cross(along, down)
    normal /= np.linalg.norm(normal)
    along = along / lengths[0]
    # Rounded cosines are made exact, so that the affine is one of right angles.
    return along, np.cross(normal, along), normal


def sort_slices(source: str, slices: list[Slice]) -> tuple[list[Slice], np.ndarray]:
    """Slices along the normal, and the step from one to the next.

    Raises:
        DataError: slices that are missing, there twice, or stacked at an angle; several volumes.
    """
    along, down, normal = axes_of(slices[0])
    places = np.array([one.numbers("ImagePositionPatient", 3) for one in slices])
    order = np.argsort(places @ normal, kind="stable")
    slices, places = [slices[i] for i in order], places[order]
    if len(slices) == 1:
        return slices, normal * (float(slices[0].header.get("SliceThickness") or 0) or 1.0)
    heights = places @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps[gaps > _SAME])) if (gaps > _SAME).any() else 0.0
    _check_volumes(source, gaps)
    _check_gaps(source, slices, gaps, usual)
    rows, columns = slices[0].numbers("PixelSpacing", 2)
    moved = places - places[0]
    shift = np.abs(moved @ np.stack([along / columns, down / rows], 1)).max()
    if shift > _MOST_SHIFT:
        side = np.linalg.norm(moved[-1] - normal * (moved[-1] @ normal))
        angle = np.degrees(np.arctan2(side, abs(moved[-1] @ normal)))
        raise DataError(
            message(
                source,
                expected="slices stacked along their normal",
                found=f"slices that are moved sideways by up to {shift:.1f} pixels, at an angle "
                f"of {angle:.1f} degrees (gantry tilt)",
                do="Convert the series to NIfTI with a program that corrects the tilt, such as "
                "dcm2niix.",
            )
        )
    return slices, normal * (heights[-1] - heights[0]) / (len(slices) - 1)


def _check_volumes(source: str, gaps: np.ndarray) -> None:
    """Refuse several images at every position."""
    starts = np.flatnonzero(np.r_[True, gaps > _SAME, True])
    counts = np.diff(starts)
    if counts[0] > 1 and (counts == counts[0]).all():
        raise DataError(
            message(
                source,
                expected="one volume",
                found=f"{counts[0]} images at each of {len(counts)} positions (time points, echoes "
                "or b-values)",
                do="Put each volume into a folder of its own.",
            )
        )


def _check_gaps(source: str, slices: list[Slice], gaps: np.ndarray, usual: float) -> None:
    problems = []
    for gap, below, above in zip(gaps, slices[:-1], slices[1:], strict=True):
        if gap <= _SAME:
            problems.append(f"{below.name} and {above.name} at one position")
        elif abs(gap - usual) > _EVEN * usual:
            problems.append(f"{gap:.3g} mm between {below.name} and {above.name}")
    if problems:
        raise DataError(
            message(
                source,
                expected=f"slices every {usual:.3g} mm",
                found="; ".join(problems[:8]),
                do="Copy missing files again and remove those that are there twice.",
            )
        )
