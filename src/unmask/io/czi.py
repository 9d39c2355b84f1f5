"""CZI files of ZEISS: scenes, levels and mosaics, read piece by piece.

``file.czi:1`` is the second scene. Where no piece of a mosaic lies, values are 0; where several
overlap, the later one counts, as in ZEN.
"""

from __future__ import annotations

import itertools
import mmap
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.contract import (
    Format,
    Index,
    Location,
    Mark,
    Stored,
    check_file,
    map_file,
    signature,
)
from unmask.io.czi_segments import Piece, read_directory, read_piece, refused

_LEAD = "TCZ"
_MICROMETERS = 1e6
_SHOWN = 10


def open_czi(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the directory of pieces.

    Raises:
        DataError: damaged, several scenes without a number, no such scene or level, or axes that
            have no meaning here (phases, angles, illuminations).
    """
    del labels
    mark = signature(location.path)
    with map_file(location, mark) as data:
        pieces, metadata = read_directory(location, data)
    pieces = _scene(location, pieces)
    factors = sorted({piece.factor for piece in pieces})
    if not 0 <= level < len(factors):
        raise refused(location, f"a level from 0 to {len(factors) - 1}", f"level={level}")
    grid = _grid(location, [piece for piece in pieces if piece.factor == factors[level]])
    size = (*grid.shape, grid.first.samples)
    nbytes = prod(size) * grid.first.dtype.itemsize
    limits.check_claim(location.source, nbytes, mark.size)
    limits.check_unit(
        location.source, max((piece.shape for piece in grid.pieces), key=prod),
        grid.first.dtype.itemsize, name="piece",
    )  # fmt: skip
    spacing = {axis: value * factors[level] if axis in "YX" else value
               for axis, value in _spacing(metadata).items()}  # fmt: skip
    axes = "".join(
        letter.lower() if length == 1 and letter in "TCZ" else letter
        for letter, length in zip("TCZYX", grid.shape, strict=True)
    )
    names = _channels(metadata)
    meta: dict[str, Any] = {"channels": names} if any(names) else {}
    if notes := _notes(location, grid, metadata):
        meta["notes"] = notes
    return Stored(
        size,
        grid.first.dtype.newbyteorder("="),
        axes + ("s" if size[-1] == 1 else "S"),
        _Reader(location, mark, grid).read,
        spacing,
        "um" if spacing else None,
        meta=meta,
    )


@dataclass(frozen=True)
class _Grid:
    """The pieces of one level of one scene.

    Attributes:
        pieces: in the order in which they are drawn.
        shape: lengths of t, c, z, y and x.
        origin: first coordinates of t, c and z, in pixels of the finest level of y and x.
        factor: pixels of the finest level per pixel.
    """

    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]
    origin: tuple[int, ...]
    factor: int

    @property
    def first(self) -> Piece:
        return self.pieces[0]

    def corner(self, piece: Piece) -> tuple[int, ...]:
        """Position of the first pixel of a piece."""
        lead = [
            piece.starts.get(axis, 0) - start
            for axis, start in zip(_LEAD, self.origin, strict=False)
        ]
        plane = [
            round((piece.starts[axis] - start) / self.factor)
            for axis, start in zip("YX", self.origin[3:], strict=True)
        ]
        return (*lead, *plane)


class _Reader:
    def __init__(self, location: Location, mark: Mark, grid: _Grid) -> None:
        self._location, self._mark, self._grid = location, mark, grid
        self._maps: recent.Shelf[mmap.mmap] = recent.make_opened_shelf()
        self._decoded = recent.make_decoded_shelf()
        self._planes: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
        for number, piece in enumerate(grid.pieces):
            corner = grid.corner(piece)
            self._planes.setdefault(corner[:3], []).append((number, corner[3:]))

    def read(self, index: Index) -> np.ndarray:
        """Values of a box of t, c, z, y, x and samples."""
        check_file(self._location, self._mark)
        first = self._grid.first
        shape = [part.stop - part.start for part in index]
        out = np.zeros(shape, first.dtype.newbyteorder("="))
        lead = [range(part.start, part.stop) for part in index[:3]]
        for place in itertools.product(*lead):
            target = out[tuple(a - part.start for a, part in zip(place, index, strict=False))]
            for number, corner in self._planes.get(place, ()):
                self._paste(target, number, corner, index)
        return out

    def _paste(
        self, target: np.ndarray, number: int, corner: tuple[int, ...], index: Index
    ) -> None:
        piece = self._grid.pieces[number]
        here, there = [], []
        for part, start, length in zip(index[3:5], corner, piece.stored, strict=True):
            low, high = max(part.start, start), min(part.stop, start + length)
            if low >= high:
                return
            here.append(slice(low - part.start, high - part.start))
            there.append(slice(low - start, high - start))
        values = self._decoded.get(number, lambda: self._load(piece))
        target[tuple(here)] = values[(*there, index[5])]

    def _load(self, piece: Piece) -> np.ndarray:
        data = self._maps.get("map", lambda: map_file(self._location, self._mark))
        return read_piece(self._location, data, piece)


def _scene(location: Location, pieces: list[Piece]) -> list[Piece]:
    """Pieces of the scene that the key names, or of the only one."""
    scenes = sorted({piece.starts.get("S", 0) for piece in pieces})
    if location.key:
        number = int(location.key)
        if number not in scenes:
            raise refused(
                location, f"a scene out of {', '.join(map(str, scenes[:_SHOWN]))}", f"{number}"
            )
        return [piece for piece in pieces if piece.starts.get("S", 0) == number]
    if len(scenes) > 1:
        shown = ", ".join(f":{number}" for number in scenes[:_SHOWN])
        more = f" and {len(scenes) - _SHOWN} more" if len(scenes) > _SHOWN else ""
        raise DataError(
            message(
                location.source,
                expected="one scene in the file",
                found=f"{len(scenes)}: {shown}{more}",
                do=f"Choose one by its number, for example {location.source}:{scenes[0]}.",
            )
        )
    return pieces


def _grid(location: Location, pieces: list[Piece]) -> _Grid:
    ordered = tuple(sorted(pieces, key=lambda piece: piece.starts.get("M", 0)))
    first, origin, lengths = ordered[0], [], []
    for axis in (*_LEAD, "Y", "X"):
        starts = [piece.starts.get(axis, 0) for piece in ordered]
        sizes = [piece.sizes.get(axis, 1) for piece in ordered]
        origin.append(min(starts))
        lengths.append(max(a + n for a, n in zip(starts, sizes, strict=True)) - min(starts))
        if axis in _LEAD and max(sizes) > 1:
            raise refused(location, "pieces of one plane", f"{max(sizes)} planes along {axis}")
    for axis in sorted({axis for piece in ordered for axis in piece.starts} - set("TCZYXMS")):
        found = {piece.starts.get(axis, 0) for piece in ordered}
        if len(found) > 1:
            raise refused(
                location, "the axes t, c, z, y and x", f"{len(found)} positions along {axis}"
            )
    for piece in ordered:
        if (piece.dtype, piece.samples) != (first.dtype, first.samples):
            raise refused(
                location,
                f"channels of one type, {first.dtype} with {first.samples} samples",
                f"{piece.dtype} with {piece.samples}",
            )
    factor = first.factor
    plane = [-(-length // factor) for length in lengths[3:]]
    return _Grid(ordered, (*lengths[:3], *plane), tuple(origin), factor)


def _spacing(metadata: ET.Element) -> dict[str, float]:
    """Voxel size in micrometers."""
    sizes: dict[str, float] = {}
    for entry in metadata.iterfind("Metadata/Scaling/Items/Distance"):
        text = entry.findtext("Value") or ""
        try:
            size = float(text) * _MICROMETERS
        except ValueError:
            continue
        if entry.get("Id") in ("X", "Y", "Z") and np.isfinite(size) and size > 0:
            sizes[str(entry.get("Id"))] = size
    return sizes


def _channels(metadata: ET.Element) -> tuple[str, ...]:
    path = "Metadata/Information/Image/Dimensions/Channels/Channel"
    return tuple(channel.get("Name", "") for channel in metadata.iterfind(path))


def _notes(location: Location, grid: _Grid, metadata: ET.Element) -> tuple[str, ...]:
    """Lengths that the metadata state and the pieces do not have."""
    image = metadata.find("Metadata/Information/Image")
    if image is None or grid.factor > 1:
        return ()
    different = []
    # The lengths of y and x are those of all scenes together.
    letters = "TCZYX" if "S" not in grid.first.starts else "TCZ"
    for axis, length in zip(letters, grid.shape, strict=False):
        stated = image.findtext(f"Size{axis}") or ""
        if stated.isdigit() and int(stated) != length:
            different.append(f"{stated} along {axis.lower()} instead of {length}")
    if not different:
        return ()
    return (f"{location.source}: its metadata state {', '.join(different)}.",)


FORMAT = Format("CZI", open_czi)
