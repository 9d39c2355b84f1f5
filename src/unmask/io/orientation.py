"""Where a volume lies in the body: one order of axes for every file, and the way back.

The canonical order is RAS+ with the slow axis first: z grows to the head, y to the front, x to the
right of the patient. Axes are permuted and mirrored, never interpolated: an oblique volume goes to
the nearest order, its affine stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Index

# Columns of an affine that span less than this share of a box of their lengths lie in a plane.
_FLAT = 1e-4


@dataclass(frozen=True)
class Turn:
    """A permutation and mirroring of the last axes of an array.

    Attributes:
        order: for each new axis the old one, counted from the first that takes part.
        flipped: for each new axis whether it runs against the old one.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]

    @property
    def inverse(self) -> Turn:
        """The turn back."""
        order = tuple(self.order.index(axis) for axis in range(len(self.order)))
        return Turn(order, tuple(self.flipped[place] for place in order))

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return self.order == tuple(range(len(self.order))) and not any(self.flipped)

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Lengths of the turned array."""
        lead = len(shape) - len(self.order)
        return (*shape[:lead], *(shape[lead + axis] for axis in self.order))

    def array(self, array: np.ndarray) -> np.ndarray:
        """The turned array, a view."""
        lead = array.ndim - len(self.order)
        turned = array.transpose([*range(lead), *(lead + axis for axis in self.order)])
        back = (slice(None, None, -1) if flip else slice(None) for flip in self.flipped)
        return turned[(..., *back)]

    def reader(
        self, read: Callable[[Index], np.ndarray], shape: Sequence[int]
    ) -> Callable[[Index], np.ndarray]:
        """Reader of the turned array out of one of the array, which has ``shape``."""
        if self.still:
            return read
        lead = len(shape) - len(self.order)

        def turned(index: Index) -> np.ndarray:
            source = list(index)
            for place, (axis, flip) in enumerate(zip(self.order, self.flipped, strict=True)):
                part, length = index[lead + place], shape[lead + axis]
                source[lead + axis] = (
                    slice(length - part.stop, length - part.start) if flip else part
                )
            return np.ascontiguousarray(self.array(read(tuple(source))))

        return turned


def turn_of(affine: np.ndarray, source: str) -> Turn:
    """The turn from a file's order (k, j, i) to the canonical one (z, y, x).

    Args:
        affine: ``(4, 4)``, from voxel (i, j, k) to position (right, front, head).
        source: the file's name.

    Raises:
        DataError: the affine is not finite, or its axes lie in a plane.
    """
    columns = affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    flat = not np.isfinite(affine).all() or not lengths.all()
    if flat or abs(np.linalg.det(columns / lengths)) < _FLAT:
        raise DataError(
            message(
                source,
                expected="an affine that maps voxels to three dimensions",
                found=f"a singular one, {np.round(affine[:3], 4).tolist()}",
                do="Write the header again (sform and qform), or set both codes to 0 where the "
                "position is unknown.",
            )
        )
    # Photographs use turns as well, and nibabel takes 0.25 s to import.
    from nibabel.orientations import io_orientation

    found = io_orientation(affine)
    worlds = [int(world) for world in found[:, 0]]
    # Arrays have the slow axis first, affines the fast one.
    order = tuple(2 - worlds.index(2 - axis) for axis in range(3))
    return Turn(order, tuple(found[2 - axis, 1] < 0 for axis in order))


def turned_affine(affine: np.ndarray, turn: Turn, shape: Sequence[int]) -> np.ndarray:
    """The affine of the turned array, from voxel (x, y, z) to position.

    Args:
        affine: of the array before, from (i, j, k).
        turn: of the array (k, j, i).
        shape: lengths (k, j, i) before.
    """
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for axis, (old, flip) in enumerate(zip(turn.order, turn.flipped, strict=True)):
        step[2 - old, 2 - axis] = -1 if flip else 1
        step[2 - old, 3] = shape[old] - 1 if flip else 0
    return affine @ step


def apart(one: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """Largest distance between the corners of two arrays of one shape, in their smallest voxel.

    Args:
        one: affine from voxel (x, y, z).
        other: of the other array.
        shape: lengths (z, y, x) of both.
    """
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape[::-1]) - 1)
    moved = np.pad(corners, ((0, 0), (0, 1)), constant_values=1) @ (one - other).T
    return float(np.linalg.norm(moved[:, :3], axis=1).max()) / float(
        np.linalg.norm(one[:3, :3], axis=0).min()
    )
