"""Follow a flow field to where it ends, and find the places where many voxels end (n axes).

Euler steps of one voxel length with linear interpolation, then peaks in the histogram of the end
points, grown over their neighbors (Stringer et al. 2021, doi:10.1038/s41592-020-01018-x).
Points are moved in blocks that stay in the cache, one short loop over the block at a time: the
compiler turns such loops into vector instructions, and they serve any number of axes.
"""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

_BLOCK = 1024
# Around a sink points hop to and fro between voxels with a period of 1, 2, 4 or 8 steps. A point
# that is back where it was after a round will be there after every further round: it may stop.
ROUND = 8
STILL = np.float32(1e-3)
# A peak is the highest of its 5^n neighborhood and has more than 10 ends; it grows for 5 rounds
# over direct and diagonal neighbors with more than 2 ends (the published values).
REACH = 5
_PEAK_RADIUS = 2
_PEAK_ENDS = 10
_GROW_ENDS = 2


def follow(
    field: NDArray[np.float32],
    points: NDArray[np.int64],
    shape: tuple[int, ...],
    steps: int,
    *,
    exact: bool = True,
) -> NDArray[np.int64]:
    """Flat index of the voxel where each point is after ``steps`` steps.

    Args:
        field: ``(voxels * ndim,)`` displacement of one step, the axes of a voxel side by side, of
            an image with one voxel of zeros around; finite.
        points: flat indices of the first voxels, in the image without that border.
        shape: of the image without border.
        steps: number of steps.
        exact: positions are a whole voxel and the rest, so that a path does not depend on where in
            an array it lies. Otherwise they are numbers from -1 to 1 over the image, with every
            operation rounded as in the published programs (``grid_sample`` of PyTorch with
            ``align_corners=False``): up to half a voxel off toward the borders.

    Returns:
        One flat index for each point, in an image with ``REACH`` voxels around.
    """
    lengths = np.array(shape, np.int64)
    strides = _strides_of(lengths + 2)
    axes = tuple(range(len(shape)))
    # Corners in the order in which the published programs add them: the last axis varies first.
    sides = [[corner >> (len(axes) - 1 - a) & 1 for a in axes] for corner in range(1 << len(axes))]
    offsets = tuple((np.array(sides) @ strides * len(axes)).tolist())
    ends = np.zeros(len(points), np.int64)
    if not exact:
        # A step in units of the position.
        field = _scale(field, lengths)
    if len(points):
        _follow(
            field,
            points,
            (strides, lengths),
            (axes, offsets),
            _strides_of(lengths + 2 * REACH),
            (steps, gcd(steps, ROUND), exact),
            ends,
        )
    return ends


