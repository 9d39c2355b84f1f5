"""From ids of any size, with gaps, to consecutive numbers inside one block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.space.box import Box

# The perimeter of a pixel depends on pixels up to two steps away, everything else on less.
HALO = 2


@dataclass(frozen=True)
class Block:
    """Consecutive numbers of a block and of the ``HALO`` voxels around it.

    Attributes:
        flat: numbers of ``padded`` voxels, flat; 0 is background and outside of the image.
        padded: ``(n,)`` shape with the halo on both sides.
        core: ``(n,)`` shape without the halo.
        owned: ``(n,)`` corners of voxels that belong to this block: one more than voxels where the
            block ends with the image.
        ids: ``(k,)`` id of number ``k``; entry 0 stands for the background.
        origin: ``(n,)`` first voxel of the core in the image.
    """

    flat: NDArray[np.int32]
    padded: NDArray[np.int64]
    core: NDArray[np.int64]
    owned: NDArray[np.int64]
    ids: NDArray[np.uint64]
    origin: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Length of tables by number."""
        return len(self.ids)

    @property
    def interior(self) -> NDArray[np.int32]:
        """The numbers of the core, a view ``(*core)``."""
        inner = tuple(slice(HALO, HALO + int(n)) for n in self.core)
        return self.flat.reshape(self.padded)[inner]


def halo_box(core: Box, shape: tuple[int, ...]) -> Box:
    """What has to be read to measure ``core`` of an image of ``shape``."""
    return core.grow((HALO,) * len(shape)).clip(Box.of(shape))


def number_block(labels: np.ndarray, read: Box, core: Box, shape: tuple[int, ...]) -> Block:
    """Number the objects of a block in the order of their first voxel.

    Args:
        labels: unsigned ids of ``read``, C-contiguous.
        read: the box of ``labels``, as `halo_box` gives it.
        core: the box to measure.
        shape: of the whole image.
    """
    numbers, ids = _numbered(np.ascontiguousarray(labels).reshape(-1))
    outer = core.grow((HALO,) * len(shape))
    padded = np.zeros(outer.shape, np.int32)
    padded[read.relative_to(outer).slices] = numbers.reshape(labels.shape)
    at_end = np.array(core.stop) == np.array(shape)
    return Block(
        flat=padded.reshape(-1),
        padded=np.array(outer.shape, np.int64),
        core=np.array(core.shape, np.int64),
        owned=np.array(core.shape, np.int64) + at_end,
        ids=ids,
        origin=np.array(core.start, np.int64),
    )


@njit(cache=True, nogil=True)
def _numbered(flat):  # pyright: ignore[reportMissingParameterType]
    """Number of every voxel, and the id of every number; one look-up per run of equal ids."""
    numbers = np.zeros(flat.size, np.int32)
    ids = np.zeros(2049, np.uint64)
    keys = np.zeros(4096, np.uint64)
    values = np.zeros(4096, np.int32)
    used, at = 1, 0
    while at < flat.size:
        value, start = flat[at], at
        while at < flat.size and flat[at] == value:
            at += 1
        if value == 0:
            continue
        if 2 * used >= keys.size:
            ids, keys, values = _grown(ids, keys, used)
        row = _slot(keys, np.uint64(value))
        if keys[row] == 0:
            keys[row], values[row] = value, used
            ids[used] = value
            used += 1
        numbers[start:at] = values[row]
    return numbers, ids[:used].copy()


@njit(cache=True, nogil=True)
def _slot(keys, key):  # pyright: ignore[reportMissingParameterType]
    """Row of ``key`` in an open-addressing table, or the free row it would take."""
    last = np.uint64(keys.size - 1)
    row = ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)) & last
    while keys[row] != 0 and keys[row] != key:
        row = (row + np.uint64(1)) & last
    return row


@njit(cache=True, nogil=True)
def _grown(ids, keys, used):  # pyright: ignore[reportMissingParameterType]
    """The same tables, twice as long."""
    larger = np.zeros(2 * keys.size, np.uint64)
    moved = np.zeros(2 * keys.size, np.int32)
    longer = np.zeros(larger.size // 2 + 1, np.uint64)
    longer[:used] = ids[:used]
    for number in range(1, used):
        row = _slot(larger, longer[number])
        larger[row], moved[row] = longer[number], number
    return longer, larger, moved
