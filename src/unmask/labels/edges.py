"""Affinities with their offsets: checked, separated into near and far, n axes.

Channel ``c`` at voxel ``p`` says how likely ``p`` and ``p + offsets[c]`` belong to one object.
Offsets of length 1 join face neighbors; all others look further and are used to tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, message

Offsets = Sequence[Sequence[int]]
# Averages of tiles and cosines of float16 embeddings leave the range by rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Edges:
    """Checked affinities.

    Attributes:
        values: ``(k, *space)`` float32 in [0, 1], C-contiguous; an input without need of
            correction is not copied, so it must not be written to.
        offsets: one offset a channel, in voxels, slow axis first.
        foreground: ``(*space)`` where objects may be; None: everywhere.
    """

    values: NDArray[np.float32]
    offsets: tuple[tuple[int, ...], ...]
    foreground: NDArray[np.bool_] | None

    @property
    def space(self) -> tuple[int, ...]:
        """Voxels along every axis."""
        return self.values.shape[1:]

    @property
    def near(self) -> list[int]:
        """Channels whose offset leads to a face neighbor."""
        return [c for c, offset in enumerate(self.offsets) if length(offset) == 1]

    @property
    def far(self) -> list[int]:
        """All other channels."""
        return [c for c, offset in enumerate(self.offsets) if length(offset) != 1]


def check_edges(affinities: np.ndarray, offsets: Offsets, foreground: np.ndarray | None) -> Edges:
    """Affinities that fit their offsets and their foreground.

    Values that leave [0, 1] by rounding are clipped.

    Raises:
        DataError: no ``(k, *space)`` numbers in [0, 1], not one offset a channel and one number an
            axis, no offset to a face neighbor, none inside the image, or a foreground of another
            shape or type.
    """
    values = np.asarray(affinities)
    if values.ndim < 2 or values.dtype.kind not in "fiub":
        raise DataError(
            message(
                "affinities",
                expected="numbers (offsets, *space)",
                found=f"{values.dtype} of shape {values.shape}",
                do="Give one channel for every offset.",
            )
        )
    steps = _check_offsets(offsets, values.shape)
    return Edges(_in_range(values), steps, check_foreground(foreground, values.shape[1:]))


def length(offset: Sequence[int]) -> int:
    """Steps over faces to the neighbor at ``offset``."""
    return sum(abs(step) for step in offset)


def inside(offset: Sequence[int], space: Sequence[int]) -> bool:
    """Whether two voxels of the image lie ``offset`` apart."""
    return all(abs(step) < size for step, size in zip(offset, space, strict=True))


def shift_slices(
    space: Sequence[int], offset: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices (here, there) such that ``a[there]`` is the neighbor of ``a[here]`` at ``offset``."""
    pairs = list(zip(offset, space, strict=True))
    here = tuple(slice(min(n, max(0, -d)), max(0, n - max(0, d))) for d, n in pairs)
    there = tuple(slice(min(n, max(0, d)), max(0, n - max(0, -d))) for d, n in pairs)
    return here, there


def check_foreground(
    foreground: np.ndarray | None, space: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Foreground as booleans.

    Raises:
        DataError: another shape than the image, or scores where a decision is needed.
    """
    if foreground is None:
        return None
    where = np.asarray(foreground)
    if where.shape != space or where.dtype.kind not in "biu":
        raise DataError(
            message(
                "foreground",
                expected=f"booleans of shape {space}",
                found=f"{where.dtype} of shape {where.shape}",
                do="Give the mask of this image; compare scores with a threshold first.",
            )
        )
    return np.ascontiguousarray(where != 0)


def _check_offsets(offsets: Offsets, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    space = shape[1:]
    steps = tuple(tuple(int(step) for step in offset) for offset in offsets)
    fitting = [step for step in steps if len(step) == len(space) and any(step)]
    if len(steps) != shape[0] or len(fitting) != len(steps):
        raise DataError(
            message(
                "offsets",
                expected=f"{shape[0]} offsets other than 0, one for each channel, of {len(space)} "
                f"numbers, one for each axis of {space}",
                found=f"{len(steps)}: {list(steps)}",
                do="Give the offsets that the affinities were made with.",
            )
        )
    if max(space) > 1 and not any(length(s) == 1 and inside(s, space) for s in steps):
        raise DataError(
            message(
                "offsets",
                expected=f"at least one to a face neighbor (length 1) inside {space}",
                found=str(list(steps)),
                do="Add the offset -1 along every axis, or decode a larger image.",
            )
        )
    return steps


def _in_range(values: np.ndarray) -> NDArray[np.float32]:
    array = np.ascontiguousarray(values, np.float32)
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 1.0)
    # NaN fails every comparison.
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise DataError(
            message(
                "affinities",
                expected="values in [0, 1]",
                found=f"{int(np.isnan(array).sum())} NaN, else from {np.nanmin(array):.4g} to "
                f"{np.nanmax(array):.4g}"
                if not np.isnan(array).all()
                else "nothing but NaN",
                do="Apply a sigmoid to logits, set negative cosines to 0, and look for NaN in the "
                "network's output.",
            )
        )
    return array if low >= 0 and high <= 1 else array.clip(0, 1)
