"""Drawn objects, and the label image that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, message
from unmask.io import limits
from unmask.io.outlines.fill import Filled, fill
from unmask.wording import format_count

Ring = NDArray[np.float64]
# Pixels of a shape that is no polygon, in an image of a given size.
Paint = Callable[[tuple[int, int]], Filled]
_NAMED = 5


@dataclass(frozen=True)
class Drawn:
    """One object as a file describes it, or a part of it.

    Attributes:
        name: for messages.
        pieces: each a list of rings (y, x) in corners of pixels, odd is inside; pieces add up.
        paint: the pixels instead of pieces.
        key: the id, where the file has one; equal keys are one object.
        plane: position on the first axis of a volume.
    """

    name: str
    pieces: tuple[list[Ring], ...] = ()
    paint: Paint | None = None
    key: int | None = None
    plane: int | None = None


@dataclass(frozen=True)
class Drawing:
    """All objects of a file.

    Attributes:
        objects: in the order of the file.
        shape: of the image, where the file says it.
        notes: what was left out.
    """

    objects: Sequence[Drawn]
    shape: tuple[int, ...] | None = None
    notes: Sequence[str] = field(default_factory=tuple)


def rasterize(
    drawing: Drawing, shape: Sequence[int] | None, source: str
) -> tuple[np.ndarray, list[str]]:
    """Label image of a drawing, and notes on what is doubtful in it.

    Objects have the ids of the file, or 1, 2, ... in its order. Where two overlap the later one is
    kept.

    Args:
        drawing: objects.
        shape: of the image ``(y, x)`` or ``(z, y, x)``; None: as the file says.
        source: name of the file for messages.

    Raises:
        DataError: an object outside of the image, or a size that is not known or does not fit.
    """
    size = _agreed(drawing.shape, shape, source)
    limits.check_memory(source, int(np.prod(size)) * 8, what="the label image")
    planes = np.zeros((int(np.prod(size[:-2])), *size[-2:]), np.uint64)
    notes = list(drawing.notes)
    doubts: dict[str, list[str]] = {}
    shared = 0
    for key, one in zip(_keys(drawing.objects), drawing.objects, strict=True):
        target = planes[_plane(one, size, source)]
        covered = 0
        for filled in _filled(one, (size[-2], size[-1]), source):
            top, left = filled.corner
            height, width = filled.mask.shape
            part = target[top : top + height, left : left + width]
            shared += int((filled.mask & (part != 0) & (part != key)).sum())
            part[filled.mask] = key
            covered += int(filled.mask.sum())
            if filled.crossed:
                doubts.setdefault("with crossing lines, odd windings inside", []).append(one.name)
            if filled.clipped:
                doubts.setdefault("cut at the border of the image", []).append(one.name)
        if not covered:
            doubts.setdefault("lost, with no center of a pixel inside", []).append(one.name)
    notes += [
        f"{format_count(len(names), 'outline')} {what}: {_some(names)}."
        for what, names in doubts.items()
    ]
    if shared:
        pixels = format_count(shared, "pixel is", "pixels are")
        notes.append(f"{pixels} in more than one object; they belong to the later one.")
    labels = planes.reshape(size)
    labels = labels.astype(np.min_scalar_type(int(labels.max(initial=0))), copy=False)
    return labels, [f"{source}: {note}" for note in notes]


def _keys(objects: Sequence[Drawn]) -> list[int]:
    """The ids of the file if every object has one, else the order."""
    keys = [one.key for one in objects]
    if any(key is None or not 0 < key < 2**64 for key in keys):
        return list(range(1, len(objects) + 1))
    return [int(key or 0) for key in keys]


def _plane(one: Drawn, size: Sequence[int], source: str) -> int:
    count = int(np.prod(size[:-2]))
    position = 0 if one.plane is None and count == 1 else one.plane
    if position is None or not 0 <= position < count:
        raise DataError(
            message(
                f"{source}, {one.name}",
                expected=f"a plane from 0 to {count - 1} (shape {tuple(size)})",
                found="none" if position is None else f"plane {position}",
                do="Give the shape of the image that the outlines were drawn on.",
            )
        )
    return position


def _filled(one: Drawn, shape: tuple[int, int], source: str) -> list[Filled]:
    if one.paint is not None:
        parts = [one.paint(shape)]
    else:
        for piece in one.pieces:
            if any(len(ring) < 3 or not np.isfinite(ring).all() for ring in piece):
                raise DataError(
                    message(
                        f"{source}, {one.name}",
                        expected="at least three corners with finite coordinates",
                        found=format_count(min(map(len, piece)), "corner"),
                        do="Remove or redraw this outline.",
                    )
                )
        parts = [fill(piece, shape) for piece in one.pieces]
    if all(part.clipped and not part.mask.any() for part in parts):
        raise DataError(
            message(
                f"{source}, {one.name}",
                expected=f"an outline inside of the image of shape {shape}",
                found="one outside of it",
                do="Give the image that it was drawn on; coordinates count pixels of its full "
                "resolution.",
            )
        )
    return parts


def _agreed(
    stored: Sequence[int] | None, given: Sequence[int] | None, source: str
) -> tuple[int, ...]:
    """The shape of the image, from the file or from the caller."""
    if stored is not None and given is not None and tuple(stored) != tuple(given):
        raise DataError(
            message(
                source,
                expected=f"outlines on an image of shape {tuple(given)}",
                found=f"a file for {tuple(stored)}",
                do="Give the image that the outlines were drawn on.",
            )
        )
    size = given if given is not None else stored
    if size is None or len(size) not in (2, 3) or min(size) < 1:
        raise DataError(
            message(
                source,
                expected="the shape of the image, (y, x) or (z, y, x); this format does not say it",
                found=str(size),
                do="Give the shape, or the image that the outlines belong to.",
            )
        )
    return tuple(int(n) for n in size)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
