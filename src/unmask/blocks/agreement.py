"""Whether blocks agree on the objects that they share.

Every block labels more than it writes. An object with voxels in the write boxes of several blocks
has been labeled by each of them. If all of them found exactly the same voxels, its parts are one
object. Otherwise the halo was too small for it: the object leaves what a block reads, or depends on
what lies outside. Such objects are joined by their footprints (`unmask.labels.stitch`) and counted
as doubtful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.blocks.grid import Grid
from unmask.labels.objects import find_objects
from unmask.labels.relabeling import compact
from unmask.labels.stitch import digests
from unmask.space.box import Box, Tile


@dataclass(frozen=True)
class Shared:
    """The objects of one block that reach into what other blocks write.

    Attributes:
        ids: ``(k,)`` of this block.
        digest: ``(k,)`` see ``digests``.
        boxes: ``(k, 2, ndim)`` first and one past the last voxel in the volume, as the block sees
            them.
        cut: ``(k,)`` whether the object continues where the block's halo ends.
        touches: ``(t, 2)`` position in ``ids``, number of the other block.
    """

    ids: NDArray[np.int64]
    digest: NDArray[np.uint64]
    boxes: NDArray[np.int64]
    cut: NDArray[np.bool_]
    touches: NDArray[np.int64]

    def arrays(self) -> dict[str, np.ndarray]:
        """What is kept of a block, by name."""
        return {f"shared.{name}": value for name, value in vars(self).items()}

    def toward(self, number: int) -> NDArray[np.int64]:
        """Positions of the objects that reach into block ``number``."""
        return self.touches[self.touches[:, 1] == number, 0]


# Names of the arrays of `Shared` in the file of a block.
ARRAYS = tuple(f"shared.{name}" for name in Shared.__dataclass_fields__)


def find_shared(labels: np.ndarray, grid: Grid, number: int) -> Shared:
    """The shared objects of a block.

    Args:
        labels: ``(*read)`` labels of the block with its halo.
        grid: the blocks.
        number: of the block.
    """
    tile, top = grid.tile(number), int(labels.max(initial=0))
    own = _find_present(labels, tile.write.relative_to(tile.read), top)
    touches: list[tuple[int, int]] = []
    shared = np.zeros(top + 1, bool)
    for other in grid.around(number):
        part = grid.tile(other).write.clip(tile.read).relative_to(tile.read)
        both = own & _find_present(labels, part, top)
        shared |= both
        touches += [(int(each), other) for each in np.flatnonzero(both)]
    cut = own & _find_at_ends(labels, tile, grid.space, top)
    ids = np.flatnonzero(shared | cut)
    wanted = np.zeros(top + 1, bool)
    wanted[ids] = True
    objects = find_objects(compact(np.where(wanted[labels], labels, 0)))
    boxes = np.stack([objects.start, objects.stop], axis=1) + np.array(tile.read.start)
    place = np.zeros(top + 1, np.int64)
    place[ids] = np.arange(len(ids))
    table = np.array(touches, np.int64).reshape(-1, 2)
    table[:, 0] = place[table[:, 0]]
    digest = digests(labels, ids, tile.read.start, grid.space)
    return Shared(ids, digest, boxes.astype(np.int64), cut[ids], table)


@dataclass(frozen=True)
class Verdict:
    """What two blocks say of the objects between them.

    Attributes:
        blocks: both numbers.
        same: ``(n, 2)`` ids here and there of objects of exactly the same voxels.
        other: for each block the ids of objects that the other one does not have like that.
    """

    blocks: tuple[int, int]
    same: NDArray[np.int64]
    other: tuple[NDArray[np.int64], NDArray[np.int64]]


def compare(blocks: tuple[int, int], here: Shared, there: Shared) -> Verdict:
    """Compare the objects that both blocks write a part of, as either of them sees it."""
    first, second = here.toward(blocks[1]), there.toward(blocks[0])
    _, one, two = np.intersect1d(
        here.digest[first], there.digest[second], assume_unique=True, return_indices=True
    )
    same = np.stack([here.ids[first[one]], there.ids[second[two]]], axis=1)
    rest = here.ids[np.delete(first, one)], there.ids[np.delete(second, two)]
    return Verdict(blocks, same, rest)


def _find_present(labels: np.ndarray, box: Box, top: int) -> NDArray[np.bool_]:
    """Whether each id other than 0 is in a box."""
    found = np.zeros(top + 1, bool)
    found[labels[box.slices]] = True
    found[0] = False
    return found


def _find_at_ends(
    labels: np.ndarray, tile: Tile, space: Sequence[int], top: int
) -> NDArray[np.bool_]:
    """Whether each id continues where the halo ends, at borders of what is read in the volume."""
    found = np.zeros(top + 1, bool)
    for axis, size in enumerate(space):
        if tile.read.start[axis] > 0:
            found[labels.take(0, axis)] = True
        if tile.read.stop[axis] < size:
            found[labels.take(-1, axis)] = True
    found[0] = False
    return found
