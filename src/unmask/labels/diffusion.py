"""Heat diffusion inside objects and its unit gradient (Stringer et al. 2021, Cellpose).

doi:10.1038/s41592-020-01018-x, with the heat itself, not its logarithm, and the voxel nearest the
centroid as source (Cellpose 3, doi:10.1038/s41592-025-02595-5). Each object is copied into its own
padded box, which stays in the cache. A box is kept as one flat array: a step is then one 3-term sum
for each axis, at that axis's stride, so the same loops serve any number of axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit


@njit(cache=True, nogil=True)
def row_count(lengths: NDArray[np.int64]) -> int:
    """Number of rows along the last axis."""
    count = 1
    for axis in range(len(lengths) - 1):
        count *= lengths[axis]
    return count


@njit(cache=True, nogil=True)
def row_start(
    row: int, lengths: NDArray[np.int64], strides: NDArray[np.int64], origin: NDArray[np.int64]
) -> int:
    """Flat index of the first voxel of ``row`` of a region at ``origin`` of an array."""
    last = len(lengths) - 1
    index = origin[last] * strides[last]
    for axis in range(last - 1, -1, -1):
        index += (row % lengths[axis] + origin[axis]) * strides[axis]
        row //= lengths[axis]
    return index


@njit(cache=True, nogil=True)
def box_strides(lengths: NDArray[np.int64], margin: int) -> NDArray[np.int64]:
    """C-order strides of an array with ``margin`` voxels around ``lengths``."""
    strides = np.ones(len(lengths), np.int64)
    for axis in range(len(lengths) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * (lengths[axis + 1] + 2 * margin)
    return strides


@njit(cache=True, nogil=True)
def _source(
    inside: NDArray[np.float64],
    lengths: NDArray[np.int64],
    strides: NDArray[np.int64],
    center: NDArray[np.float64],
) -> int:
    """Flat index of the object's voxel nearest to ``center`` (in the box); the first of equals."""
    last = len(lengths) - 1
    ones = np.ones(last + 1, np.int64)
    nearest = np.inf
    found = 0
    for row in range(row_count(lengths)):
        base = row_start(row, lengths, strides, ones)
        aside = 0.0
        rest = row
        for axis in range(last - 1, -1, -1):
            aside += (rest % lengths[axis] - center[axis]) ** 2
            rest //= lengths[axis]
        for i in range(lengths[last]):
            distance = aside + (i - center[last]) ** 2
            if distance < nearest and inside[base + i] > 0:
                nearest = distance
                found = base + i
    return found


@njit(cache=True, nogil=True)
def _sum3(
    given: NDArray[np.float64], sums: NDArray[np.float64], low: int, high: int, stride: int
) -> None:
    """Sum of each value and its two neighbors at ``stride``."""
    before = given[low - stride : high - stride]
    here = given[low:high]
    after = given[low + stride : high + stride]
    out = sums[low:high]
    for i in range(high - low):
        out[i] = before[i] + here[i] + after[i]


@njit(cache=True, nogil=True)
def _sum3_inside(
    given: NDArray[np.float64],
    sums: NDArray[np.float64],
    inside: NDArray[np.float64],
    low: int,
    high: int,
) -> None:
    """The same along the last axis, times ``inside``: cools everything but the object."""
    before = given[low - 1 : high - 1]
    here = given[low:high]
    after = given[low + 1 : high + 1]
    weight = inside[low:high]
    out = sums[low:high]
    for i in range(high - low):
        out[i] = weight[i] * (before[i] + here[i] + after[i])


@njit(cache=True, nogil=True)
def _heat(
    inside: NDArray[np.float64], strides: NDArray[np.int64], source: int, steps: int
) -> NDArray[np.float64]:
    """Heat after ``steps`` rounds of: one unit at ``source``, then the mean over 3^n neighbors."""
    ndim = len(strides)
    heat = np.zeros(len(inside), np.float64)
    sums = np.zeros(len(inside), np.float64)
    for _ in range(steps):
        heat[source] += 1.0
        low, high = 0, len(inside)
        for axis in range(ndim - 1):
            low += strides[axis]
            high -= strides[axis]
            _sum3(heat, sums, low, high, strides[axis])
            heat, sums = sums, heat
        _sum3_inside(heat, sums, inside, low + 1, high - 1)
        heat, sums = sums, heat
    return heat


@njit(cache=True, nogil=True)
def _with_four(
    heat: NDArray[np.float64],
    sums: NDArray[np.float64],
    span: tuple[int, int],
    offsets: NDArray[np.int64],
) -> None:
    """Sum of the heat of each voxel and of those at four ``offsets``, added in that order."""
    low, length = span
    one, two = heat[low + offsets[0] :], heat[low + offsets[1] :]
    three, four = heat[low + offsets[2] :], heat[low + offsets[3] :]
    here, out = heat[low:], sums[low:]
    for i in range(length):
        out[i] = here[i] + one[i] + two[i] + three[i] + four[i]


@njit(cache=True, nogil=True)
def _mean_with_four(
    heat: NDArray[np.float64],
    sums: NDArray[np.float64],
    inside: NDArray[np.float64],
    span: tuple[int, int],
    offsets: NDArray[np.int64],
    count: int,
) -> None:
    """Add four more, then take the mean of ``count`` inside the object, 0 elsewhere."""
    low, length = span
    one, two = heat[low + offsets[0] :], heat[low + offsets[1] :]
    three, four = heat[low + offsets[2] :], heat[low + offsets[3] :]
    out, weight = sums[low:], inside[low:]
    for i in range(length):
        mean = (out[i] + one[i] + two[i] + three[i] + four[i]) / count
        out[i] = mean if weight[i] > 0 else 0.0


