"""Euler number, surface and touching objects from windows of two voxels along every axis.

Each corner of the voxel grid has a window, the ``2^n`` voxels around it. What an object has in a
window is one of ``2^(2^n)`` patterns; Euler number and surface are sums over patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit

# Areas of patterns are whole multiples of this part of a voxel face, so that their sum does not
# depend on the order of the blocks.
AREA_UNIT = 2.0**-30


@lru_cache
def euler_patterns(ndim: int) -> NDArray[np.int64]:
    """``2^n`` times what every pattern adds to the Euler number, full connectivity.

    An object is the union of its closed voxels: corners minus edges plus faces minus cubes. A cell
    of ``d`` dimensions has ``2^d`` corners, so each corner counts that share of it.
    """
    voxels = list(product((0, 1), repeat=ndim))
    patterns = np.arange(1 << len(voxels))
    total = np.zeros(len(patterns), np.int64)
    for cell in product((0, 1, None), repeat=ndim):
        around = sum(
            1 << bit
            for bit, voxel in enumerate(voxels)
            if all(side in (None, of) for side, of in zip(cell, voxel, strict=True))
        )
        dimension = sum(side is not None for side in cell)
        total += (-1) ** dimension * 2 ** (ndim - dimension) * ((patterns & around) > 0)
    return total


@lru_cache
def area_patterns(spacing: tuple[float, ...]) -> NDArray[np.int64]:
    """Area of every pattern of a volume in ``AREA_UNIT``, as marching cubes draw it at 0.5."""
    # Here, because only volumes need it and the import takes a third of a second.
    from skimage.measure import marching_cubes, mesh_surface_area

    areas = np.zeros(256)
    for pattern in range(1, 255):
        bits = (pattern >> np.arange(8)) & 1
        cube = bits.reshape(2, 2, 2).astype(np.float32)
        corners, faces, *_ = marching_cubes(cube, 0.5)
        # Corners are halves, exact in float32; scaled ones are not.
        areas[pattern] = mesh_surface_area(corners.astype(np.float64) * spacing, faces)
    return np.rint(areas / AREA_UNIT).astype(np.int64)


def pattern_tables(spacings: Sequence[tuple[float, ...]], ndim: int) -> NDArray[np.int64]:
    """Tables of what patterns add, one row each: Euler number, then the area by each spacing."""
    return np.stack([euler_patterns(ndim), *map(area_patterns, spacings)])


@njit(cache=True, nogil=True)
def scan_windows(flat, padded, owned, halo, tables, count):  # pyright: ignore[reportMissingParameterType]
    """Sums of ``tables`` by number ``(count, len(tables))``, and the pairs that touch.

    Pairs are keys ``lower * count + higher`` in a table with free rows of 0.
    """
    ndim = owned.size
    half = 1 << (ndim - 1)
    sums = np.zeros((count, tables.shape[0]), np.int64)
    pairs, used = np.zeros(4096, np.int64), 0
    values = np.zeros(2 * half, np.int32)
    shift = _row_shifts(padded)
    width, rows = owned[ndim - 1], 1
    for axis in range(ndim - 1):
        rows *= owned[axis]
    mixed = np.zeros(width + 1, np.bool_)
    recent = np.zeros(2 * half * half, np.int64)
    for r in range(rows):
        low = _corner(r, padded, owned, halo)
        # One step left of the first corner, so that entry x is the left side of window x.
        base = flat[low:][: width + 1]
        mixed[:] = False
        for k in range(1, half):
            other = flat[low + shift[k] :][: width + 1]
            for x in range(width + 1):
                mixed[x] |= other[x] != base[x]
        for x in range(width):
            if not (mixed[x] or mixed[x + 1] or base[x] != base[x + 1]):
                continue
            for k in range(half):
                values[2 * k] = flat[low + shift[k] + x]
                values[2 * k + 1] = flat[low + shift[k] + x + 1]
            _add_patterns(values, tables, sums)
            if 2 * (used + values.size * half) >= pairs.size:
                pairs = _grown(pairs)
            used += _add_pairs(values, pairs, count, recent)
    return sums, pairs


@njit(cache=True, nogil=True)
def _add_patterns(values, tables, sums):  # pyright: ignore[reportMissingParameterType]
    for i in range(values.size):
        value = values[i]
        if value == 0:
            continue
        pattern, first = 0, True
        for j in range(values.size):
            if values[j] == value:
                first = first and j >= i
                pattern |= 1 << j
        if first:
            for t in range(tables.shape[0]):
                sums[value, t] += tables[t, pattern]


@njit(cache=True, nogil=True)
def _add_pairs(values, pairs, count, recent):  # pyright: ignore[reportMissingParameterType]
    """Number of new pairs; ``recent`` remembers the last pair by place, as borders come in runs."""
    new, last = 0, pairs.size - 1
    for i in range(values.size):
        for j in range(i + 1, values.size):
            a, b = min(values[i], values[j]), max(values[i], values[j])
            if a == 0 or a == b:
                continue
            key = np.int64(a) * count + b
            memory = (i * values.size + j) & (recent.size - 1)
            if recent[memory] == key:
                continue
            recent[memory] = key
            row = _slot(pairs, key, last)
            if pairs[row] == 0:
                pairs[row] = key
                new += 1
    return new


@njit(cache=True, nogil=True)
def _slot(pairs, key, last):  # pyright: ignore[reportMissingParameterType]
    row = ((key * 0x2545F4914F6CDD1D) >> 20) & last
    while pairs[row] != 0 and pairs[row] != key:
        row = (row + 1) & last
    return row


@njit(cache=True, nogil=True)
def _grown(pairs):  # pyright: ignore[reportMissingParameterType]
    larger = np.zeros(2 * pairs.size, np.int64)
    for key in pairs:
        if key != 0:
            larger[_slot(larger, key, larger.size - 1)] = key
    return larger


@njit(cache=True, nogil=True)
def _row_shifts(padded):  # pyright: ignore[reportMissingParameterType]
    """Steps from the lowest row of a window to each of its rows, in C order."""
    ndim = padded.size
    shift = np.zeros(1 << (ndim - 1), np.int64)
    stride = padded[ndim - 1]
    for bit in range(ndim - 1):
        for k in range(shift.size):
            if (k >> bit) & 1:
                shift[k] += stride
        stride *= padded[ndim - 2 - bit]
    return shift


@njit(cache=True, nogil=True)
def _corner(r, padded, owned, halo):  # pyright: ignore[reportMissingParameterType]
    """Flat index of the voxel below the first corner of row ``r`` along every axis."""
    ndim = owned.size
    offset, stride, rest = halo - 1, padded[ndim - 1], r
    for axis in range(ndim - 2, -1, -1):
        offset += (rest % owned[axis] + halo - 1) * stride
        rest //= owned[axis]
        stride *= padded[axis]
    return offset
