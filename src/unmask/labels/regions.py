"""Graph of regions: which fragments touch, and what the affinities between them are, n axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.labels.edges import Edges, length, shifted


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
        channels: those that count; None: the ones to face neighbours.
    """
    table = np.zeros((1 << 10, 5), np.float64)
    used = 0
    bound = int(labels.max(initial=0)) + 1
    for channel in edges.near if channels is None else channels:
        offset = edges.offsets[channel]
        here, there = shifted(edges.space, offset)
        first, second = labels[here], labels[there]
        apart = (first != second) & (first != 0) & (second != 0)
        lower, upper = first[apart], second[apart]
        lower, upper = np.minimum(lower, upper), np.maximum(lower, upper)
        key = lower.astype(np.int64) * bound + upper
        near = length(offset) == 1
        table, used = _collect(key, edges.values[channel][here][apart], near, table, used)
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


@njit(cache=True, nogil=True)
def _collect(
    keys: NDArray[np.int64],
    values: NDArray[np.float32],
    near: bool,  # noqa: FBT001 - a compiled function takes its arguments by position
    table: NDArray[np.float64],
    used: int,
) -> tuple[NDArray[np.float64], int]:
    """Add voxel edges to ``table``: rows of key, sum, number, maximum, number of faces."""
    for i in range(len(keys)):
        if 2 * used >= len(table):
            larger = np.zeros((2 * len(table), 5), np.float64)
            for row in table:
                if row[0] != 0:
                    larger[_slot(larger, np.int64(row[0]))] = row
            table = larger
        row = table[_slot(table, keys[i])]
        if row[0] == 0:
            row[0] = keys[i]
            used += 1
        row[1] += values[i]
        row[2] += 1
        row[3] = max(row[3], values[i])
        if near:
            row[4] += 1
    return table, used
