"""Graph of regions: which fragments touch, and what the affinities between them are, n axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.labels.edges import Edges, inside, length, shift_slices

# Voxels that are looked at at a time.
_BLOCK = 2048


@dataclass(frozen=True)
class Regions:
    """Edges between regions, sorted by their lower and then by their higher region.

    Attributes:
        pairs: ``(e, 2)`` ids, the lower first.
        mean: ``(e,)`` mean affinity of the voxel edges between the two.
        count: ``(e,)`` number of voxel edges.
        highest: ``(e,)`` largest affinity.
        touching: ``(e,)`` whether the two have a common face.
    """

    pairs: NDArray[np.int64]
    mean: NDArray[np.float64]
    count: NDArray[np.float64]
    highest: NDArray[np.float64]
    touching: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pairs)


def region_graph(
    labels: NDArray[np.int32], edges: Edges, channels: Sequence[int] | None = None
) -> Regions:
    """Edges of the regions of ``labels``; background 0 has none.

    Args:
        labels: ``(*space)`` ids from 1, small: tables are as long as the largest.
        edges: affinities of the same image.
        channels: those that count; None: the ones to face neighbors.
    """
    table = np.zeros((1 << 10, 5), np.float64)
    used = 0
    bound = int(labels.max(initial=0)) + 1
    for channel in edges.near if channels is None else channels:
        offset = edges.offsets[channel]
        if inside(offset, edges.space):
            views = _along(labels, edges.values[channel], offset)
            table, used = _collect(*views, length(offset) == 1, bound, table, used)
    found = table[table[:, 0] > 0]
    found = found[np.argsort(found[:, 0])]
    key = found[:, 0].astype(np.int64)
    return Regions(
        pairs=np.stack([key // bound, key % bound], 1),
        mean=found[:, 1] / found[:, 2],
        count=found[:, 2],
        highest=found[:, 3],
        touching=found[:, 4] > 0,
    )


@njit(cache=True, nogil=True)
def _slot(table: NDArray[np.float64], key: int) -> int:
    """Row of ``key`` in an open-addressing table, or the free row it would take."""
    last = len(table) - 1
    # Multiplies both halves of the key, so that the products stay within 64 bits.
    row: int = ((key & 0x7FFFFFFF) * 0x2545F491 ^ (key >> 31) * 0x1B873593) >> 7 & last
    while table[row, 0] != 0 and table[row, 0] != key:
        row = (row + 1) & last
    return row


def _along(
    labels: NDArray[np.int32], values: NDArray[np.float32], offset: Sequence[int]
) -> tuple[NDArray[np.int32], NDArray[np.float32], int, int]:
    """Labels and values in lines, the step to the neighbor in a line, where values begin."""
    axes = np.flatnonzero(offset)
    if len(axes) == 1:
        # A line holds the axis and all faster ones, so that the step is the same everywhere.
        axis = int(axes[0])
        step = offset[axis] * math.prod(labels.shape[axis + 1 :])
        shape = (math.prod(labels.shape[:axis]), -1)
        return labels.reshape(shape), values.reshape(shape), abs(step), max(0, -step)
    # Along several axes neighbors are picked out and laid one after the other.
    here, there = shift_slices(labels.shape, offset)
    pair = np.concatenate([labels[here].reshape(-1), labels[there].reshape(-1)])
    return pair[None], values[here].reshape(1, -1), len(pair) // 2, 0


@njit(cache=True, nogil=True)
def _collect(labels, values, step, begin, near, bound, table, used):  # pyright: ignore[reportMissingParameterType]
    """Add voxel edges to ``table``: rows of key, sum, number, maximum, number of faces."""
    key, place = -1, 0
    borders = np.empty(_BLOCK, np.int64)
    for line in range(labels.shape[0]):
        first, second, value = labels[line], labels[line, step:], values[line, begin:]
        for start in range(0, len(second), _BLOCK):
            # Borders are found first, without a branch that the processor would guess wrong.
            count = 0
            for k in range(start, min(start + _BLOCK, len(second))):
                borders[count] = k
                count += (first[k] != second[k]) & (first[k] != 0) & (second[k] != 0)
            for k in borders[:count]:
                pair = np.int64(min(first[k], second[k])) * bound + max(first[k], second[k])
                # Borders are met in runs.
                if pair != key:
                    if 2 * used >= len(table):
                        table = _grown(table)
                    key, place = pair, _slot(table, pair)
                    if table[place, 0] == 0:
                        table[place, 0] = key
                        used += 1
                table[place, 1] += value[k]
                table[place, 2] += 1
                table[place, 3] = max(table[place, 3], value[k])
                table[place, 4] += near
    return table, used


@njit(cache=True, nogil=True)
def _grown(table: NDArray[np.float64]) -> NDArray[np.float64]:
    larger = np.zeros((2 * len(table), 5), np.float64)
    for row in table:
        if row[0] != 0:
            larger[_slot(larger, np.int64(row[0]))] = row
    return larger
