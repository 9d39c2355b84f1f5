"""Second look at objects in several blocks, for what no sum can tell: hull and median.

Each object is read again from its bounding box, in blocks, so memory stays bounded by one block and
one object; a median of more values than that is found by narrowing a histogram down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from unmask.measurement.hull import count_inside, extreme_points
from unmask.space.box import Box, tiles

# Values of one object and channel that are kept at a time.
_KEPT = 2**24
_BINS = 2**16

# Gives the values of one object, a piece at a time; it may be asked again.
Pieces = Callable[[], Iterator[np.ndarray]]


def look_again(
    read: Callable[[Box], np.ndarray], bounds: Box, key: int, block: Sequence[int]
) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """Boxes of at most ``block`` voxels per axis that hold voxels of object ``key``, with masks."""
    for tile in tiles(bounds.shape, block, (0,) * len(block)):
        box = tile.write.shift(bounds.start)
        mask = read(box) == key
        if mask.any():
            yield box, mask


def convex_size(pieces: Iterator[tuple[Box, NDArray[np.bool_]]]) -> int:
    """Voxels in the convex hull of an object in pieces."""
    corners = []
    for box, mask in pieces:
        start = np.zeros((2, mask.ndim), np.int64)
        stop = np.array([[0] * mask.ndim, mask.shape], np.int64)
        points, _ = extreme_points(mask.astype(np.int32), start, stop)
        corners.append(points + np.array(box.start))
    points = np.concatenate(corners)
    return int(count_inside(points, np.array([0, len(points)]))[0])


def median(pieces: Pieces, count: int, kept: int = _KEPT) -> float:
    """Median of ``count`` values given piece by piece.

    With more values than ``kept`` the pieces are asked several times: each pass divides the range
    that holds the middle into 2^16 parts and continues with one of them.
    """
    ranks = sorted({(count - 1) // 2, count // 2})
    found = [_ranked(pieces, rank, count, kept) for rank in ranks]
    return float(np.mean(found))


def _ranked(pieces: Pieces, rank: int, count: int, kept: int) -> float:
    low, high = 0, 2**64 - 1
    while count > kept and high > low:
        step = (high - low) // _BINS + 1
        histogram = np.zeros(_BINS, np.int64)
        for values in pieces():
            codes = _codes(values)
            codes = codes[(codes >= np.uint64(low)) & (codes <= np.uint64(high))]
            bins = ((codes - np.uint64(low)) // np.uint64(step)).astype(np.int64)
            histogram += np.bincount(bins, minlength=_BINS)
        place = int(np.searchsorted(np.cumsum(histogram), rank, side="right"))
        rank -= int(histogram[:place].sum())
        count = int(histogram[place])
        low, high = low + place * step, min(high, low + (place + 1) * step - 1)
    collected = []
    for values in pieces():
        codes = _codes(values)
        inside = (codes >= np.uint64(low)) & (codes <= np.uint64(high))
        # All values of a range of one code are equal.
        collected.append(values[inside] if high > low else values[inside][:1])
    values = np.concatenate(collected).astype(np.float64)
    return float(values[0] if high == low else np.partition(values, rank)[rank])


def _codes(values: np.ndarray) -> NDArray[np.uint64]:
    """Whole numbers in the order of the values, as IEEE 754 orders its bits."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)
    negative = bits >> np.uint64(63) == 1
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))
