"""How a volume is cut into blocks: their grid, what each reads, what that takes.

Every block reads the windows of the whole image that it needs, at the places they have there, so
its scores are those of the whole image and do not depend on the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from unmask.infer.tiles import Tiling
from unmask.space.box import Box, Tile

if TYPE_CHECKING:
    from unmask.infer.predictor import Predictor
    from unmask.io import Image

# Scores of an image from which on it is predicted in blocks.
LARGE = 512 << 20
# Voxels on each side of a face that both blocks compare; see ``labels.stitch``.
_SLAB = 2
# What an automatic block may take, in bytes.
_BUDGET = 1 << 30
# The network seeing a voxel more often than this costs more than keeping the scores on the disk.
_PASSES = 2.0
# Automatic blocks are multiples of this, so that chunks and tiles of files fit.
_UNIT = 64
# Bytes a voxel that decoding takes beside the scores: field, labels, paths; measured for flows.
_DECODING = 32
_DECODING_AXIS = 12


@dataclass(frozen=True)
class Grid:
    """Blocks in C order; their write boxes partition the volume.

    Attributes:
        space: voxels of the volume.
        block: voxels of a block; the last one of an axis may be smaller.
        halo: voxels around a block that decoding needs; 0: labels mean the same in all blocks.
    """

    space: tuple[int, ...]
    block: tuple[int, ...]
    halo: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along every axis."""
        return tuple(ceil(n / b) for n, b in zip(self.space, self.block, strict=True))

    def __len__(self) -> int:
        return prod(self.counts)

    def tile(self, number: int) -> Tile:
        """What block ``number`` writes, and that with its halo, both inside the volume."""
        cell = np.unravel_index(number, self.counts)
        start = tuple(int(i) * b for i, b in zip(cell, self.block, strict=True))
        whole = Box.of(self.space)
        write = Box(start, tuple(a + b for a, b in zip(start, self.block, strict=True))).clip(whole)
        return Tile(read=write.grow((self.halo,) * len(self.space)).clip(whole), write=write)

    def after(self, number: int, axis: int) -> int | None:
        """The next block along an axis."""
        cell = list(np.unravel_index(number, self.counts))
        cell[axis] += 1
        if cell[axis] == self.counts[axis]:
            return None
        return int(np.ravel_multi_index(cell, self.counts))

    def before(self, number: int, axis: int) -> int | None:
        """The block before along an axis."""
        cell = list(np.unravel_index(number, self.counts))
        cell[axis] -= 1
        return None if cell[axis] < 0 else int(np.ravel_multi_index(cell, self.counts))

    def slab(self, number: int, axis: int) -> Box:
        """Voxels around the face to the next block along ``axis``; both blocks have them.

        It reaches over the face's own edges: objects may pass through the corner of blocks.
        """
        write = self.tile(number).write
        reach = min(_SLAB, self.halo)
        grown = write.grow((reach,) * len(self.space))
        start, stop = list(grown.start), list(grown.stop)
        start[axis] = write.stop[axis] - reach
        return Box(tuple(start), tuple(stop)).clip(Box.of(self.space))

    def around(self, number: int) -> list[int]:
        """The other blocks that write into what a block reads."""
        read = self.tile(number).read
        spans = [
            range(low // edge, ceil(high / edge))
            for low, high, edge in zip(read.start, read.stop, self.block, strict=True)
        ]
        cells = np.stack(np.meshgrid(*spans, indexing="ij"), -1).reshape(-1, len(spans))
        numbers = np.ravel_multi_index(tuple(cells.T), self.counts)
        return [each for each in numbers.tolist() if each != number]

    def faces(self, number: int) -> list[tuple[str, Box]]:
        """Name and box of every slab that the block shares with a neighbour.

        ``"1+"`` is the face to the next block along axis 1, ``"1-"`` that to the one before.
        """
        found: list[tuple[str, Box]] = []
        for axis in range(len(self.space)) if self.halo else ():
            if (previous := self.before(number, axis)) is not None:
                found.append((f"{axis}-", self.slab(previous, axis)))
            if self.after(number, axis) is not None:
                found.append((f"{axis}+", self.slab(number, axis)))
        return found

    def needed(self, number: int, tiling: Tiling) -> Box:
        """Box of the windows that a block needs, at their places in the whole image.

        All windows that touch the block or its halo, so that scores are exactly those of the whole
        image wherever they are decoded: otherwise an object in the halo could be another one than
        its neighbor decodes.
        """
        read = self.tile(number).read
        start, stop = [], []
        along = zip(tiling.positions(self.space), tiling.window, self.space, strict=True)
        for axis, (places, window, length) in enumerate(along):
            low, high = read.start[axis], read.stop[axis]
            first = min(place for place in places if place + window > low)
            last = max(place for place in places if place < high)
            start.append(max(0, first))
            stop.append(min(length, last + window))
        return Box(tuple(start), tuple(stop))


@dataclass(frozen=True)
class Forecast:
    """What a prediction in blocks will take.

    Attributes:
        blocks: number of blocks.
        block: their size in voxels.
        memory: bytes of one block in work, beside model and program.
        passes: how often the network sees a voxel, against a prediction of the whole image.
        windows: windows of one block.
        stored: bytes of scores that are kept on the disk meanwhile; 0: none.
    """

    blocks: int
    block: tuple[int, ...]
    memory: int
    passes: float
    windows: int
    stored: int = 0

    def __str__(self) -> str:
        size = " x ".join(map(str, self.block))
        return (
            f"{self.blocks} block(s) of {size} voxels, about {self.memory / 1e9:.1f} GB of memory "
            f"for each in work beside the model, {self.passes:.1f} times the windows of the whole "
            "image" + (f", {self.stored / 1e9:.1f} GB of scores on the disk" if self.stored else "")
        )


def forecast(
    grid: Grid, tiling: Tiling, *, channels: int, classes: int, itemsize: int, store: bool | None
) -> Forecast:
    """Size, memory and cost of the blocks, and whether scores are better stored.

    Blocks with a wide halo let the network see most voxels several times. Then it runs over the
    image once and keeps the scores on the disk, if the lines in work fit into memory.

    Args:
        grid: the blocks.
        tiling: the windows.
        channels: of the image.
        classes: channels of the scores.
        itemsize: bytes of an image's value.
        store: keep the scores on the disk; None: where that spares more than half of the windows.
    """
    middle = int(np.ravel_multi_index([n // 2 for n in grid.counts], grid.counts))
    box, read = grid.needed(middle, tiling), grid.tile(middle).read
    image = channels * (itemsize if itemsize <= 2 else 4)
    decoding = read.size * (4 * classes + _decoding(grid))
    memory = max(decoding, box.size * (4 * classes + image))
    whole = prod(len(places) for places in tiling.positions(grid.space))
    windows = prod(len(places) for places in tiling.positions(box.shape))
    passes = _all_windows(grid, tiling) / whole
    lines = 2 * tiling.window[0] * prod(grid.space[1:]) * (4 * classes + image)
    if store or (store is None and passes > _PASSES and lines <= _BUDGET):
        nbytes = 4 * classes * prod(grid.space)
        return Forecast(len(grid), grid.block, max(decoding, lines), 1.0, windows, nbytes)
    return Forecast(len(grid), grid.block, memory, passes, windows)


def _all_windows(grid: Grid, tiling: Tiling) -> int:
    """Windows of all blocks: axes are independent, so the sum of products is one of sums."""
    total = 1
    for axis, count in enumerate(grid.counts):
        along = 0
        for place in range(count):
            cell = [place if own == axis else 0 for own in range(len(grid.counts))]
            box = grid.needed(int(np.ravel_multi_index(cell, grid.counts)), tiling)
            along += len(tiling.positions(box.shape)[axis])
        total *= along
    return total


def automatic(
    space: Sequence[int], *, halo: int, classes: int, budget: int = _BUDGET
) -> tuple[int, ...]:
    """The largest block, of about equal sides, that is decoded within a budget of memory.

    Args:
        space: voxels of the volume.
        halo: voxels around a block.
        classes: channels of the scores.
        budget: bytes.
    """
    per_voxel = 4 * classes + _DECODING + (_DECODING_AXIS * len(space) if halo else 0)
    room = budget / per_voxel
    block = [0] * len(space)
    # Short axes are taken whole; what they leave goes to the others.
    order = sorted(range(len(space)), key=lambda axis: space[axis])
    for place, axis in enumerate(order):
        edge = room ** (1 / (len(space) - place))
        inner = max(int(edge - 2 * halo) // _UNIT * _UNIT, _UNIT)
        # Blocks of one size: a small rest at the end would cost as many borders as a large one.
        even = ceil(space[axis] / ceil(space[axis] / inner))
        block[axis] = min(space[axis], ceil(even / _UNIT) * _UNIT)
        room /= min(space[axis], block[axis] + 2 * halo)
    return tuple(block)


def _decoding(grid: Grid) -> int:
    return _DECODING + _DECODING_AXIS * len(grid.space) if grid.halo else 8


def is_large(predictor: Predictor, image: Image) -> bool:
    """Whether the scores of an image are better not held in memory."""
    # Neither on its own grid nor on the network's, of which the foreground is not asked for here.
    seen = replace(predictor.view, foreground=None).place(image).shape
    return 4 * predictor.task.channels() * max(prod(seen), prod(image.shape[1:])) > LARGE
