"""DICOM files of several frames (enhanced CT and MR, ultrasound, PET) or of colors.

Frames with positions are a volume, sorted along its normal; several frames at each position are
points in time. Frames without a position are a movie if the file says how long they take.

DICOM PS3.3, Multi-frame Functional Groups (C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.contract import Index, Location, Stored, check_file, signature
from unmask.io.dicom_files import Slice, check_coded_frame, read_dataset
from unmask.io.placed import LPS_TO_RAS, make_affine, placed_volume

# Positions that are closer, in mm, are one; distances may differ by this share.
_SAME, _EVEN = 1e-2, 0.05
_MOST_FRAMES = 200_000
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class Frames:
    """The frames of a file, and where they lie.

    Attributes:
        one: the file.
        header: all of its header.
        groups: functional groups of each frame; empty if the file has none.
    """

    one: Slice
    header: Any
    groups: Sequence[Any]

    @property
    def count(self) -> int:
        """Number of frames."""
        return int(self.header.get("NumberOfFrames") or 1)

    def find(self, number: int, sequence: str, tag: str) -> Any:
        """A value of a frame: its own, or the one that all frames share; None if there is none."""
        shared = self.header.get("SharedFunctionalGroupsSequence") or [None]
        own = self.groups[number] if number < len(self.groups) else None
        for group in (own, shared[0]):
            items = None if group is None else group.get(sequence)
            if items and items[0].get(tag) is not None:
                return items[0].get(tag)
        return None

    def vector(self, number: int, sequence: str, tag: str, count: int) -> np.ndarray | None:
        """Numbers of a frame; None if it has none."""
        value = self.find(number, sequence, tag)
        if value is None:
            return None
        if not hasattr(value, "__len__") or len(value) != count:
            raise self.one.refused(f"{tag} of {count} numbers", f"{value}")
        numbers = np.array([float(each) for each in value])
        if not np.isfinite(numbers).all():
            raise self.one.refused(f"{tag} of finite numbers", f"{numbers.tolist()}")
        return numbers


@dataclass(frozen=True)
class Grid:
    """Where frames lie in the body.

    Attributes:
        affine: from voxel (i, j, k) to right, front and head.
        slices: number of positions along the normal.
        place: position of every frame.
    """

    affine: np.ndarray
    slices: int
    place: tuple[int, ...]


def read_frames(pydicom: Any, one: Slice) -> Frames:
    """The header of a file with its functional groups.

    Raises:
        DataError: damaged, or more frames than any recording has.
    """
    header = read_dataset(pydicom, one.path, stop_before_pixels=True)
    frames = Frames(one, header, header.get("PerFrameFunctionalGroupsSequence") or [])
    if not 1 <= frames.count <= _MOST_FRAMES:
        raise one.refused(f"1 to {_MOST_FRAMES} frames", f"{frames.count}")
    if len(frames.groups) not in (0, frames.count):
        raise one.refused(f"functional groups of {frames.count} frames", f"{len(frames.groups)}")
    return frames


def open_frames(pydicom: Any, location: Location, one: Slice) -> Stored:
    """An image of several frames or of colors.

    Raises:
        DataError: positions that are missing, or no grid; slopes that differ between frames.
    """
    frames = read_frames(pydicom, one)
    samples = int(frames.header.get("SamplesPerPixel") or 1)
    if samples > 1:
        kind = str(frames.header.get("PhotometricInterpretation"))
        if samples != 3 or kind not in _COLORS:
            raise one.refused("gray, or red, green and blue", f"{samples} samples, {kind}")
    dtype, scale = _scale(frames)
    read = frame_reader(pydicom, location, frames)

    def values(number: int) -> np.ndarray:
        return read(number).astype(dtype) * dtype.type(scale[0]) + dtype.type(scale[1])

    grid = None if samples > 1 else find_grid(frames)
    if grid is not None:
        return _volume(location, frames, grid, dtype, values)
    return _movie(frames, samples, dtype, values)


def frame_reader(pydicom: Any, location: Location, frames: Frames) -> Any:
    """A function that decodes one frame."""
    one, mark = frames.one, signature(frames.one.path)
    files: recent.Shelf[Any] = recent.make_opened_shelf()
    decoded = recent.make_decoded_shelf()
    samples = int(frames.header.get("SamplesPerPixel") or 1)
    shape = one.shape if samples == 1 else (*one.shape, samples)
    here = Location(str(one.path), one.path)
    del location

    def decode(number: int) -> np.ndarray:
        file = files.get_alone("file", lambda: read_dataset(pydicom, one.path))
        try:
            check_coded_frame(pydicom, one, file, number)
            pixels = np.asarray(pydicom.pixels.pixel_array(file, index=number))
        except Exception as error:
            # Decoders raise anything; the user needs the file's name with it.
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise one.refused("pixels that can be decoded", reason) from error
        if pixels.shape != shape:
            raise one.refused(f"{shape} pixels", f"{pixels.shape}")
        return pixels

    def read(number: int) -> np.ndarray:
        check_file(here, mark)
        return decoded.get(number, lambda: decode(number))

    return read


def find_grid(frames: Frames) -> Grid | None:
    """The grid of the frames; None if they have no position.

    Raises:
        DataError: some have none, or they lie on no grid.
    """
    places = [
        frames.vector(n, "PlanePositionSequence", "ImagePositionPatient", 3)
        for n in range(frames.count)
    ]
    known = [place for place in places if place is not None]
    if not known:
        return None
    turns = [
        frames.vector(n, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
        for n in range(frames.count)
    ]
    pixel = frames.vector(0, "PixelMeasuresSequence", "PixelSpacing", 2)
    turn = turns[0]
    if len(known) < frames.count or turn is None or pixel is None:
        raise frames.one.refused("position, direction and pixel spacing of every frame", "fewer")
    if any(other is None or np.abs(other - turn).max() > 1e-3 for other in turns):
        raise frames.one.refused("frames of one direction", "several (localizers?)")
    along, down = turn.reshape(2, 3)
    normal = np.cross(along, down)
    if abs(np.linalg.norm(normal) - 1) > _SAME:
        raise frames.one.refused("directions at right angles", f"{turn.tolist()}")
    heights = np.array(known) @ normal
    levels = _levels(frames, heights)
    first = known[int(np.argmin(heights))]
    thick = _thickness(frames)
    step = (levels[-1] - levels[0]) / (len(levels) - 1) if len(levels) > 1 else thick
    directions = np.array([along * pixel[1], down * pixel[0], normal * step])
    affine = LPS_TO_RAS @ make_affine(directions, first)
    found = np.rint((heights - heights.min()) / step).astype(int)
    return Grid(affine, len(levels), tuple(int(place) for place in found))


def _levels(frames: Frames, heights: np.ndarray) -> np.ndarray:
    """Heights of the slices; slices of a segmentation that are empty may be missing."""
    ordered = np.sort(heights)
    kept = ordered[np.r_[True, np.diff(ordered) > _SAME]]
    if len(kept) < 3:
        return kept
    step = float(np.diff(kept).min())
    numbers = (kept - kept[0]) / step
    if np.abs(numbers - np.rint(numbers)).max() > _EVEN * max(1.0, float(numbers.max()) / 100):
        raise frames.one.refused(
            "slices at even distances", f"distances from {step:.3g} to {np.diff(kept).max():.3g} mm"
        )
    return kept[0] + step * np.arange(round(float(numbers[-1])) + 1)


def _thickness(frames: Frames) -> float:
    for tag in ("SpacingBetweenSlices", "SliceThickness"):
        value = frames.find(0, "PixelMeasuresSequence", tag)
        if value is not None and float(value) > 0:
            return float(value)
    return 1.0


def _volume(
    location: Location, frames: Frames, grid: Grid, dtype: np.dtype[Any], values: Any
) -> Stored:
    at: list[list[int]] = [[] for _ in range(grid.slices)]
    for number, place in enumerate(grid.place):
        at[place].append(number)
    counts = {len(each) for each in at}
    if len(counts) > 1:
        raise frames.one.refused(
            "as many frames at every position", f"from {min(counts)} to {max(counts)}"
        )
    (times,) = counts
    shape = (times, grid.slices, *frames.one.shape)
    _check_claim(frames, shape, dtype)

    def read(index: Index) -> np.ndarray:
        out = np.empty([part.stop - part.start for part in index], dtype)
        for row, time in enumerate(range(index[0].start, index[0].stop)):
            for column, place in enumerate(range(index[1].start, index[1].stop)):
                out[row, column] = values(at[place][time])[index[2:]]
        return out

    lead = "t" if times == 1 else "T"
    return placed_volume(location.source, shape, dtype, read, grid.affine, lead=lead)


def _movie(frames: Frames, samples: int, dtype: np.dtype[Any], values: Any) -> Stored:
    """Frames without a position."""
    header, shape = frames.header, (frames.count, *frames.one.shape, samples)
    _check_claim(frames, shape, dtype)

    def read(index: Index) -> np.ndarray:
        parts = [values(number) for number in range(index[0].start, index[0].stop)]
        return np.stack(parts).reshape(-1, *shape[1:])[(slice(None), *index[1:])]

    timed = any(header.get(tag) is not None for tag in ("FrameTime", "FrameTimeVector"))
    between = header.get("SpacingBetweenSlices")
    lead = "t" if frames.count == 1 else "T" if timed else "Z" if between else "?"
    tag = next((t for t in ("PixelSpacing", "ImagerPixelSpacing") if header.get(t)), None)
    spacing: dict[str, float] = {}
    if tag is not None:
        spacing = dict(zip("YX", (float(size) for size in header.get(tag)), strict=True))
    if lead == "Z" and between:
        spacing["Z"] = float(between)
    color = "s" if samples == 1 else "S"
    return Stored(shape, dtype, f"{lead}YX{color}", read, spacing, "mm" if spacing else None)


def _scale(frames: Frames) -> tuple[np.dtype[Any], tuple[float, float]]:
    """Type of the values and the slope and intercept of all frames."""
    pairs = set()
    for number in range(max(1, len(frames.groups))):
        pair = [
            frames.find(number, "PixelValueTransformationSequence", tag)
            for tag in ("RescaleSlope", "RescaleIntercept")
        ]
        slope, intercept = frames.one.rescale
        pairs.add(
            (
                slope if pair[0] is None else float(pair[0]),
                intercept if pair[1] is None else float(pair[1]),
            )
        )
    if len(pairs) > 1:
        raise frames.one.refused("one slope and intercept", f"{len(pairs)} in its frames")
    pair = pairs.pop()
    bits, signed = int(frames.header.BitsStored), int(frames.header.PixelRepresentation)
    if pair == (1.0, 0.0):
        size = 1 if bits <= 8 else 2 if bits <= 16 else 4
        return np.dtype(f"{'i' if signed else 'u'}{size}"), pair
    whole = all(value.is_integer() for value in pair)
    top = 2.0**bits * abs(pair[0]) + abs(pair[1])
    small = np.int16 if top < 2**15 else np.int32
    return np.dtype(small if whole and top < 2**31 else np.float32), pair


def _check_claim(frames: Frames, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    limits.check_claim(
        str(frames.one.path),
        prod(shape) * dtype.itemsize,
        frames.one.path.stat().st_size,
        ratio=limits.WHOLE_RATIO,
        harmless=limits.WHOLE_HARMLESS,
    )