def _scale(field: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    # Planes of one voxel have no positions between -1 and 1.
    factors = (2.0 / np.maximum(lengths - 1, 1)).astype(np.float32)
    return (field.reshape(-1, len(lengths)) * factors).reshape(-1)


def sinks(
    ends: NDArray[np.int64], shape: tuple[int, ...], *, by_count: bool = True
) -> NDArray[np.int32]:
    """Id of the sink that each end point belongs to, 0 for none.

    Sinks are numbered in raster order. Where two of them reach the same voxel, the one with more
    ends has it; the later one without ``by_count``, as in early versions of Cellpose and in MEDIAR.
    """
    lengths = np.array(shape, np.int64) + 2 * REACH
    ends_at = np.bincount(ends, minlength=int(lengths.prod())).astype(np.int32)
    near = _neighbors(lengths, 1)
    peaks = _peaks(ends_at, _neighbors(lengths, _PEAK_RADIUS))
    marks = np.zeros(len(ends_at), np.int32)
    order = np.argsort(ends_at[peaks], kind="stable") if by_count else np.arange(len(peaks))
    room = np.zeros((2 * REACH + 1) ** len(shape), np.int64)
    _grow(ends_at, peaks[order], (order + 1).astype(np.int32), near, marks, room)
    return marks[ends]


def homes(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Flat index of every voxel of an image, in an image with ``REACH`` voxels around."""
    lengths = np.array(shape, np.int64) + 2 * REACH
    places = np.indices(shape).reshape(len(shape), -1) + REACH
    return _strides_of(lengths) @ places


def _strides_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(np.cumprod(lengths[:0:-1])[::-1], 1).astype(np.int64)


def _neighbors(lengths: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """Flat offsets of the cube of ``radius`` around a voxel."""
    cube = np.indices((2 * radius + 1,) * len(lengths)).reshape(len(lengths), -1) - radius
    return _strides_of(lengths) @ cube


@njit(cache=True, nogil=True)
def _locate(
    place: NDArray[np.float32],
    whole: NDArray[np.int32],
    work: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint32]],
    frame: tuple[NDArray[np.int64], NDArray[np.int64]],
    exact: bool,  # noqa: FBT001 - kernels take no keywords
    count: int,
) -> None:
    """Flat index of the corner voxel of every point, and how far from it the point lies."""
    strides, lengths = frame
    part, _, base = work
    one, half = np.float32(1.0), np.float32(0.5)
    base[:count] = 0
    for axis in range(len(strides)):
        stride = np.uint32(strides[axis])
        if exact:
            for j in range(count):
                part[axis, j] = place[axis, j]
                base[j] += np.uint32(whole[axis, j] + 1) * stride
        else:
            middle = np.float32(lengths[axis]) * half
            for j in range(count):
                at = (place[axis, j] + one) * middle - half
                corner = np.floor(at)
                part[axis, j] = at - corner
                base[j] += np.uint32(np.int32(corner) + 1) * stride


@njit(cache=True, nogil=True)
def _interpolate(
    field: NDArray[np.float32],
    work: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint32]],
    corners: tuple[tuple[int, ...], tuple[int, ...]],
    count: int,
) -> None:
    """Displacement of the first ``count`` points.

    ``corners``: the axes, and how far in ``field`` each corner of a voxel is from its first one;
    the last bit of a corner's number is its side along the last axis. Both are tuples because the
    compiler knows their lengths and unrolls the loops over them, which takes half the time.
    """
    part, move, base = work
    axes, offsets = corners
    one = np.float32(1.0)
    last = len(axes) - 1
    for j in range(count):
        first = np.uint64(base[j]) * np.uint64(len(axes))
        for axis in range(len(axes)):
            total = np.float32(0.0)
            for corner in range(len(offsets)):
                weight = one
                for bit in range(len(axes)):
                    share = part[last - bit, j]
                    weight *= share if (corner >> bit) & 1 else one - share
                total += weight * field[first + np.uint64(offsets[corner] + axis)]
            move[axis, j] = total


@njit(cache=True, nogil=True)
def _advance(
    place: NDArray[np.float32],
    whole: NDArray[np.int32],
    move: NDArray[np.float32],
    lengths: NDArray[np.int64],
    exact: bool,  # noqa: FBT001 - kernels take no keywords
    count: int,
) -> None:
    """Add the displacement of the first ``count`` points; they stay inside the image."""
    zero, one = np.float32(0.0), np.float32(1.0)
    for axis in range(len(lengths)):
        top = np.int32(lengths[axis] - 1)
        if exact:
            for j in range(count):
                at = place[axis, j] + move[axis, j]
                carry = np.floor(at)
                voxel = whole[axis, j] + np.int32(carry)
                rest = at - carry
                if voxel < 0:
                    voxel, rest = np.int32(0), zero
                if voxel >= top:
                    voxel, rest = top, zero
                whole[axis, j] = voxel
                place[axis, j] = rest
        else:
            for j in range(count):
                place[axis, j] = min(max(place[axis, j] + move[axis, j], -one), one)


@njit(cache=True, nogil=True)
def _enter(
    place: NDArray[np.float32],
    whole: NDArray[np.int32],
    j: int,
    point: int,
    lengths: NDArray[np.int64],
    exact: bool,  # noqa: FBT001 - kernels take no keywords
) -> None:
    """Put the point with flat index ``point`` into column ``j``."""
    one, two = np.float32(1.0), np.float32(2.0)
    for axis in range(len(lengths) - 1, -1, -1):
        at = point % lengths[axis]
        whole[axis, j] = at if exact else 0
        place[axis, j] = 0
        if not exact:
            place[axis, j] = np.float32(at) / np.float32(max(lengths[axis] - 1, 1)) * two - one
        point //= lengths[axis]


@njit(cache=True, nogil=True)
def _leave(
    now: tuple[NDArray[np.float32], NDArray[np.int32]],
    before: tuple[NDArray[np.float32], NDArray[np.int32]],
    slots: NDArray[np.int64],
    ages: NDArray[np.int64],
    rest: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, bool],
    count: int,
) -> int:
    """Write the ends of points that are still or old enough; close the ranks; how many stay."""
    strides, ends, lengths, oldest, exact = rest
    place, whole = now
    one, half = np.float32(1.0), np.float32(0.5)
    ndim = len(strides)
    kept = 0
    # Published paths continue while anything changes: a slow one may still reach the next voxel.
    still = STILL if exact else np.float32(0.0)
    for j in range(count):
        moved = np.float32(0.0)
        for axis in range(ndim):
            step = np.float32(whole[axis, j] - before[1][axis, j])
            moved = max(moved, abs(step + (place[axis, j] - before[0][axis, j])))
        if moved <= still or ages[j] >= oldest:
            index = 0
            for axis in range(ndim):
                at = place[axis, j]
                if not exact:
                    at = (at + one) * half * np.float32(lengths[axis] - 1)
                index += (np.int64(whole[axis, j]) + np.int64(at) + REACH) * strides[axis]
            ends[slots[j]] = index
        else:
            for axis in range(ndim):
                place[axis, kept] = place[axis, j]
                whole[axis, kept] = whole[axis, j]
            slots[kept] = slots[j]
            ages[kept] = ages[j]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _follow(
    field: NDArray[np.float32],
    points: NDArray[np.int64],
    frame: tuple[NDArray[np.int64], NDArray[np.int64]],
    corners: tuple[tuple[int, ...], tuple[int, ...]],
    strides: NDArray[np.int64],
    steps: tuple[int, int, bool],
    ends: NDArray[np.int64],
) -> None:
    """Move all points; a block takes in new points as soon as others have arrived."""
    lengths = frame[1]
    ndim = len(lengths)
    exact = steps[2]
    place, whole = np.zeros((ndim, _BLOCK), np.float32), np.zeros((ndim, _BLOCK), np.int32)
    before = (np.zeros((ndim, _BLOCK), np.float32), np.zeros((ndim, _BLOCK), np.int32))
    part, move = np.zeros((ndim, _BLOCK), np.float32), np.zeros((ndim, _BLOCK), np.float32)
    work = (part, move, np.zeros(_BLOCK, np.uint32))
    slots = np.zeros(_BLOCK, np.int64)
    ages = np.zeros(_BLOCK, np.int64)
    rest = (strides, ends, lengths, steps[0], exact)
    count, taken = 0, 0
    while count > 0 or taken < len(points):
        while count < _BLOCK and taken < len(points):
            _enter(place, whole, count, points[taken], lengths, exact)
            slots[count] = taken
            ages[count] = 0
            count += 1
            taken += 1
        before[0][:, :count] = place[:, :count]
        before[1][:, :count] = whole[:, :count]
        for _ in range(steps[1]):
            _locate(place, whole, work, frame, exact, count)
            _interpolate(field, work, corners, count)
            _advance(place, whole, move, lengths, exact, count)
        ages[:count] += steps[1]
        count = _leave((place, whole), before, slots, ages, rest, count)


@njit(cache=True, nogil=True)
def _peaks(ends_at: NDArray[np.int32], around: NDArray[np.int64]) -> NDArray[np.int64]:
    """Flat indices of local maxima of the histogram, in raster order."""
    found = np.zeros(len(ends_at) // (_PEAK_ENDS + 1) + 1, np.int64)
    count = 0
    reach = around.max()
    for i in range(reach, len(ends_at) - reach):
        if ends_at[i] <= _PEAK_ENDS:
            continue
        highest = True
        for offset in around:
            if ends_at[i + offset] > ends_at[i]:
                highest = False
                break
        if highest:
            found[count] = i
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _grow(
    ends_at: NDArray[np.int32],
    peaks: NDArray[np.int64],
    names: NDArray[np.int32],
    near: NDArray[np.int64],
    marks: NDArray[np.int32],
    room: NDArray[np.int64],
) -> None:
    """Mark each peak and what it reaches in ``REACH`` rounds; later peaks overwrite others."""
    for k in range(len(peaks)):
        room[0] = peaks[k]
        marks[peaks[k]] = names[k]
        first, last = 0, 1
        for _ in range(REACH):
            end = last
            for i in range(first, end):
                for offset in near:
                    there = room[i] + offset
                    if ends_at[there] > _GROW_ENDS and marks[there] != names[k]:
                        marks[there] = names[k]
                        room[last] = there
                        last += 1
            first = end
