"""Sums, extremes and medians of pixel values by object, one channel at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.measurement.compact import HALO, Block
from unmask.measurement.exact import add, as_pairs, multiply


@dataclass(frozen=True)
class Values:
    """What is known of the values of ``k`` objects in ``c`` channels; all ``(k, c)``.

    Attributes:
        sums: ``(2, k, c)`` high and low part, see `unmask.measurement.exact`.
        squares: ``(2, k, c)`` of the sum of squares.
        low: smallest value; likewise ``high``.
        median: of the voxels in this block.
    """

    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    median: NDArray[np.float64]

    def select(self, keep: np.ndarray) -> Values:
        """The objects at ``keep``."""
        return Values(
            self.sums[:, keep],
            self.squares[:, keep],
            self.low[keep],
            self.high[keep],
            self.median[keep],
        )


def scan_values(block: Block, size: NDArray[np.int64], channels: np.ndarray) -> Values:
    """Values by number of the voxels ``(c, *core)`` of a block."""
    starts = np.concatenate([[0], np.cumsum(size)])
    shape = (block.count, len(channels))
    found = Values(
        np.zeros((2, *shape)), np.zeros((2, *shape)), np.zeros(shape), np.zeros(shape),
        np.zeros(shape),
    )  # fmt: skip
    for c, channel in enumerate(channels):
        plain = np.ascontiguousarray(_supported(channel)).reshape(-1)
        values = np.empty(starts[-1], plain.dtype)
        args = (block.flat, block.padded, block.core, HALO, plain, starts, values)
        if plain.dtype.kind in "ui":
            sums, squares, low, high = _scan_whole(*args)
            median = whole_medians(values, starts, low, high)
            found.sums[:, :, c] = as_pairs(sums)
            found.squares[:, :, c] = as_pairs(squares)
        else:
            sums, squares, low, high = _scan_float(*args)
            median = medians(values, starts)
            found.sums[:, :, c], found.squares[:, :, c] = sums.T, squares.T
        # A value that is not a number makes all statistics of its object undefined.
        undefined = np.isnan(found.sums[0, :, c])
        for column, result in ((found.low, low), (found.high, high), (found.median, median)):
            column[:, c] = np.where(undefined, np.nan, result)
    return found


def _supported(channel: np.ndarray) -> np.ndarray:
    """The same values in a type that the kernels are compiled for.

    Whole numbers of more than 16 bits become float64, exact up to 2^53.
    """
    if channel.dtype.kind == "b":
        return channel.astype(np.uint8)
    small = channel.dtype.kind in "ui" and channel.dtype.itemsize <= 2
    if small or channel.dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        return channel
    return channel.astype(np.float64)


@njit(cache=True, nogil=True)
def _rows(core):  # pyright: ignore[reportMissingParameterType]
    rows = 1
    for axis in range(core.size - 1):
        rows *= core[axis]
    return rows


@njit(cache=True, nogil=True)
def _offset(r, padded, core, halo):  # pyright: ignore[reportMissingParameterType]
    """Flat index in the padded block of the first core voxel of row ``r``."""
    offset, stride, rest = halo, padded[core.size - 1], r
    for axis in range(core.size - 2, -1, -1):
        offset += (rest % core[axis] + halo) * stride
        rest //= core[axis]
        stride *= padded[axis]
    return offset


@njit(cache=True, nogil=True)
def _scan_whole(flat, padded, core, halo, channel, starts, values):  # pyright: ignore[reportMissingParameterType]
    """Whole numbers of at most 16 bits: exact in 64. ``values`` gets the values by object."""
    count, width = starts.size - 1, core[core.size - 1]
    sums, squares = np.zeros(count, np.int64), np.zeros(count, np.int64)
    low = np.full(count, np.int64(2) ** 40)
    high = np.full(count, -(np.int64(2) ** 40))
    place = starts.copy()
    for r in range(_rows(core)):
        row = flat[_offset(r, padded, core, halo) :][:width]
        line = channel[r * width :][:width]
        at = 0
        while at < width:
            begin, k = at, row[at]
            while at < width and row[at] == k:
                at += 1
            if k == 0:
                continue
            total, square, least, most = 0, 0, low[k], high[k]
            target = values[place[k] :]
            for x in range(begin, at):
                value = np.int64(line[x])
                total += value
                square += value * value
                least, most = min(least, value), max(most, value)
                target[x - begin] = line[x]
            place[k] += at - begin
            sums[k] += total
            squares[k] += square
            low[k], high[k] = least, most
    return sums, squares, low, high


@njit(cache=True, nogil=True)
def _scan_float(flat, padded, core, halo, channel, starts, values):  # pyright: ignore[reportMissingParameterType]
    """Floating-point numbers: sums and squares ``(count, 2)`` as pairs."""
    count, width = starts.size - 1, core[core.size - 1]
    sums, squares = np.zeros((count, 2)), np.zeros((count, 2))
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    place = starts.copy()
    for r in range(_rows(core)):
        row = flat[_offset(r, padded, core, halo) :][:width]
        line = channel[r * width :][:width]
        for x in range(width):
            k = row[x]
            if k == 0:
                continue
            value = np.float64(line[x])
            sums[k, 0], sums[k, 1] = add(sums[k, 0], sums[k, 1], value)
            product, error = multiply(value, value)
            a, b = add(squares[k, 0], squares[k, 1], product)
            squares[k, 0], squares[k, 1] = add(a, b, error)
            low[k], high[k] = min(low[k], value), max(high[k], value)
            values[place[k]] = line[x]
            place[k] += 1
    return sums, squares, low, high


@njit(cache=True, nogil=True)
def whole_medians(values, starts, low, high):  # pyright: ignore[reportMissingParameterType]
    """As `medians`, of whole numbers with known extremes: counted where the range is small.

    Counting is 2 to 3 times faster than selecting up to some 8 bins per value.
    """
    found = np.full(starts.size - 1, np.nan)
    bins = np.empty(1 << 16, np.int32)
    for k in range(found.size):
        piece = values[starts[k] : starts[k + 1]]
        if piece.size == 0:
            continue
        width, half = high[k] - low[k] + 1, piece.size // 2
        if width > 8 * piece.size:
            found[k] = _middle(piece)
            continue
        bins[:width] = 0
        for value in piece:
            bins[np.int64(value) - low[k]] += 1
        total, place = 0, -1
        while total <= (piece.size - 1) // 2:
            place += 1
            total += bins[place]
        lower = place
        while total <= half:
            place += 1
            total += bins[place]
        found[k] = low[k] + (lower + place) / 2
    return found


@njit(cache=True, nogil=True)
def medians(values, starts):  # pyright: ignore[reportMissingParameterType]
    """Median of every piece of ``values``, which are put in another order; NaN for none."""
    found = np.full(starts.size - 1, np.nan)
    for k in range(found.size):
        piece = values[starts[k] : starts[k + 1]]
        if piece.size == 0:
            continue
        found[k] = _middle(piece)
    return found


@njit(cache=True, nogil=True)
def _middle(piece):  # pyright: ignore[reportMissingParameterType]
    half = piece.size // 2
    _select(piece, half)
    upper = np.float64(piece[half])
    if piece.size % 2 == 1:
        return upper
    # All below the middle are no larger; the largest of them is the lower middle.
    return (np.float64(piece[:half].max()) + upper) / 2


@njit(cache=True, nogil=True)
def _select(values, k):  # pyright: ignore[reportMissingParameterType]
    """Put the k-th smallest value at its place, smaller ones before and larger ones after it."""
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return
