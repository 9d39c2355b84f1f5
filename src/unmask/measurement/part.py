"""What one block knows of its objects, and how the knowledge of several blocks adds up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.measurement.compact import HALO, Block
from unmask.measurement.exact import group_sums
from unmask.measurement.hull import convex_sizes
from unmask.measurement.intensity import Values, scan_values
from unmask.measurement.moments import axis_pairs, scan
from unmask.measurement.perimeter import scan_borders
from unmask.measurement.windows import pattern_tables, scan_windows

# Number of axes whose objects have a surface of patterns; planes have a perimeter of steps.
_SURFACES = (3,)
_PERIMETERS = (2,)


@dataclass(frozen=True)
class Part:
    """Measurements of ``k`` objects in one block, or in all blocks together.

    Attributes:
        ids: ``(k,)`` ids.
        size: ``(k,)`` voxels; 0 for an object that only its neighbor block holds.
        start: ``(k, n)`` first voxel of the box in the image; likewise ``stop``.
        first: ``(k, n)`` sums of coordinates, counted from ``origin``.
        second: ``(k, n (n + 1) / 2)`` sums of products of these coordinates.
        origin: ``(k, n)`` voxel from which coordinates count.
        border: ``(k, b)`` Euler number times ``2^n``, then counts of steps (planes) or areas
            (volumes).
        convex: ``(k,)`` voxels in the convex hull of this part.
        pairs: ``(p, 2)`` ids of objects that touch.
        values: pixel values by channel, if there is an image.
        pieces: ``(k,)`` blocks that hold voxels of the object.
    """

    ids: NDArray[np.uint64]
    size: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    origin: NDArray[np.int64]
    border: NDArray[np.int64]
    convex: NDArray[np.int64]
    pairs: NDArray[np.uint64]
    values: Values | None
    pieces: NDArray[np.int64]

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.start.shape[1]


def measure_block(
    block: Block, channels: np.ndarray | None, spacing: tuple[float, ...] | None
) -> Part:
    """Measure every object of a block.

    Args:
        block: numbers with their halo.
        channels: pixel values ``(c, *core)``.
        spacing: voxel size, for surfaces of volumes.
    """
    ndim, count = len(block.core), block.count
    args = (block.flat, block.padded, block.core, HALO, count)
    size, start, stop, first, second = scan(*args)
    has_surface = ndim in _SURFACES
    spacings = [(1.0,) * ndim, *([spacing] if spacing else [])] if has_surface else []
    tables = pattern_tables([_relative(each) for each in spacings], ndim)
    border, keys = scan_windows(block.flat, block.padded, block.owned, HALO, tables, count)
    if ndim in _PERIMETERS:
        border = np.concatenate([border, scan_borders(*args)], 1)
    convex = convex_sizes(block.interior, start, stop)
    values = None if channels is None else scan_values(block, size, channels)
    keys = keys[keys > 0]
    keep = np.arange(1, count)
    return Part(
        ids=block.ids[keep],
        size=size[keep],
        start=start[keep] + block.origin,
        stop=stop[keep] + block.origin,
        first=first[keep],
        second=second[keep],
        origin=np.broadcast_to(block.origin, (len(keep), ndim)),
        border=border[keep],
        convex=convex[keep],
        pairs=np.stack([block.ids[keys // count], block.ids[keys % count]], 1),
        values=None if values is None else values.select(keep),
        pieces=(size[keep] > 0).astype(np.int64),
    )


def _relative(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Voxel size with the largest as 1, so that sums of areas fit whatever the unit is."""
    largest = max(spacing)
    return tuple(size / largest for size in spacing)


def combine(parts: Sequence[Part]) -> Part:
    """One row per object from the rows of all blocks, by ascending id.

    Sums of whole numbers are exact, so the result does not depend on the blocks. ``convex`` and
    medians hold only for objects in one piece.
    """
    ids, index = np.unique(np.concatenate([part.ids for part in parts]), return_inverse=True)
    order = np.argsort(index, kind="stable")
    begins = np.searchsorted(index[order], np.arange(len(ids)))

    def gather(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])[order]

    def total(rows: np.ndarray) -> np.ndarray:
        return np.add.reduceat(rows, begins, axis=0) if len(ids) else rows

    size, rows_first, rows_second = gather("size"), gather("first"), gather("second")
    start, stop = gather("start"), gather("stop")
    if len(ids):
        start = np.minimum.reduceat(start, begins, axis=0)
        stop = np.maximum.reduceat(stop, begins, axis=0)
    # Coordinates count from the box of the object, so that squares stay small.
    move = gather("origin") - start[index[order]]
    move[size == 0] = 0
    ndim = parts[0].ndim
    for column, (a, b) in enumerate(axis_pairs(ndim)):
        rows_second[:, column] += move[:, a] * rows_first[:, b] + move[:, b] * rows_first[:, a]
        rows_second[:, column] += size * move[:, a] * move[:, b]
    pairs = np.concatenate([part.pairs for part in parts])
    pairs.sort(axis=1)
    held = total(size) > 0
    combined = Part(
        ids=ids,
        size=total(size),
        start=start,
        stop=stop,
        first=total(rows_first + size[:, None] * move),
        second=total(rows_second),
        origin=start,
        border=total(gather("border")),
        convex=total(gather("convex")),
        pairs=np.unique(pairs, axis=0),
        values=_combined_values(parts, index, len(ids)),
        pieces=total(gather("pieces")),
    )
    if not held.all():  # pragma: no cover - every halo voxel is the core of another block
        raise AssertionError("an object without voxels")
    return combined


def _combined_values(parts: Sequence[Part], index: np.ndarray, count: int) -> Values | None:
    values = [part.values for part in parts if part.values is not None]
    if not values:
        return None
    held = np.concatenate([part.size for part in parts]) > 0
    low = np.concatenate([each.low for each in values])
    high = np.concatenate([each.high for each in values])
    channels = low.shape[1]
    lowest, highest = np.full((count, channels), np.inf), np.full((count, channels), -np.inf)
    median = np.zeros((count, channels))
    np.minimum.at(lowest, index[held], low[held])
    np.maximum.at(highest, index[held], high[held])
    median[index[held]] = np.concatenate([each.median for each in values])[held]
    sums = group_sums(index, count, *np.concatenate([each.sums for each in values], 1))
    squares = group_sums(index, count, *np.concatenate([each.squares for each in values], 1))
    return Values(np.stack(sums), np.stack(squares), lowest, highest, median)