@njit(cache=True, nogil=True)
def _heat_in_order(
    inside: NDArray[np.float64], offsets: NDArray[np.int64], source: int, steps: int
) -> NDArray[np.float64]:
    """The same with the mean over the voxels at ``offsets``, added in their order.

    Rounding then equals the published programs': where a symmetric object has no slope, their
    direction is the sign of a rounding error. The first of the ``offsets`` is 0, and they are 9 at
    most, as up to four axes have: four are added in a pass over the box, which takes half the time
    of two.
    """
    size, count = len(inside), len(offsets)
    reach = np.abs(offsets).max()
    span = (reach, size - 2 * reach)
    # Offsets that are missing lead behind the box, where it is always cold
    others = np.full(8, size, np.int64)
    others[: count - 1] = offsets[1:]
    heat = np.zeros(2 * size, np.float64)
    sums = np.zeros(2 * size, np.float64)
    for _ in range(steps):
        heat[source] += 1.0
        _with_four(heat, sums, span, others[:4])
        _mean_with_four(heat, sums, inside, span, others[4:], count)
        heat, sums = sums, heat
    return heat


@njit(cache=True, nogil=True)
def _load(
    labels: NDArray[np.int32],
    shape: NDArray[np.int64],
    ident: int,
    box: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where the object is in its padded box (1 / 3^n there, 0 elsewhere), and the box's strides."""
    ndim = len(shape)
    lengths = box[1] - box[0]
    strides = box_strides(lengths, 1)
    whole = box_strides(shape, 0)
    ones = np.ones(ndim, np.int64)
    inside = np.zeros(strides[0] * (lengths[0] + 2), np.float64)
    share = 1.0 / 3.0**ndim
    for row in range(row_count(lengths)):
        there = row_start(row, lengths, whole, box[0])
        base = row_start(row, lengths, strides, ones)
        for i in range(lengths[ndim - 1]):
            if labels[there + i] == ident:
                inside[base + i] = share
    return inside, strides


@njit(cache=True, nogil=True)
def spread(
    labels: NDArray[np.int32],
    shape: NDArray[np.int64],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int64],
    centers: NDArray[np.float64],
    steps: int,
    order: NDArray[np.int64],
    heat: NDArray[np.float64],
) -> None:
    """Write the heat of every object after ``steps`` steps into ``heat`` (flat, like ``labels``).

    ``order`` ``(neighbors, ndim)``: offsets of the voxels of a mean, in the order of the sum.
    """
    whole = box_strides(shape, 0)
    ones = np.ones(len(shape), np.int64)
    offsets = np.zeros(len(order), np.int64)
    for k in range(len(ids)):
        inside, strides = _load(labels, shape, ids[k], boxes[k])
        lengths = boxes[k, 1] - boxes[k, 0]
        source = _source(inside, lengths, strides, centers[k] - boxes[k, 0])
        for i in range(len(order)):
            offsets[i] = (order[i] * strides).sum()
        warm = _heat_in_order(inside, offsets, source, steps)
        for row in range(row_count(lengths)):
            there = row_start(row, lengths, whole, boxes[k, 0])
            base = row_start(row, lengths, strides, ones)
            for i in range(lengths[-1]):
                if inside[base + i] > 0:
                    heat[there + i] = warm[base + i]


@njit(cache=True, nogil=True)
def _unit(
    heat: NDArray[np.float64],
    index: int,
    strides: NDArray[np.int64],
    flow: NDArray[np.float64],
) -> None:
    """Unit gradient of ``heat`` at one voxel, into ``flow``.

    Where the gradient is rounding noise (the middle of a symmetric object) it has no direction and
    is zero.
    """
    norm = 0.0
    for axis in range(len(strides)):
        slope = heat[index + strides[axis]] - heat[index - strides[axis]]
        flow[axis] = slope
        norm += slope * slope
    norm = np.sqrt(norm)
    factor = 1.0 / norm if norm > 1e-12 * heat[index] and norm > 0 else 0.0
    for axis in range(len(strides)):
        flow[axis] *= factor


@njit(cache=True, nogil=True)
def unit_fields(
    labels: NDArray[np.int32],
    shape: NDArray[np.int64],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int64],
    centers: NDArray[np.float64],
    steps: NDArray[np.int64],
    flows: NDArray[np.float32],
) -> None:
    """Write the unit field of every object into ``flows`` ``(ndim, voxels)``."""
    ndim = len(shape)
    whole = box_strides(shape, 0)
    ones = np.ones(ndim, np.int64)
    flow = np.zeros(ndim, np.float64)
    for k in range(len(ids)):
        inside, strides = _load(labels, shape, ids[k], boxes[k])
        lengths = boxes[k, 1] - boxes[k, 0]
        source = _source(inside, lengths, strides, centers[k] - boxes[k, 0])
        heat = _heat(inside, strides, source, steps[k])
        for row in range(row_count(lengths)):
            there = row_start(row, lengths, whole, boxes[k, 0])
            base = row_start(row, lengths, strides, ones)
            for i in range(lengths[ndim - 1]):
                if inside[base + i] > 0:
                    _unit(heat, base + i, strides, flow)
                    for axis in range(ndim):
                        flows[axis, there + i] = flow[axis]


@njit(cache=True, nogil=True)
def squared_distance(
    labels: NDArray[np.int32],
    flows: NDArray[np.float32],
    other: NDArray[np.float32],
    count: int,
) -> NDArray[np.float64]:
    """Squared distance of two fields ``(ndim, voxels)``, summed over the voxels of each id."""
    total = np.zeros(count, np.float64)
    for i in range(len(labels)):
        value = labels[i]
        if value > 0:
            for axis in range(flows.shape[0]):
                total[value] += (flows[axis, i] - other[axis, i]) ** 2
    return total
