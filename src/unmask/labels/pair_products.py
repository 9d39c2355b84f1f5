"""Products of vectors of neighboring voxels on the CPU, for any number of axes.

An image is a set of rows along its last axis. All rows of all offsets are gone through in the order
of the image, so that what one offset has read is still in the cache for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.labels.edges import inside, shift_slices


@dataclass(frozen=True)
class Rows:
    """Pairs of rows that lie an offset apart, in the order of the image.

    Attributes:
        here: first voxel of each row, as an index of the flat image.
        there: first voxel of the row of neighbors.
        length: voxels of the rows.
        channel: number of the offset.
    """

    here: NDArray[np.int64]
    there: NDArray[np.int64]
    length: NDArray[np.int64]
    channel: NDArray[np.int64]


def rows_of(space: Sequence[int], offsets: Sequence[Sequence[int]]) -> Rows:
    """Rows of every offset that has pairs inside an image of size ``space``."""
    index = np.arange(int(np.prod(space)), dtype=np.int64).reshape(tuple(space))
    parts: list[tuple[NDArray[np.int64], ...]] = [(np.empty(0, np.int64),) * 4]
    for channel, offset in enumerate(offsets):
        if inside(offset, space):
            here, there = shift_slices(space, offset)
            first, second = (index[part][..., 0].ravel() for part in (here, there))
            count = index[here].shape[-1]
            parts.append((first, second, np.full_like(first, count), np.full_like(first, channel)))
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return Rows(*(column[order] for column in joined))


@dataclass(frozen=True)
class Vectors:
    """A vector for every voxel, and what brings it to unit length.

    Attributes:
        values: ``(c, voxels)`` contiguous.
        inverse: ``(voxels,)`` contiguous; one over the length, or 0.
    """

    values: np.ndarray
    inverse: np.ndarray


def cosines(one: Vectors, two: Vectors, rows: Rows, *, into: np.ndarray) -> None:
    """Cosines of ``one`` and its neighbors in ``two``.

    Args:
        one: first vector of each pair.
        two: second vector of each pair.
        rows: pairs.
        into: ``(offsets, voxels)`` contiguous; voxels without a neighbor are left alone.
    """
    given = (one.values, one.inverse, two.values, two.inverse)
    _cosines(*given, (rows.here, rows.there, rows.length, rows.channel), into)


def spread(
    slope: np.ndarray, one: Vectors, two: Vectors, rows: Rows, *, into: np.ndarray, back: bool
) -> None:
    """Add the unit vectors of the neighbors, times the slope of each pair.

    Args:
        slope: ``(offsets, voxels)`` contiguous, one number for each pair at its first voxel.
        one: first vector of each pair.
        two: second vector of each pair.
        rows: pairs.
        into: ``(c, voxels)`` contiguous.
        back: add the first vector of each pair at its second voxel, too.
    """
    given = (slope, one.values, one.inverse, two.values, two.inverse)
    _spread(*given, (rows.here, rows.there, rows.length, rows.channel), into, back)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _cosines(
    one: np.ndarray,
    one_inverse: np.ndarray,
    two: np.ndarray,
    two_inverse: np.ndarray,
    rows: tuple[np.ndarray, ...],
    into: np.ndarray,
) -> None:
    here, there, length, channel = rows
    for row in range(len(here)):
        a, b, n = here[row], there[row], length[row]
        line = into[channel[row], a : a + n]
        line[:] = 0
        for c in range(len(one)):
            left, right = one[c, a : a + n], two[c, b : b + n]
            for x in range(n):
                line[x] += left[x] * right[x]
        for x in range(n):
            line[x] *= one_inverse[a + x] * two_inverse[b + x]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _spread(
    slope: np.ndarray,
    one: np.ndarray,
    one_inverse: np.ndarray,
    two: np.ndarray,
    two_inverse: np.ndarray,
    rows: tuple[np.ndarray, ...],
    into: np.ndarray,
    back: bool,  # noqa: FBT001 - kernels take no keywords
) -> None:
    here, there, length, channel = rows
    longest = length.max() if len(length) else 0
    share = np.empty(longest, into.dtype)
    for row in range(len(here)):
        a, b, n = here[row], there[row], length[row]
        line = slope[channel[row], a : a + n]
        for x in range(n):
            share[x] = line[x] * two_inverse[b + x]
        for c in range(len(two)):
            target, right = into[c, a : a + n], two[c, b : b + n]
            for x in range(n):
                target[x] += share[x] * right[x]
        if not back:
            continue
        for x in range(n):
            share[x] = line[x] * one_inverse[a + x]
        for c in range(len(one)):
            target, left = into[c, b : b + n], one[c, a : a + n]
            for x in range(n):
                target[x] += share[x] * left[x]
